// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// Write prints a status for a person.
func (s *Status) Write(out io.Writer) error {
	p := printer{out}
	if !s.Installed {
		p.say("ambient22 is not in this cluster; \"ambientctl install\" puts it there")
		s.writeWarnings(p)
		return nil
	}
	table := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	fmt.Fprintln(table, "NODE\tAMBIENT-NODE\tZTUNNEL\tIMAGE\tOTHERS\tCAPTURED")
	for _, n := range s.Nodes {
		controller := dash(n.Controller)
		if n.Controller != "" && !n.Ready {
			controller += " (not ready)"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%d of %d\n", n.Name, controller, dash(n.Ztunnel), dash(n.Image), dash(strings.Join(n.Others, ", ")), n.Captured, n.Asked)
	}
	if err := table.Flush(); err != nil {
		return fmt.Errorf("printing the status: %w", err)
	}
	p.say("\nmesh mode %s%s", s.Mode, s.signerText())
	if err := s.writePods(out); err != nil {
		return err
	}
	s.writeWarnings(p)
	if s.Good() {
		p.say("everything is as it should be")
	}
	return nil
}

func (s *Status) signerText() string {
	if s.Signer == "" {
		return ""
	}
	return "; signer " + s.Signer
}

func (s *Status) writePods(out io.Writer) error {
	if len(s.NotCaptured) == 0 {
		return nil
	}
	fmt.Fprintln(out, "\nThese pods ask to take part and are not captured:")
	table := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	for _, pod := range s.NotCaptured {
		fmt.Fprintf(table, "  %s/%s\t%s\t%s\n", pod.Namespace, pod.Name, pod.Node, oneLine(pod.Why))
	}
	if err := table.Flush(); err != nil {
		return fmt.Errorf("printing the status: %w", err)
	}
	return nil
}

func (s *Status) writeWarnings(p printer) {
	if len(s.Warnings) == 0 {
		return
	}
	p.say("\nNot as it should be:")
	for _, w := range s.Warnings {
		p.say("  %s", strings.ReplaceAll(w, "\n", "\n    "))
	}
}

// oneLine makes one line of what was several, as a table needs it.
func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
