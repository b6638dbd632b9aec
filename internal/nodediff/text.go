// SPDX-License-Identifier: Apache-2.0

package nodediff

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// TextOptions say how a report is printed.
type TextOptions struct {
	Colour bool
	// All prints equal lines, too, each with what it is for.
	All bool
}

// Text prints the report for people: what was recognised, then section by section
// what is not as it should be, then the counts.
func (r *Report) Text(w io.Writer, o TextOptions) error {
	p := &printer{w: w, colour: o.Colour, all: o.All}
	p.head(r)
	place := ""
	for i := 0; i < len(r.Findings); i++ {
		f := r.Findings[i]
		if !p.shown(f) {
			continue
		}
		if at := f.heading(); at != place {
			place = at
			p.line("")
			p.line("%s", p.paint(bold, at))
		}
		if n := leftOut(r.Findings[i:]); n > fewUnshown && !p.all {
			p.line("  %s %s  %s", p.paint(dim, "?"), p.paint(dim, fmt.Sprintf("%-13s", "not shown")), plural(n, "line"))
			i += n - 1
			continue
		}
		p.finding(f)
	}
	p.strangers(r)
	p.foot(r)
	return p.err
}

// fewUnshown is how many lines that an excerpt leaves out are printed one by one.
const fewUnshown = 2

// leftOut counts the lines at the beginning that one place of an excerpt leaves out.
func leftOut(findings []Finding) int {
	n := 0
	for n < len(findings) && findings[n].Kind == Unshown && findings[n].Note == "" && findings[n].heading() == findings[0].heading() {
		n++
	}
	return n
}

// printer writes lines and keeps the first error.
type printer struct {
	w      io.Writer
	colour bool
	all    bool
	err    error
}

// The colours, as terminals number them.
const (
	bold   = "1"
	dim    = "2"
	red    = "31"
	green  = "32"
	yellow = "33"
	cyan   = "36"
)

func (p *printer) paint(colour, s string) string {
	if !p.colour || s == "" {
		return s
	}
	return "\x1b[" + colour + "m" + s + "\x1b[0m"
}

func (p *printer) line(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format+"\n", args...)
	}
}

func (p *printer) shown(f Finding) bool {
	quiet := f.Kind == Equal || f.Kind == Unshown && f.Have != "" // the second: a listing leaves it out
	return f.Kind != Foreign && (p.all || !quiet)
}

// heading is where a finding belongs.
func (f Finding) heading() string {
	parts := []string{f.Space, string(f.Section)}
	if f.Place != "" {
		parts = append(parts, f.Place)
	}
	if f.Listing != 0 {
		parts = append(parts, fmt.Sprintf("listing %02d", f.Listing))
	}
	return strings.Join(parts, " · ")
}

// sign is the mark in front of a finding's line.
func (k Kind) sign() (sign, colour string) {
	switch k {
	case Missing:
		return "-", red
	case Extra:
		return "+", green
	case Moved:
		return ">", yellow
	case Changed:
		return "~", yellow
	case Contradiction:
		return "!", red
	case Slip:
		return "*", cyan
	case Unshown:
		return "?", dim
	}
	return "=", dim
}

func (p *printer) finding(f Finding) {
	sign, colour := f.Kind.sign()
	text := func(label, s string) {
		if s != "" {
			p.line("      %s %s", p.paint(dim, label), s)
		}
	}
	main := f.Have
	if main == "" {
		main = f.Want
	}
	word := string(f.Kind)
	if f.Kind == Unshown {
		word = "not shown"
	}
	p.line("  %s %s  %s", p.paint(colour, sign), p.paint(colour, fmt.Sprintf("%-13s", word)), main)
	switch {
	case f.Kind == Changed || f.Kind == Contradiction:
		for _, field := range f.Fields {
			p.line("      %s %s %s %s", p.paint(dim, "field"), field.Name+":", p.paint(red, orNothing(field.Want))+" →", p.paint(green, orNothing(field.Have)))
		}
		switch {
		case f.Kind == Contradiction:
			text("against", f.Want)
		case f.Want != f.Have:
			text("wanted", f.Want)
		}
	case f.Kind == Moved:
		text("place", fmt.Sprintf("%d, and should be %d", f.HaveAt, f.WantAt))
	case f.Kind == Slip && f.Want != "":
		text("right", f.Want)
	}
	text("note", f.Note)
	text("why", f.Why)
	if f.File != "" && f.Kind != Equal {
		at := f.File
		if f.Line > 0 {
			at += fmt.Sprintf(":%d", f.Line)
		}
		text("at", at)
	}
}

// against words what a report's node was compared with.
func (r *Report) against() string {
	switch r.Against {
	case "plan":
		return "what should be there"
	case "article":
		return "the article's listings"
	}
	return r.Against
}

func (p *printer) head(r *Report) {
	p.line("%s", p.paint(bold, fmt.Sprintf("%s, compared with %s", r.Node, r.against())))
	for _, g := range r.Generations {
		p.line("")
		p.generation(g)
	}
	for _, gap := range r.Gaps {
		p.line("%s %s", p.paint(dim, "not in the dump:"), gap)
	}
}

// fewEvidence is how many lines of evidence are printed; the count says how many
// there are.
const fewEvidence = 3

func (p *printer) generation(g Generation) {
	title := g.Name
	if g.Variant != "" {
		title += " (" + g.Variant + ")"
	}
	p.line("Recognised: %s in %s", p.paint(bold, title), g.Space)
	if g.Want > 0 {
		p.line("  %d of %d rules of iptables are there as they should be.", g.Have, g.Want)
	}
	for i, e := range g.Evidence {
		if i == fewEvidence && !p.all {
			p.line("  %s", p.paint(dim, fmt.Sprintf("and %d more signs", len(g.Evidence)-i)))
			break
		}
		p.line("  %s %s", p.paint(dim, "sign"), e.Line)
	}
	for _, x := range g.Parameters {
		value := x.Value
		if value == "" {
			value = "(none)"
		}
		from := ""
		switch {
		case x.Given:
			from = "given"
		case len(x.Sources) == 1:
			from = "from 1 line"
		case len(x.Sources) > 1:
			from = fmt.Sprintf("from %d lines", len(x.Sources))
		}
		p.line("  %-14s %s  %s", x.Name, value, p.paint(dim, from))
	}
	if g.Note != "" {
		p.line("  %s", g.Note)
	}
}

// strangers are what others have in the same places.
func (p *printer) strangers(r *Report) {
	title := false
	for _, f := range r.Findings {
		if f.Kind != Foreign {
			continue
		}
		if !title {
			title = true
			p.line("")
			p.line("%s", p.paint(bold, "Others' lines, not compared"))
		}
		p.line("  %s · %s: %s, %s", f.Space, f.Section, f.Owner, plural(f.Count, "line"))
	}
}

func plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}

func (p *printer) foot(r *Report) {
	for _, n := range r.Notes {
		p.line("")
		p.line("%s %s", p.paint(dim, "note"), n)
	}
	p.line("")
	colour := green
	if r.Differs() {
		colour = red
	}
	p.line("%s %s", p.paint(colour, r.verdict()), r.countText())
}

// verdict is the outcome in a few words.
func (r *Report) verdict() string {
	unshown := func(f Finding) bool { return f.Kind == Unshown && f.Have == "" }
	switch {
	case r.Differs():
		return "They differ."
	case slices.ContainsFunc(r.Findings, unshown):
		return "No difference in what the dump shows."
	}
	return "No difference."
}

// countText is how many lines there are of each kind, in words.
func (r *Report) countText() string {
	counts := r.Counts()
	var parts []string
	for _, k := range Kinds() {
		if n := counts[k]; n > 0 {
			word := string(k)
			if k == Unshown {
				word = "not shown"
			}
			parts = append(parts, fmt.Sprintf("%d %s", n, word))
		}
	}
	return strings.Join(parts, ", ")
}
