// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"os/exec"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/ambient22/ambient22/internal/lab"
)

// labExec and labVerify work on a lab that is up, here or in a machine.

func labExec(s streams, o *labFlags) *cobra.Command {
	c := &cobra.Command{
		Use: "exec HOST -- COMMAND", Short: "Run a command inside a host of the lab",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) < 2 {
				return errors.New("a host and a command are needed: ambientctl lab exec HOST -- COMMAND")
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			if args[1] == "--" {
				args = append(args[:1:1], args[2:]...)
			}
			here := func(l *lab.Lab) error { return execIn(c.Context(), l, s, args[0], args[1:]) }
			return onRunning(c.Context(), o, s, here, append([]string{"exec", args[0], "--"}, args[1:]...))
		},
	}
	// Without the dashes, too, what follows the host belongs to the command.
	c.Flags().SetInterspersed(false)
	return c
}

// execIn runs a command inside a host. This program itself is found also where no
// PATH leads to it.
func execIn(ctx context.Context, l *lab.Lab, s streams, host string, argv []string) error {
	if argv[0] == "ambientctl" {
		argv = append([]string{filepath.Join(l.BinDir, argv[0])}, argv[1:]...)
	}
	cmd, err := l.Net.Command(ctx, host, argv...)
	if err != nil {
		return err
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = s.in, s.out, s.err
	err = cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.Exited() {
		return exitCode(exit.ExitCode())
	}
	return err
}

func labVerify(s streams, o *labFlags) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use: "verify", Short: "Compare the article's listings with the running lab", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			there := []string{"verify"}
			if asJSON {
				there = append(there, "--json")
			}
			here := func(l *lab.Lab) error { return verify(c.Context(), l, s, asJSON) }
			return onRunning(c.Context(), o, s, here, there)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print the results, with what the system printed, as JSON")
	return c
}

func verify(ctx context.Context, l *lab.Lab, s streams, asJSON bool) error {
	results, err := l.Verify(ctx)
	if err != nil {
		return err
	}
	if asJSON {
		err = printJSON(s, results)
	} else {
		err = lab.PrintListings(s.out, results)
	}
	if err == nil && lab.Reproduced(results) < len(results) {
		err = errShown
	}
	return err
}

// onRunning calls here with the lab of this name, or runs the same command
// inside the machine that has it.
func onRunning(ctx context.Context, o *labFlags, s streams, here func(*lab.Lab) error, there []string) error {
	l, err := lab.Open(o.Options, nil)
	if err == nil {
		return here(l)
	}
	if !errors.Is(err, lab.ErrDown) {
		return err
	}
	m, err := lab.OpenMachine(o.Options)
	if err != nil {
		return err
	}
	code, err := m.Lab(ctx, lab.Streams{In: s.in, Out: s.out, Err: s.err}, there...)
	if err == nil && code != 0 {
		err = exitCode(code)
	}
	return err
}
