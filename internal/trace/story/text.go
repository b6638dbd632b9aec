// SPDX-License-Identifier: Apache-2.0

package story

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// TextOptions are how a story is printed.
type TextOptions struct {
	// All prints every stop; otherwise only the decisive ones.
	All bool
	// Colour uses the terminal's colours.
	Colour bool
	// Width breaks lines; 0 stands for 110 columns.
	Width int
}

// Text prints the story for people, without colours.
func (s *Story) Text(w io.Writer, all bool) error { return s.Print(w, TextOptions{All: all}) }

// defaultWidth is in columns.
const defaultWidth = 110

// Print prints the story for people.
func (s *Story) Print(w io.Writer, o TextOptions) error {
	if o.Width <= 0 {
		o.Width = defaultWidth
	}
	p := &printer{w: bufio.NewWriter(w), o: o}
	p.head(s)
	for i := range s.Legs {
		p.leg(&s.Legs[i])
	}
	p.timeline(s.Timeline)
	p.end(s)
	return p.w.Flush()
}

// printer writes one story.
type printer struct {
	w    *bufio.Writer
	o    TextOptions
	last Place
}

// The colours that a terminal knows.
const (
	bold   = "\x1b[1m"
	dim    = "\x1b[2m"
	green  = "\x1b[32m"
	yellow = "\x1b[33m"
	red    = "\x1b[31m"
	cyan   = "\x1b[36m"
	plain  = "\x1b[0m"
)

func (p *printer) paint(colour, text string) string {
	if !p.o.Colour || text == "" {
		return text
	}
	return colour + text + plain
}

func (p *printer) printf(format string, args ...any) { fmt.Fprintf(p.w, format, args...) }

func (p *printer) head(s *Story) {
	p.printf("%s\n", p.paint(bold, fmt.Sprintf("%s → %s", endText(s.From), endText(s.To))))
	p.wrap("", "", s.Outcome.Sentence, p.outcomeColour(s))
}

func (p *printer) outcomeColour(s *Story) string {
	switch {
	case s.Outcome.Delivered:
		return green
	case s.Outcome.Unknown:
		return yellow
	}
	return red
}

func endText(e End) string {
	text := e.Name
	if !strings.HasPrefix(e.Address, e.Name) {
		text += " (" + e.Address + ")"
	} else {
		text = e.Address
	}
	if e.Node != "" && e.Node != e.Name {
		text += " on " + e.Node
	}
	return text
}

func (p *printer) leg(l *Leg) {
	p.last = Place{}
	p.printf("\n%s\n", p.paint(bold, l.ID+"  "+l.Title))
	p.printf("   %s\n", p.paint(dim, l.Packet))
	for i := range l.Stops {
		if p.o.All || l.Stops[i].Decisive {
			p.stop(&l.Stops[i])
		}
	}
}

// stop prints a step below the place where it happens.
func (p *printer) stop(s *Stop) {
	if where := placeText(s.Place); where != placeText(p.last) {
		p.printf("   %s\n", p.paint(cyan, where))
		p.last = s.Place
	}
	number := s.ID
	if i := strings.LastIndexByte(number, '.'); i >= 0 {
		number = number[i+1:]
	}
	colour, sign := "", " "
	if !s.Matched {
		colour, sign = dim, "-"
	}
	p.wrap(fmt.Sprintf("   %s%4s  ", sign, number), "         ", s.Text+markText(s), colour)
	p.proof(s)
}

// proof is the line of the dump that says so.
func (p *printer) proof(s *Stop) {
	at := ""
	if s.File != "" {
		at = s.File
		if s.LineNo > 0 {
			at += fmt.Sprintf(":%d", s.LineNo)
		}
	}
	switch {
	case s.Line != "":
		p.printf("            %s\n", p.paint(dim, strings.TrimSpace(s.Line+"    "+at)))
	case at != "" && p.o.All:
		p.printf("            %s\n", p.paint(dim, at))
	}
	if s.Why != "" && p.o.All {
		p.wrap("            ", "            ", s.Why, dim)
	}
}

// markText says what became of the marks.
func markText(s *Stop) string {
	var parts []string
	if s.MarkAfter != "" {
		parts = append(parts, fmt.Sprintf("mark %s → %s", s.Mark, s.MarkAfter))
	}
	if s.ConnmarkAfter != "" {
		parts = append(parts, fmt.Sprintf("conntrack mark %s → %s", s.Connmark, s.ConnmarkAfter))
	}
	if len(parts) == 0 {
		return ""
	}
	return " [" + strings.Join(parts, ", ") + "]"
}

func placeText(p Place) string {
	var parts []string
	switch p.Space {
	case hostSpace:
		parts = append(parts, NodeLabel(p.Node))
	case ztunnelSpace:
		text := "ztunnel"
		if p.Pod != "" {
			text = p.Pod
		}
		parts = append(parts, text+" on "+p.Node)
	case podSpace:
		parts = append(parts, "pod "+p.Pod)
	case linkSpace:
		parts = append(parts, "between the nodes")
	}
	switch {
	case p.Hook != "" && p.Table != "" && p.Table != "proxy" && p.Table != "routing":
		parts = append(parts, p.Table+" "+p.Hook)
	case p.Table == "proxy":
		parts = append(parts, "the proxy")
	case p.Table == "routing":
		parts = append(parts, "routing")
	}
	return strings.Join(parts, " · ")
}

func (p *printer) end(s *Story) {
	if s.Miss != nil {
		title := "Why it was not captured"
		if s.Miss.Unknown || s.Miss.Captured {
			title = "Was it captured?"
		}
		p.printf("\n%s\n", p.paint(bold, title))
		p.wrap("   ", "   ", s.Miss.Sentence, "")
		if s.Miss.Stop != "" {
			p.printf("   %s\n", p.paint(dim, "at step "+s.Miss.Stop))
		}
		if s.Miss.Remedy != "" {
			p.wrap("   What to do: ", "   ", s.Miss.Remedy, "")
		}
	}
	if len(s.Remarks) > 0 {
		p.printf("\n%s\n", p.paint(bold, "What is not as it should be"))
		for _, r := range s.Remarks {
			p.wrap(" - ", "   ", r, "")
		}
	}
	if len(s.Doubts) > 0 {
		p.printf("\n%s\n", p.paint(bold, "What the dumps leave open"))
		for _, d := range s.Doubts {
			p.wrap(" - ", "   ", d, "")
		}
	}
}

// wrap prints a text below a width, with one beginning for its first line and
// another for the rest.
func (p *printer) wrap(first, rest, text, colour string) {
	line := first
	empty := true
	flush := func() {
		lead := first
		if !strings.HasPrefix(line, first) || first == "" {
			lead = ""
		}
		p.printf("%s%s\n", lead, p.paint(colour, line[len(lead):]))
	}
	for _, word := range strings.Fields(text) {
		if !empty && runes(line)+1+runes(word) > p.o.Width {
			flush()
			line, first, empty = rest, rest, true
		}
		if !empty {
			line += " "
		}
		line += word
		empty = false
	}
	if !empty {
		flush()
	}
}

func runes(s string) int { return len([]rune(s)) }
