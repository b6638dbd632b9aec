// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/ambient22/ambient22/internal/lab"
)

func labCommand(s streams) *cobra.Command {
	c := &cobra.Command{
		Use:   "lab",
		Short: "Run the article's two nodes on this machine",
		Long: `The lab is the article's environment: two nodes and their pods as network
namespaces, with the node controllers and ztunnels as real processes in them.`,
	}
	o := &lab.Options{}
	f := c.PersistentFlags()
	f.StringVar(&o.Name, "name", lab.DefaultName, "name of the lab, part of its namespaces' names")
	f.StringVar(&o.StateDir, "state-dir", lab.DefaultStateDir, "folder of the labs' state and logs")
	f.StringVar(&o.BinDir, "bin-dir", "", "folder of ambient-node and ztunnel (default: where ambientctl is)")
	c.AddCommand(labUp(s, o), labExec(s, o), labVerify(s, o), labDown(s, o))
	return c
}

// variantFlags are the choices that are made when a lab comes up.
func variantFlags(c *cobra.Command, o *lab.Options) {
	f := c.Flags()
	f.StringVar(&o.Iptables, "iptables", lab.DefaultIptables, "what the nodes have: nft or legacy")
	f.StringVar(&o.Tunnel, "tunnel", "geneve", "geneve, or vxlan as a stand-in where the kernel has no Geneve")
	f.DurationVar(&o.Timeout, "timeout", lab.DefaultTimeout, "for each step to become ready")
	f.StringVar(&o.LogLevel, "log-level", "info", "of ambient-node and ztunnel")
}

func labUp(s streams, o *lab.Options) *cobra.Command {
	c := &cobra.Command{
		Use: "up", Short: "Bring the lab up and leave it running", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			p := lab.NewProgress(s.err)
			l, err := lab.Up(c.Context(), *o, p)
			if err != nil {
				return lab.Failed(c.Context(), l, err)
			}
			fmt.Fprintf(s.out, "The lab %s is up. Try\n  ambientctl lab exec sleep -- curl -s http://productpage:9080/\n", o.Name)
			return nil
		},
	}
	variantFlags(c, o)
	return c
}

func labExec(s streams, o *lab.Options) *cobra.Command {
	return &cobra.Command{
		Use: "exec HOST -- COMMAND", Short: "Run a command inside a host of the lab", Args: cobra.MinimumNArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			l, err := lab.Open(*o, nil)
			if err != nil {
				return err
			}
			return execIn(c.Context(), l, s, args[0], args[1:])
		},
	}
}

func execIn(ctx context.Context, l *lab.Lab, s streams, host string, argv []string) error {
	cmd, err := l.Net.Command(ctx, host, argv...)
	if err != nil {
		return err
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = s.in, s.out, s.err
	return cmd.Run()
}

func labVerify(s streams, o *lab.Options) *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use: "verify", Short: "Compare the article's listings with the running lab", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			l, err := lab.Open(*o, nil)
			if err != nil {
				return err
			}
			results, err := l.Verify(c.Context())
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
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print the results, with what the system printed, as JSON")
	return c
}

func labDown(_ streams, o *lab.Options) *cobra.Command {
	return &cobra.Command{
		Use: "down", Short: "Take the lab away, also one that broke off", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return lab.Down(c.Context(), *o, nil) },
	}
}
