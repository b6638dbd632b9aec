// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// reportWidth is where paragraphs are broken, in characters.
const reportWidth = 100

// PrintReport prints a run for a person: the answer, the evidence, the rules'
// counters, the load, and the table of the listings.
func PrintReport(w io.Writer, r *Report) error {
	fmt.Fprintf(w, "\nThe answer of %s (status %d, %.1f ms)\n\n%s\n", callURL, r.Proof.Call.Status,
		float64(r.Proof.Call.Took.Microseconds())/1000, indent(r.Proof.Call.Body))
	fmt.Fprintf(w, "What the packets of this call show\n")
	printFindings(w, r.Proof.Findings)
	if err := printCounters(w, r.Proof); err != nil {
		return err
	}
	fmt.Fprintf(w, "\nWhat policies forbid, tried\n")
	printFindings(w, r.Policies)
	if len(r.Load) > 0 {
		fmt.Fprintf(w, "\nLoad\n\n")
		for _, l := range r.Load {
			fmt.Fprintf(w, "[%s] %s: %s %s\n", mark(l.Error == ""), l.Name, l.Result, l.Error)
		}
	}
	if len(r.Listings) > 0 {
		fmt.Fprintf(w, "\nThe article's listings, compared with what the lab printed\n\n")
		if err := PrintListings(w, r.Listings); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(w, "\nThe article's listings show the profile article in the dialect istio-1.16, so they are not compared with this.\n")
	}
	where := "on this machine"
	if r.Machine {
		where = "in a QEMU machine"
	}
	_, err := fmt.Fprintf(w, "\nAll of it took %.1f s: profile %s, dialect %s, %s tunnels and %s iptables under Linux %s %s.\n",
		r.Seconds, r.Profile, r.Dialect, r.Tunnel, r.Iptables, r.Kernel, where)
	return err
}

func printFindings(w io.Writer, findings []Finding) {
	for _, f := range findings {
		fmt.Fprintf(w, "\n[%s] %s\n%s\n", mark(f.OK), f.Title, indent(wrap(f.Text, reportWidth)))
		for _, d := range f.Details {
			fmt.Fprintf(w, "      %s\n", d)
		}
	}
}

func mark(ok bool) string {
	if ok {
		return " ok "
	}
	return "FAIL"
}

func printCounters(w io.Writer, p *Proof) error {
	fmt.Fprintf(w, "\nPackets that each rule counted during the call\n\n")
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "HOST\tTABLE\tPACKETS\tRULE, AND WHY")
	for _, m := range p.Counters {
		fmt.Fprintf(table, "%s\t%s\t%+d\t%s\n\t\t\t  %s\n", m.Host, m.Table, int64(m.After)-int64(m.Before), m.Rule, m.Why)
	}
	if err := table.Flush(); err != nil {
		return fmt.Errorf("printing the counters: %w", err)
	}
	return nil
}

func indent(text string) string {
	return "  " + strings.ReplaceAll(strings.TrimRight(text, "\n"), "\n", "\n  ") + "\n"
}

// wrap breaks a paragraph into lines.
func wrap(text string, width int) string {
	var b strings.Builder
	column := 0
	for _, word := range strings.Fields(text) {
		switch {
		case column == 0:
		case column+1+len(word) > width:
			b.WriteByte('\n')
			column = 0
		default:
			b.WriteByte(' ')
			column++
		}
		b.WriteString(word)
		column += len(word)
	}
	return b.String()
}
