// SPDX-License-Identifier: Apache-2.0

// Command ambientctl is for people: it runs the lab that shows the whole data
// path on one machine, and prints, compares and measures what a ztunnel is served.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/ambient22/ambient22/internal/lab/machine"
	"github.com/ambient22/ambient22/internal/trace/live"
)

func main() {
	if code, ours := machine.Dispatch(os.Args); ours {
		os.Exit(code)
	}
	if code, ours := live.Dispatch(os.Args); ours {
		os.Exit(code)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// streams are the standard streams of one invocation.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

// errShown is a failure whose explanation the command has printed itself.
var errShown = errors.New("failed")

// run executes one command line and returns the exit code: that of the command
// run in a host by `lab exec`, else 1 for any failure.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	s := streams{stdin, stdout, stderr}
	root := &cobra.Command{
		Use:           "ambientctl",
		Short:         "See the 2022 ambient data path at work",
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.AddCommand(diffCommand(s), doctorCommand(s), dumpCommand(s), installCommand(s), statusCommand(s), traceCommand(s), uninstallCommand(s), labCommand(s), xdsCommand(s), insideCommand(s))
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	var code exitCode
	switch {
	case errors.As(err, &code):
		return int(code)
	case !errors.Is(err, errShown):
		fmt.Fprintln(s.printable().err, "ambientctl:", err)
	}
	return 1
}

// group makes a command that only has commands of its own refuse a mistyped one, which
// must not end as if it had run.
func group(c *cobra.Command) {
	c.Args = cobra.NoArgs
	c.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
}

// exitCode is a command's own exit code, to be passed on without a word.
type exitCode int

func (c exitCode) Error() string { return fmt.Sprintf("exit code %d", int(c)) }
