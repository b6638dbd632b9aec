// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/ambient22/ambient22/envoyconfig"
	"github.com/ambient22/ambient22/internal/lab"
)

// labFlags are the options of the lab commands.
type labFlags struct {
	lab.Options
	here    bool          // do not start a machine, whatever the kernel lacks
	elapsed time.Duration // of the command that started this one
}

func labCommand(s streams) *cobra.Command {
	c := &cobra.Command{
		Use:   "lab",
		Short: "Run the article's two nodes on this machine",
		Long: `The lab is the article's environment: two nodes and their pods as network
namespaces, with the node controllers and ztunnels as real processes in them.
Where the kernel has no Geneve, the lab runs inside a QEMU machine.`,
	}
	group(c)
	o := &labFlags{}
	f := c.PersistentFlags()
	f.StringVar(&o.Name, "name", lab.DefaultName, "name of the lab, part of its namespaces' names")
	f.StringVar(&o.StateDir, "state-dir", lab.DefaultStateDir, "folder of the labs' state and logs")
	f.StringVar(&o.BinDir, "bin-dir", "", "folder of ambient-node and ztunnel (default: where ambientctl is)")
	c.AddCommand(labRun(s, o), labUp(s, o), labExec(s, o), labVerify(s, o), labDump(s, o), labTrace(s, o), labDown(s, o))
	return c
}

// variantFlags are the choices that are made when a lab comes up.
func variantFlags(c *cobra.Command, o *labFlags) {
	f := c.Flags()
	f.StringVar(&o.Iptables, "iptables", lab.DefaultIptables, "what the nodes have: nft or legacy")
	f.StringVar(&o.Tunnel, "tunnel", "geneve", "geneve, or vxlan as a stand-in for it (with --here)")
	f.StringVar(&o.Profile, "profile", envoyconfig.Article.String(), "article, or hardened: what 2022 left open is closed")
	f.StringVar(&o.Dialect, "dialect", envoyconfig.Istio116.String(), "how the ztunnels are served: istio-1.16 or upstream")
	f.BoolVar(&o.here, "here", false, "run on this kernel, not in a machine")
	f.DurationVar(&o.Timeout, "timeout", lab.DefaultTimeout, "for each step to become ready")
	f.StringVar(&o.LogLevel, "log-level", "info", "of ambient-node and ztunnel")
	f.DurationVar(&o.elapsed, "elapsed", 0, "")
	// Hiding fails only for a flag that is not there.
	_ = f.MarkHidden("elapsed")
}

// inMachine decides where the lab runs.
func (o *labFlags) inMachine() (bool, error) {
	if o.here {
		return false, nil
	}
	if o.Tunnel == "vxlan" {
		return false, errors.New("running the lab with VXLAN in place of Geneve: only with --here, so that nobody takes it for the real thing")
	}
	return lab.NeedsMachine()
}

func labRun(s streams, o *labFlags) *cobra.Command {
	var load, asJSON bool
	c := &cobra.Command{
		Use:   "run article",
		Short: "Bring the lab up, make the article's call, show what happened, and take the lab down",
		Args: func(_ *cobra.Command, args []string) error {
			if !slices.Equal(args, []string{lab.DefaultName}) {
				return fmt.Errorf("there is one topology to run, and it is given by its name: ambientctl lab run %s", lab.DefaultName)
			}
			return nil
		},
		ValidArgs: []string{lab.DefaultName},
		RunE: func(c *cobra.Command, _ []string) error {
			p := lab.NewProgress(s.err, o.elapsed)
			r, err := runLab(c.Context(), o, load, p)
			if r != nil {
				if asJSON {
					err = errors.Join(err, printJSON(s, r))
				} else {
					err = errors.Join(err, lab.PrintReport(s.out, r))
				}
			}
			if err == nil && !r.OK() {
				fmt.Fprintln(s.err, "ambientctl: not everything is as the article shows it")
				err = errShown
			}
			return err
		},
	}
	variantFlags(c, o)
	c.Flags().BoolVar(&load, "load", false, "also put load on the path: 2,000 requests, and 64 MiB each way")
	c.Flags().BoolVar(&asJSON, "json", false, "print the report as JSON")
	return c
}

func runLab(ctx context.Context, o *labFlags, load bool, p *lab.Progress) (*lab.Report, error) {
	inMachine, err := o.inMachine()
	if err != nil {
		return nil, err
	}
	if !inMachine {
		return lab.Run(ctx, o.Options, load, p)
	}
	m, err := lab.StartMachine(ctx, o.Options, true, p)
	if err != nil {
		return nil, err
	}
	r, err := m.Run(ctx, load, p)
	return r, errors.Join(err, m.Stop(context.WithoutCancel(ctx)))
}

func labUp(s streams, o *labFlags) *cobra.Command {
	c := &cobra.Command{
		Use: "up", Short: "Bring the lab up and leave it running", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			inMachine, err := o.inMachine()
			if err != nil {
				return err
			}
			p := lab.NewProgress(s.err, o.elapsed)
			up := upHere
			if inMachine {
				up = upInMachine
			}
			if err := up(c.Context(), o, p); err != nil {
				return err
			}
			fmt.Fprintf(s.out, "The lab %s is up. Try\n  ambientctl lab exec sleep -- curl -s http://productpage:9080/\n", o.Name)
			return nil
		},
	}
	variantFlags(c, o)
	return c
}

func upHere(ctx context.Context, o *labFlags, p *lab.Progress) error {
	l, err := lab.Up(ctx, o.Options, p)
	if err != nil {
		return lab.Failed(ctx, l, err)
	}
	return nil
}

func upInMachine(ctx context.Context, o *labFlags, p *lab.Progress) error {
	m, err := lab.StartMachine(ctx, o.Options, false, p)
	if err != nil {
		return err
	}
	if err := m.Up(ctx, p); err != nil {
		return errors.Join(err, m.Stop(context.WithoutCancel(ctx)))
	}
	return nil
}

func labDown(_ streams, o *labFlags) *cobra.Command {
	return &cobra.Command{
		Use: "down", Short: "Take the lab away, also one that broke off", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return errors.Join(lab.StopMachine(c.Context(), o.Options), lab.Down(c.Context(), o.Options, nil))
		},
	}
}
