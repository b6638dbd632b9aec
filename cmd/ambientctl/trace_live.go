// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/ambient22/ambient22/internal/dump"
	"github.com/ambient22/ambient22/internal/dump/collect"
	"github.com/ambient22/ambient22/internal/trace/live"
	"github.com/ambient22/ambient22/internal/trace/story"
)

// traceLive are the options of trace --live.
type traceLive struct {
	on         bool
	timeout    time.Duration
	tunnelPort uint16
	netns      []string
	logs       map[string]string
	compare    bool
}

func (o *traceLive) register(f *pflag.FlagSet) {
	f.BoolVar(&o.on, "live", false, "wait for the call, or make it by the COMMAND behind --, and tell what the kernel did with it")
	f.DurationVar(&o.timeout, "timeout", live.DefaultTimeout, "with --live: how long the call is waited for")
	f.Uint16Var(&o.tunnelPort, "tunnel-port", 6081, "with --live: UDP port of the tunnel devices")
	f.BoolVar(&o.compare, "compare", false, "with --live: say where the dump tells another way than the kernel took; exit code 1 if anywhere")
}

// registerNodes registers what says where the nodes are.
func (o *traceLive) registerNodes(f *pflag.FlagSet) {
	f.StringArrayVar(&o.netns, "node-netns", nil, "with --live: a node is this network namespace, a file (again for each node; default: the one this runs in)")
	f.StringToStringVar(&o.logs, "ztunnel-log", nil, "with --live: NODE=FILE, the log of the node's ztunnel, for the timeline")
}

// caller makes the command that makes the call.
type caller func(ctx context.Context, argv []string) (*exec.Cmd, error)

// callHere runs the command where this program runs.
func callHere(ctx context.Context, argv []string) (*exec.Cmd, error) {
	return exec.CommandContext(ctx, argv[0], argv[1:]...), nil
}

// run traces one call on the nodes and returns its story. Command makes the call;
// without one somebody else does.
func (o *traceLive) run(ctx context.Context, s streams, nodes []live.Node, q story.Query, call caller, command []string) (*story.Story, error) {
	options := live.Options{Query: q, Timeout: o.timeout, TunnelPort: o.tunnelPort, Logs: o.logs}
	if len(command) > 0 {
		options.Call = func(ctx context.Context) error {
			c, err := call(ctx, command)
			if err != nil {
				return err
			}
			c.Stdout, c.Stderr = s.err, s.err // the standard output is the story's
			if err = c.Run(); err != nil {
				fmt.Fprintf(s.err, "%s: %v\n", strings.Join(command, " "), err)
			}
			return err
		}
	} else {
		options.Ready = func() { fmt.Fprintf(s.err, "waiting for a call from %s to %s\n", q.From, q.To) }
	}
	r, err := live.Record(ctx, nodes, options)
	if err != nil {
		return nil, err
	}
	st, err := r.Story()
	if err != nil || !o.compare {
		return st, err
	}
	offline, err := r.Offline()
	if err != nil {
		return st, err
	}
	differences := append(r.Differences(), live.CompareStories(offline, st)...)
	for _, d := range differences {
		fmt.Fprintln(s.err, d)
	}
	fmt.Fprintf(s.err, "%d ways through namespaces compared, %d differences\n", r.Compared(), len(differences))
	if len(differences) > 0 {
		return st, errShown
	}
	return st, nil
}

// here traces on this node, or on those whose namespaces are given.
func (o *traceLive) here(ctx context.Context, s streams, q story.Query, command []string) (*story.Story, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("tracing live: it must run as root")
	}
	nodes, err := o.nodes(ctx, s)
	if err != nil {
		return nil, err
	}
	return o.run(ctx, s, nodes, q, callHere, command)
}

// nodes are the nodes to trace on, with their dumps.
func (o *traceLive) nodes(ctx context.Context, s streams) ([]live.Node, error) {
	if len(o.netns) > 0 {
		return o.netnsNodes(ctx, s)
	}
	archive, err := collect.Collect(ctx, collect.Options{Tool: "ambientctl trace" + version(), Pods: -1})
	if err != nil {
		return nil, err
	}
	n, err := archive.Parse()
	if err != nil {
		return nil, err
	}
	return []live.Node{{Dump: n}}, nil
}

// netnsNodes takes each node's dump by this program run in its namespace.
func (o *traceLive) netnsNodes(ctx context.Context, s streams) ([]live.Node, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding this program: %w", err)
	}
	var nodes []live.Node
	for _, path := range o.netns {
		host := live.Space{Name: path, Path: path}
		var out bytes.Buffer
		err := host.Do(func() error {
			c := exec.CommandContext(ctx, self, "dump", "--out", "-", "--pods", "all")
			c.Stdout, c.Stderr = &out, s.err
			return c.Run()
		})
		if err != nil {
			return nil, fmt.Errorf("taking a dump in %s: %w", path, err)
		}
		archives, err := dump.LoadFrom(&out)
		if err != nil {
			return nil, fmt.Errorf("reading the dump of %s: %w", path, err)
		}
		for _, a := range archives {
			n, err := a.Parse()
			if err != nil {
				return nil, err
			}
			nodes = append(nodes, live.Node{Dump: n, Host: host})
		}
	}
	return nodes, nil
}
