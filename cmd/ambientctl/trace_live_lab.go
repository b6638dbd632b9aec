// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"os/exec"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/ambient22/ambient22/internal/dump"
	"github.com/ambient22/ambient22/internal/lab"
	"github.com/ambient22/ambient22/internal/lab/netns"
	"github.com/ambient22/ambient22/internal/trace/live"
	"github.com/ambient22/ambient22/internal/trace/story"
)

// traceLab is trace on all nodes of a lab.
type traceLab struct {
	traceFlags
	host string
}

func labTrace(s streams, lf *labFlags) *cobra.Command {
	var o traceLab
	c := &cobra.Command{
		Use:   "trace --from POD --to SERVICE:PORT [--live [-- COMMAND...]]",
		Short: "Follow a packet through the nodes of the lab",
		Long: `Trace takes dumps of the lab's nodes and tells a packet's way from them. With --live it traces all nodes while a call
is made, by COMMAND in the host --host or by somebody else, and tells what their kernels did with it.`,
		Example: `  ambientctl lab trace --from sleep --to productpage:9080
  ambientctl lab trace --live --compare --from sleep --to productpage:9080 -- curl -s http://productpage:9080/`,
		RunE: func(c *cobra.Command, args []string) error {
			here := func(l *lab.Lab) error { return o.run(c.Context(), s, l, args) }
			there := []string{"trace"}
			c.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) {
				if f.Changed {
					there = append(there, "--"+f.Name+"="+f.Value.String())
				}
			})
			return onRunning(c.Context(), lf, s, here, append(append(there, "--"), args...))
		},
	}
	o.register(c.Flags())
	c.Flags().StringVar(&o.host, "host", "", "with --live: the lab's host that runs COMMAND (default: --from)")
	return c
}

func (o *traceLab) run(ctx context.Context, s streams, l *lab.Lab, command []string) error {
	if err := o.check(); err != nil {
		return err
	}
	nodes, err := labNodes(ctx, l, s)
	if err != nil {
		return err
	}
	st, err := o.story(ctx, s, l, nodes, command)
	if st == nil {
		return err
	}
	return errors.Join(o.print(s, st), err)
}

func (o *traceLab) story(ctx context.Context, s streams, l *lab.Lab, nodes []live.Node, command []string) (*story.Story, error) {
	if o.live.on {
		host := o.host
		if host == "" {
			host = o.From
		}
		o.live.logs = map[string]string{}
		for i, n := range nodes {
			o.live.logs[n.Dump.Name] = l.Net.LogFile(l.Net.Topology.Nodes[i].Ztunnel, "ztunnel")
		}
		call := func(ctx context.Context, argv []string) (*exec.Cmd, error) { return l.Net.Command(ctx, host, argv...) }
		return o.live.run(ctx, s, nodes, o.Query, call, command)
	}
	var dumps []*dump.Node
	for _, n := range nodes {
		dumps = append(dumps, n.Dump)
	}
	mesh, err := story.New(dumps)
	if err != nil {
		return nil, err
	}
	return mesh.Trace(o.Query)
}

// labNodes are the lab's nodes with their dumps.
func labNodes(ctx context.Context, l *lab.Lab, s streams) ([]live.Node, error) {
	archives, err := dumpNodes(ctx, l, s)
	if err != nil {
		return nil, err
	}
	var nodes []live.Node
	for i, a := range archives {
		n, err := a.Parse()
		if err != nil {
			return nil, err
		}
		path := netns.Path(l.Net.Namespace(l.Net.Topology.Nodes[i].Host))
		nodes = append(nodes, live.Node{Dump: n, Host: live.Space{Path: path}})
	}
	return nodes, nil
}
