// SPDX-License-Identifier: Apache-2.0

package faults

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ambient22/ambient22/internal/dump"
	"github.com/ambient22/ambient22/internal/nodediff"
)

// Table is docs/faults.md's part that is made from the cases: one table for each place
// of a node and of its ztunnel's pod.
func Table(cases []Case) string {
	var out strings.Builder
	place, line := "", ""
	for _, c := range cases {
		if at := heading(c); at != place {
			place, line = at, ""
			fmt.Fprintf(&out, "\n### %s\n\n| fault | diff says | what comes of it |\n| --- | --- | --- |\n", at)
		}
		what := c.What
		if key := fmt.Sprint(c.At, c.Line); key != line {
			line = key
			what = fmt.Sprintf("%s<br>%s", code(c.Line), what)
			if c.At > 0 {
				what = fmt.Sprintf("%d: %s", c.At, what)
			}
		}
		fmt.Fprintf(&out, "| %s | %s | %s |\n", cell(what), cell(c.said()), cell(c.Says()))
	}
	return out.String()
}

func heading(c Case) string {
	where := "The node"
	if c.Space == dump.ZtunnelSpace {
		where = "The ztunnel's pod"
	}
	switch c.Section {
	case nodediff.IPTables, nodediff.Routes:
		return fmt.Sprintf("%s: %s", where, c.Place)
	case nodediff.IPRules:
		return where + ": ip rules"
	case nodediff.Sysctls:
		return where + ": settings"
	case nodediff.Sets:
		return where + ": the set " + c.Place
	}
	return where + ": tunnel devices"
}

func code(s string) string { return "`" + s + "`" }

// cell keeps a text inside its column.
func cell(s string) string { return strings.ReplaceAll(s, "|", "\\|") }

// said is how diff names the fault, and how many further differences follow from it.
func (c Case) said() string {
	i := slices.IndexFunc(c.Findings, c.NamedBy)
	if i < 0 {
		return "nothing"
	}
	f := c.Findings[i]
	text := "**" + string(f.Kind) + "**"
	switch f.Kind {
	case nodediff.Changed:
		var fields []string
		for _, x := range f.Fields {
			fields = append(fields, code(x.String()))
		}
		text += ": " + strings.Join(fields, ", ")
	case nodediff.Moved:
		text += fmt.Sprintf(": place %d instead of %d", f.HaveAt, f.WantAt)
	case nodediff.Extra:
		text += ": " + code(f.Have)
	}
	if more := len(c.Findings) - 1; more > 0 {
		text += fmt.Sprintf(", and %d more", more)
	}
	return text
}

// Says words the consequence.
func (c Case) Says() string {
	switch c.Effect {
	case OtherEnd:
		text := fmt.Sprintf("*%s:* %s", c.Shown.Probe.Name, c.Shown.Outcome.Sentence)
		if c.Shown.Miss != "" && !strings.Contains(c.Shown.Outcome.Sentence, c.Shown.Miss) {
			text += " " + c.Shown.Miss
		}
		if c.Shown.Outcome.Again {
			text += " Sent again a second later, the first packet gets through."
		}
		return text
	case OtherWay:
		return fmt.Sprintf("The calls end as before, by another way. *%s:* %s", c.Shown.Probe.Name, c.Detour)
	case OtherMark:
		return fmt.Sprintf("The calls take the same way with other marks (*%s*). %s", c.Shown.Probe.Name, c.shownBy())
	}
	return "None of the calls is any different. " + c.shownBy()
}

// ProbeTable lists the calls with what becomes of them on a healthy node.
func ProbeTable(healthy []Consequence) string {
	var out strings.Builder
	out.WriteString("| call | on healthy nodes |\n| --- | --- |\n")
	for _, c := range healthy {
		fmt.Fprintf(&out, "| %s | %s |\n", cell(c.Probe.Name), cell(c.Outcome.Sentence))
	}
	return out.String()
}

// Summary counts the faults by what comes of them.
func Summary(cases []Case) string {
	n := map[Effect]int{}
	for _, c := range cases {
		n[c.Effect]++
	}
	return fmt.Sprintf("%d faults: with %d a call ends otherwise, with %d it takes another way to the same end, with %d only marks differ, and %d are not met by any of the calls.",
		len(cases), n[OtherEnd], n[OtherWay], n[OtherMark], n[NoEffect])
}
