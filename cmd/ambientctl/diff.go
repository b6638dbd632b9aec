// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"

	"github.com/spf13/cobra"

	"github.com/ambient22/ambient22/hack/topologies"
	"github.com/ambient22/ambient22/internal/dump"
	"github.com/ambient22/ambient22/internal/nodediff"
)

type nodeDiffFlags struct {
	listings             bool
	ztunnelIP, veth      string
	hostIP               string
	pods                 []string
	profile, scope, node string
	asJSON, all          bool
	html                 string
	diffFlags            // for --color
}

func diffCommand(s streams) *cobra.Command {
	var o nodeDiffFlags
	trouble := func(err error) error {
		if err == nil || errors.Is(err, differExit) {
			return err
		}
		fmt.Fprintln(s.printable().err, "ambientctl:", err)
		return troubleExit
	}
	c := &cobra.Command{
		Use:   "diff DUMP [OTHER]",
		Short: "Compare a node's dump with what should be there, the article, or another dump",
		Long: `Diff reads a node's dump (an archive of ambientctl dump, a folder of texts, one text, or - for standard input), says which
generation of Istio's interception it shows (legacy Geneve ambient, sidecar, in-pod ambient, several, or none), and compares
it line by line

  with what should be there, where nothing else is asked for: what the node controller would put on this node, with the
  ztunnel's and the node's address, the veth and the pods found in the dump itself; or the rules of the other generations,
  with the article's listings (--listings), or with another dump (OTHER).

Lines that belong to others are counted by owner and not compared. Counters, comments, hardware addresses and indexes do not
count; between two dumps, neither do the names of veths. The order of rules within a chain does.

Nothing on any node is changed. The exit code is 0 if there is no difference, 1 if there is one, and 2 if nothing could be
compared.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) < 1 || len(args) > 2 {
				return trouble(fmt.Errorf("comparing takes one dump or two, not %d", len(args)))
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error { return trouble(o.run(s, args)) },
	}
	c.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return trouble(err) })
	f := c.Flags()
	f.BoolVar(&o.listings, "listings", false, "compare with the article's 20 listings")
	f.StringVar(&o.node, "node", "", "only this node, of a dump that has several")
	f.StringVar(&o.ztunnelIP, "ztunnel-ip", "", "address of the ztunnel's pod (default: found in the dump)")
	f.StringVar(&o.veth, "veth", "", "the ztunnel's device on the node (default: found in the dump)")
	f.StringVar(&o.hostIP, "host-ip", "", "the node's address inside its pod range (default: found in the dump)")
	f.StringArrayVar(&o.pods, "pod", nil, "address of an enrolled pod; repeat it for each (default: found in the dump)")
	f.StringVar(&o.profile, "profile", "", "article or hardened (default: what the dump shows)")
	f.StringVar(&o.scope, "scope", "all", "host, ztunnel or all")
	f.BoolVar(&o.all, "all", false, "print equal lines, too, each with what it is for")
	f.BoolVar(&o.asJSON, "json", false, "print the findings as JSON")
	f.StringVar(&o.html, "html", "", "write the findings to this file as a page")
	f.StringVar(&o.colour, "color", "auto", "auto (on a terminal), always or never")
	return c
}

func (o *nodeDiffFlags) options() (nodediff.Options, error) {
	out := nodediff.Options{Veth: o.veth, Profile: o.profile, Scope: o.scope}
	var errs []error
	addr := func(flag, text string) netip.Addr {
		if text == "" {
			return netip.Addr{}
		}
		ip, err := netip.ParseAddr(text)
		if err != nil {
			errs = append(errs, fmt.Errorf("--%s: %w", flag, err))
		}
		return ip
	}
	out.ZtunnelIP, out.HostIP = addr("ztunnel-ip", o.ztunnelIP), addr("host-ip", o.hostIP)
	for _, p := range o.pods {
		out.Pods = append(out.Pods, addr("pod", p))
	}
	switch o.profile {
	case "", "article", "hardened":
	default:
		errs = append(errs, fmt.Errorf("--profile: %q is neither article nor hardened", o.profile))
	}
	switch o.scope {
	case "host", "ztunnel", "all":
	default:
		errs = append(errs, fmt.Errorf("--scope: %q is none of host, ztunnel and all", o.scope))
	}
	return out, errors.Join(errs...)
}

func (o *nodeDiffFlags) run(s streams, args []string) error {
	options, err := o.options()
	if err != nil {
		return err
	}
	colour, err := o.useColour(s.out)
	if err != nil {
		return err
	}
	reports, err := o.reports(options, args)
	if err != nil {
		return err
	}
	if err := o.print(s, reports, colour); err != nil {
		return err
	}
	for _, r := range reports {
		if r.Differs() {
			return differExit
		}
	}
	return nil
}

// reports compares every node of the dump.
func (o *nodeDiffFlags) reports(options nodediff.Options, args []string) ([]*nodediff.Report, error) {
	switch {
	case len(args) == 2 && o.listings:
		return nil, errors.New("--listings compares one dump with the article: give one dump, or leave --listings out")
	case len(args) == 2 && args[0] == "-" && args[1] == "-":
		return nil, errors.New("comparing standard input with itself: only one dump can be -")
	}
	nodes, err := o.open(args[0])
	if err != nil {
		return nil, err
	}
	switch {
	case len(args) == 2:
		others, err := o.open(args[1])
		if err != nil {
			return nil, err
		}
		return nodediff.CompareAll(nodes, others, options)
	case o.listings:
		return nodediff.Listings(nodes, topologies.Article())
	}
	var out []*nodediff.Report
	for _, n := range nodes {
		r, err := nodediff.Plan(n, options)
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}

func (o *nodeDiffFlags) open(path string) ([]*dump.Node, error) {
	nodes, err := dump.OpenAll(path)
	if err != nil || o.node == "" {
		return nodes, err
	}
	for _, n := range nodes {
		if n.Name == o.node {
			return []*dump.Node{n}, nil
		}
	}
	return nil, fmt.Errorf("finding node %s in %s: it is not there", o.node, path)
}

func (o *nodeDiffFlags) print(s streams, reports []*nodediff.Report, colour bool) error {
	if o.html != "" {
		f, err := os.Create(o.html)
		if err != nil {
			return fmt.Errorf("writing the page: %w", err)
		}
		if err := errors.Join(nodediff.HTML(f, reports), f.Close()); err != nil {
			return fmt.Errorf("writing the page: %w", err)
		}
	}
	if o.asJSON {
		return nodediff.JSON(s.out, reports)
	}
	s = s.printable()
	for i, r := range reports {
		if i > 0 {
			fmt.Fprintln(s.out)
		}
		if err := r.Text(s.out, nodediff.TextOptions{Colour: colour, All: o.all}); err != nil {
			return fmt.Errorf("printing the differences: %w", err)
		}
	}
	return nil
}
