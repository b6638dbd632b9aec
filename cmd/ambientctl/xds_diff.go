// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ambient22/ambient22/internal/xdsdiff"
)

// The exit codes of xds diff are those of diff(1).
const (
	differExit  exitCode = 1
	troubleExit exitCode = 2
)

type diffFlags struct {
	xdsdiff.Options
	asJSON bool
	colour string
}

func xdsDiff(s streams) *cobra.Command {
	var o diffFlags
	// trouble ends the command as diff(1) does: 1 would mean differences.
	trouble := func(err error) error {
		if err == nil || errors.Is(err, differExit) {
			return err
		}
		fmt.Fprintln(s.err, "ambientctl:", err)
		return troubleExit
	}
	c := &cobra.Command{
		Use:   "diff A B",
		Short: "Compare two config_dumps or renders by resource and field",
		Long: `Diff compares the xDS resources in two files, each a config_dump (the whole of /config_dump?include_eds, a section or an
entry of one) of an Envoy or of the ztunnel here, or the output of xds render, or an object with lists named listeners,
clusters, endpoints, extensions. One of them may be - for standard input.

Resources are matched by kind and name; filters, chains, hosts and whatever has a name by that name. A default equals
a field that is not there, and neither the order of keys nor the spelling of fields, durations and numbers matters. The
order of a list is reported where it matters. Versions and times of a dump are left out, and so is what a dump adds to
endpoints (health_status HEALTHY, load_balancing_weight 1, ...), unless --show-added asks for it.

Only what both files can have is compared: against a render, a dump's static clusters are not, and the summary says so.

The exit code is 0 if there is no difference, 1 if there is one, and 2 in trouble.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 2 {
				return trouble(fmt.Errorf("comparing takes two files, not %d", len(args)))
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error { return trouble(o.diff(s, args[0], args[1])) },
	}
	c.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return trouble(err) })
	f := c.Flags()
	f.StringSliceVar(&o.Kinds, "kind", nil, "compare only these kinds: "+strings.Join(xdsdiff.Kinds(), ", ")+" (default: all that both files have)")
	f.BoolVar(&o.ShowAdded, "show-added", false, "also report what a config_dump adds to endpoints")
	f.BoolVar(&o.asJSON, "json", false, "print the differences as JSON, values in full")
	f.StringVar(&o.colour, "color", "auto", "auto (on a terminal), always or never")
	return c
}

// printer is what shows the differences.
type printer interface {
	Resource(xdsdiff.Resource) error
	Summary(*xdsdiff.Summary) error
}

func (o *diffFlags) diff(s streams, nameA, nameB string) (err error) {
	if nameA == "-" && nameB == "-" {
		return errors.New("comparing standard input with itself: only one file can be -")
	}
	colour, err := o.useColour(s.out)
	if err != nil {
		return err
	}
	for i, kind := range o.Kinds {
		o.Kinds[i] = strings.TrimSuffix(kind, "s") // as xds render has them
	}
	a, err := xdsdiff.Open(nameA, s.in)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.Close()) }()
	b, err := xdsdiff.Open(nameB, s.in)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	var p printer = &xdsdiff.Printer{Out: s.out, Colour: colour}
	if o.asJSON {
		p = &xdsdiff.JSONPrinter{Out: s.out, A: nameA, B: nameB}
	}
	summary, err := xdsdiff.Compare(a, b, o.Options, p.Resource)
	if err != nil {
		return err
	}
	if err := p.Summary(summary); err != nil {
		return err
	}
	if !summary.Same() {
		return differExit
	}
	return nil
}

func (o *diffFlags) useColour(out io.Writer) (bool, error) {
	switch o.colour {
	case "always":
		return true, nil
	case "never":
		return false, nil
	case "auto":
		_, refused := os.LookupEnv("NO_COLOR")
		return !refused && os.Getenv("TERM") != "dumb" && isTerminal(out), nil
	}
	return false, fmt.Errorf("--color: %q is none of auto, always and never", o.colour)
}

func isTerminal(out io.Writer) bool {
	f, ok := out.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
