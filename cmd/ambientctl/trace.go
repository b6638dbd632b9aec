// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/ambient22/ambient22/internal/dump"
	"github.com/ambient22/ambient22/internal/dump/collect"
	"github.com/ambient22/ambient22/internal/trace/page"
	"github.com/ambient22/ambient22/internal/trace/story"
)

// traceFlags are the options of trace.
type traceFlags struct {
	story.Query
	live   traceLive
	all    bool
	asJSON bool
	html   string
	colour string
}

func traceCommand(s streams) *cobra.Command {
	var o traceFlags
	c := &cobra.Command{
		Use:   "trace [DUMP...] --from POD --to SERVICE:PORT [--live [-- COMMAND...]]",
		Short: "Follow a packet through the nodes, hop by hop",
		Long: `Trace tells the way of a connection from dumps: for each hook, table, chain and rule what it does to the packet, the ip
rule, table, route and device, the tunnel into the ztunnel's pod and out of it, what the ztunnel does with the
connection, the tunnel to the other node, and the way of the answers.

DUMP is what ambientctl dump wrote: a file, or a folder. Give those of all nodes on the way; one may hold several
nodes. Without DUMP the node that it runs on is looked at (as root); nothing there is changed.

--from takes a pod (name, NAMESPACE/NAME, or its deployment's name), a node's name, host, or an IP address. --to takes a
service, a pod, a node or an address, with a port. What a ztunnel or kube-proxy chooses at random, the story takes the
first of, and says so.

The exit code is 0 if there is a story, whatever becomes of the packet, and 1 for an error.`,
		Example: `  ambientctl trace dump-node-a.tar.gz dump-node-b.tar.gz --from sleep --to productpage:9080
  ambientctl trace --from sleep --to productpage:9080 --explain-miss
  ambientctl trace --live --from sleep --to productpage:9080 --timeout 1m`,
		RunE: func(c *cobra.Command, args []string) error { return o.run(c.Context(), s, args) },
	}
	o.register(c.Flags())
	o.live.registerNodes(c.Flags())
	return c
}

func (o *traceFlags) register(f *pflag.FlagSet) {
	f.StringVar(&o.From, "from", "", "who sends: a pod, a node, host, or an IP address")
	f.StringVar(&o.To, "to", "", "where to: NAME:PORT or ADDRESS:PORT")
	f.StringVar(&o.Protocol, "protocol", "tcp", "tcp or udp")
	f.Uint16Var(&o.FromPort, "from-port", 0, "the sender's port (default: one that stands for any)")
	f.BoolVar(&o.Answer, "answer", true, "tell the ways of the answers, too")
	f.BoolVar(&o.ExplainMiss, "explain-miss", false, "say why the packet is not captured")
	f.BoolVar(&o.all, "all", false, "show every rule and route that was looked at, and why it was not for the packet")
	f.BoolVar(&o.asJSON, "json", false, "print the story as JSON")
	f.StringVar(&o.html, "html", "", "write the story as a page to this file (- is the standard output)")
	f.StringVar(&o.colour, "color", "auto", "auto (on a terminal), always or never")
	o.live.register(f)
}

// run tells the story from the dumps, or live; args are the dumps, or the command
// that makes the call.
func (o *traceFlags) run(ctx context.Context, s streams, args []string) error {
	if err := o.check(); err != nil {
		return err
	}
	if o.live.on {
		st, err := o.live.here(ctx, s, o.Query, args)
		if st == nil {
			return err
		}
		return errors.Join(o.print(s, st), err)
	}
	st, err := o.offline(ctx, s, args)
	if err != nil {
		return err
	}
	return o.print(s, st)
}

func (o *traceFlags) check() error {
	switch {
	case o.From == "":
		return errors.New("--from is missing: say who sends, for example --from sleep")
	case o.To == "":
		return errors.New("--to is missing: say where to, for example --to productpage:9080")
	case o.asJSON && o.html == "-":
		return errors.New("--json and --html - both want the standard output")
	}
	return nil
}

// offline tells the story from dumps, or from a dump of this node made for it.
func (o *traceFlags) offline(ctx context.Context, s streams, dumps []string) (*story.Story, error) {
	nodes, err := openNodes(ctx, s, dumps)
	if err != nil {
		return nil, err
	}
	mesh, err := story.New(nodes)
	if err != nil {
		return nil, err
	}
	return mesh.Trace(o.Query)
}

// openNodes reads dumps; without any it looks at this node.
func openNodes(ctx context.Context, s streams, dumps []string) ([]*dump.Node, error) {
	if len(dumps) == 0 {
		fmt.Fprintln(s.err, "no dump given: looking at this node")
		archive, err := collect.Collect(ctx, collect.Options{Tool: "ambientctl trace" + version(), Pods: collect.DefaultPods})
		if err != nil {
			return nil, fmt.Errorf("%w (or give a dump: ambientctl trace DUMP ...)", err)
		}
		n, err := archive.Parse()
		if err != nil {
			return nil, err
		}
		return []*dump.Node{n}, nil
	}
	var nodes []*dump.Node
	for _, d := range dumps {
		list, err := dump.OpenAll(d)
		if err != nil {
			return nil, err
		}
		nodes = append(nodes, list...)
	}
	return nodes, distinct(nodes)
}

// distinct refuses two dumps of the same node: which one counts?
func distinct(nodes []*dump.Node) error {
	seen := map[string]bool{}
	for _, n := range nodes {
		if seen[n.Name] {
			return fmt.Errorf("two of the dumps are of node %s; give one", n.Name)
		}
		seen[n.Name] = true
	}
	return nil
}

func (o *traceFlags) print(s streams, st *story.Story) error {
	if o.html != "" {
		if err := o.writePage(s, st); err != nil || o.html == "-" {
			return err
		}
	}
	if o.asJSON {
		return printJSON(s, st)
	}
	colour, err := (&diffFlags{colour: o.colour}).useColour(s.out)
	if err != nil {
		return err
	}
	return st.Print(s.printable().out, story.TextOptions{All: o.all, Colour: colour})
}

// writePage writes the story as a page.
func (o *traceFlags) writePage(s streams, st *story.Story) error {
	if o.html == "-" {
		return page.Trace(s.out, st)
	}
	var text bytes.Buffer
	if err := page.Trace(&text, st); err != nil {
		return fmt.Errorf("--html: %w", err)
	}
	if err := os.WriteFile(o.html, text.Bytes(), 0o644); err != nil {
		return fmt.Errorf("--html: %w", err)
	}
	fmt.Fprintln(s.err, "the page is in", o.html)
	return nil
}
