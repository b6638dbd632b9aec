// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/ambient22/ambient22/envoyconfig"
	"github.com/ambient22/ambient22/internal/meshsize"
)

func xdsSize(s streams) *cobra.Command {
	var o meshFlags
	var asJSON bool
	c := &cobra.Command{
		Use:   "size --manifests DIR --node NODE",
		Short: "Print how large a ztunnel's configuration is, and what makes it grow",
		Long: `Size builds the resources of one node's ztunnel from Kubernetes manifests and counts them, their filter chains and
their bytes. Then it builds the mesh again with one pod, service or endpoint more, and prints what that adds and what
is sent for it: by delta xDS the new and changed resources, by state of the world also all other listeners or
clusters where any of them differs.`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			snapshot, options, err := o.load(nil)
			if err != nil {
				return err
			}
			report, err := meshsize.Of(snapshot, options)
			switch {
			case err != nil:
				return err
			case asJSON:
				return printJSON(s, report)
			}
			return printSizes(s.out, options, report)
		},
	}
	o.register(c)
	c.Flags().BoolVar(&asJSON, "json", false, "print the figures as JSON")
	return c
}

func printSizes(out io.Writer, o envoyconfig.Options, r *meshsize.Report) error {
	now := table{{"kind", "resources", "chains", "bytes"}}
	total := meshsize.Size{Kind: "all"}
	for _, k := range r.Kinds {
		now = append(now, []string{k.Kind, digits(int64(k.Resources)), chains(&k), digits(k.Bytes)})
		total.Resources, total.Bytes = total.Resources+k.Resources, total.Bytes+k.Bytes
	}
	now = append(now, []string{total.Kind, digits(int64(total.Resources)), "", digits(total.Bytes)})
	more := table{{"one more", "kind", "new", "changed", "grows by", "delta sends", "state of the world sends"}}
	for _, step := range r.Steps {
		what := step.What
		for _, g := range step.Kinds {
			if g.New+g.Changed+g.Removed == 0 {
				continue
			}
			more = append(more, []string{what, g.Kind, digits(int64(g.New)), digits(int64(g.Changed)), digits(g.Bytes), digits(g.Resent), digits(g.Whole)})
			what = ""
		}
		if what != "" {
			more = append(more, []string{what, "nothing", "", "", "", "", ""})
		}
	}
	_, err := fmt.Fprintf(out, "node %s, profile %s, dialect %s\n\n", o.Node, o.Profile, o.Dialect)
	return errors.Join(err, now.print(out, 1), newLine(out), more.print(out, 2))
}

func newLine(out io.Writer) error {
	_, err := fmt.Fprintln(out)
	return err
}

func chains(s *meshsize.Size) string {
	if s.Kind != "listeners" {
		return ""
	}
	return digits(int64(s.Chains))
}

// digits writes 1234567 as 1,234,567.
func digits(n int64) string {
	s := strconv.FormatInt(n, 10)
	sign := ""
	if n < 0 {
		sign, s = "-", s[1:]
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return sign + s
}

// table is rows of cells, the first row the headings.
type table [][]string

// print writes the table in columns, the first few of them text and the rest numbers.
func (t table) print(out io.Writer, texts int) error {
	widths := make([]int, len(t[0]))
	for _, row := range t {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for _, row := range t {
		var line strings.Builder
		for i, cell := range row {
			if i > 0 {
				line.WriteString("  ")
			}
			if i < texts {
				fmt.Fprintf(&line, "%-*s", widths[i], cell)
			} else {
				fmt.Fprintf(&line, "%*s", widths[i], cell)
			}
		}
		if _, err := fmt.Fprintln(out, strings.TrimRight(line.String(), " ")); err != nil {
			return fmt.Errorf("printing a table: %w", err)
		}
	}
	return nil
}
