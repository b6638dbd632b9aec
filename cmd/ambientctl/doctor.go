// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/ambient22/ambient22/geneve"
	"github.com/ambient22/ambient22/internal/doctor"
	"github.com/ambient22/ambient22/internal/dump"
	"github.com/ambient22/ambient22/internal/dump/collect"
)

// doctorFlags are the options of doctor.
type doctorFlags struct {
	dumps       []string
	collect     collect.Options
	stateDir    string
	tunnel      string
	noPreflight bool
	asJSON, all bool
	colour      string
}

func doctorCommand(s streams) *cobra.Command {
	var o doctorFlags
	c := &cobra.Command{
		Use:   "doctor [POD] [--dump PATH...]",
		Short: "Say of each pod whether it is captured, or why not, and what is wrong with the node",
		Long: `Doctor looks at the node it runs on (as root), or at dumps of nodes. Of each pod it says whether what it sends and what
is sent to it goes through the ztunnel, and if not, the first reason along a packet's way: its labels, the ztunnel, the
set, a rule, an ip rule, a route, a sysctl, what the ztunnel was told, a certificate. Of the node it says how the node
controller and the ztunnel do, what stands in the way (preflight), which lines are not as they should be, what the ztunnel
rejected (NACK), and when certificates expire.

POD is a pod's name, NAMESPACE/NAME, its deployment's name, or its address. Nothing is changed. The exit code is 0 where
all is well, and 1 where anything is wrong; a pod that its labels keep out is not wrong.`,
		Example: `  ambientctl doctor
  ambientctl doctor sleep
  ambientctl doctor --dump dump-node-a.tar.gz --dump dump-node-b.tar.gz productpage`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return o.run(c.Context(), s, args) },
	}
	f := c.Flags()
	f.StringArrayVar(&o.dumps, "dump", nil, "look at this dump instead of the node; repeat it for several")
	f.StringVar(&o.collect.NodeAddr, "node-addr", collect.DefaultNodeAddr, "where the node controller serves HTTP")
	f.StringVar(&o.collect.AdminAddr, "admin-addr", collect.DefaultAdminAddr, "the ztunnel's admin address, in its pod")
	f.DurationVar(&o.collect.Timeout, "timeout", collect.DefaultTimeout, "for each command and request")
	f.StringVar(&o.stateDir, "state-dir", "/run/ambient22", "the node controller's folder of state")
	f.StringVar(&o.tunnel, "tunnel", "", "geneve or vxlan: what preflight asks the kernel for (default: what the node has, else geneve)")
	f.BoolVar(&o.noPreflight, "no-preflight", false, "do not try out what the kernel can")
	f.BoolVar(&o.asJSON, "json", false, "print the findings as JSON")
	f.BoolVar(&o.all, "all", false, "print all reasons, not only the first")
	f.StringVar(&o.colour, "color", "auto", "auto (on a terminal), always or never")
	return c
}

func (o *doctorFlags) run(ctx context.Context, s streams, args []string) error {
	colour, err := (&diffFlags{colour: o.colour}).useColour(s.out)
	if err != nil {
		return err
	}
	if o.collect.Timeout <= 0 {
		return errors.New("--timeout must be more than 0")
	}
	if o.tunnel != "" {
		if _, err := geneve.ParseKind(o.tunnel); err != nil {
			return fmt.Errorf("--tunnel: %w", err)
		}
	}
	reports, err := o.examine(ctx)
	if err != nil {
		return err
	}
	if len(args) > 0 {
		if reports, err = doctor.Only(reports, args[0]); err != nil {
			return err
		}
	}
	if err := o.print(s, reports, colour); err != nil {
		return err
	}
	for _, r := range reports {
		if r.Faults() > 0 {
			return errShown
		}
	}
	return nil
}

func (o *doctorFlags) print(s streams, reports []*doctor.Report, colour bool) error {
	if o.asJSON {
		return printJSON(s, reports)
	}
	s = s.printable()
	for i, r := range reports {
		if i > 0 {
			fmt.Fprintln(s.out)
		}
		if err := r.Text(s.out, doctor.TextOptions{Colour: colour, All: o.all}); err != nil {
			return fmt.Errorf("printing the findings: %w", err)
		}
	}
	return nil
}

// examine looks at the dumps, or at this node.
func (o *doctorFlags) examine(ctx context.Context) ([]*doctor.Report, error) {
	if len(o.dumps) == 0 {
		in, err := o.look(ctx)
		if err != nil {
			return nil, err
		}
		r, err := doctor.Examine(in)
		return []*doctor.Report{r}, err
	}
	var nodes []*dump.Node
	for _, path := range o.dumps {
		list, err := dump.OpenAll(path)
		if err != nil {
			return nil, err
		}
		nodes = append(nodes, list...)
	}
	if err := distinct(nodes); err != nil {
		return nil, err
	}
	var out []*doctor.Report
	for _, n := range nodes {
		r, err := doctor.Examine(doctor.Input{Node: n, Now: time.Now()})
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}

// look takes a dump of this node and asks what runs on it.
func (o *doctorFlags) look(ctx context.Context) (doctor.Input, error) {
	in := doctor.Input{}
	o.collect.Tool = "ambientctl doctor" + version()
	o.collect.Pods = collect.DefaultPods
	archive, err := collect.Collect(ctx, o.collect)
	if err != nil {
		return in, fmt.Errorf("%w (or give a dump: ambientctl doctor --dump PATH)", err)
	}
	if in.Node, err = archive.Parse(); err != nil {
		return in, err
	}
	in.Live = doctor.Ask(ctx, o.collect.NodeAddr, o.collect.Timeout)
	in.Live.CertsErr = o.certs(ctx, in.Live)
	if !o.noPreflight {
		in.Preflight = o.preflight(ctx, in.Node)
	}
	in.Now = time.Now()
	return in, ctx.Err()
}

func (o *doctorFlags) certs(ctx context.Context, l *doctor.Live) error {
	text, err := collect.Certs(ctx, o.collect)
	if err != nil {
		return err
	}
	l.Certs, err = doctor.ReadCerts(text)
	return err
}
