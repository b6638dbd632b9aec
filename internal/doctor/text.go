// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"fmt"
	"io"
	"strings"
)

// TextOptions say how a report is printed.
type TextOptions struct {
	Colour bool
	// All prints every reason of a pod, and pods that take no part one by one.
	All bool
}

// width is where lines are broken, in columns.
const width = 110

// The colours of the terminal.
const (
	red, green, yellow, dim, bold, plain = "\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[2m", "\x1b[1m", "\x1b[0m"
)

// Text prints the report for people.
func (r *Report) Text(w io.Writer, o TextOptions) error {
	p := &printer{w: w, o: o}
	p.line("%s", p.paint(bold, "Node "+r.Node))
	for _, c := range r.Checks {
		p.check(c)
	}
	if len(r.Pods) > 0 {
		p.line("")
		p.line("%s", p.paint(bold, "Pods"))
	}
	for i := range r.Pods {
		p.pod(&r.Pods[i])
	}
	p.line("")
	switch n := r.Faults(); n {
	case 0:
		p.line("All is well.")
	default:
		p.line("%s", plural(n, "thing is wrong.", "things are wrong."))
	}
	return p.err
}

type printer struct {
	w   io.Writer
	o   TextOptions
	err error
}

func (p *printer) line(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format+"\n", args...)
	}
}

func (p *printer) paint(colour, text string) string {
	if !p.o.Colour {
		return text
	}
	return colour + text + plain
}

func (p *printer) check(c Check) {
	colour := map[State]string{OK: green, Wrong: red, Note: yellow, Unknown: dim}[c.State]
	p.wrap("  "+p.paint(colour, fmt.Sprintf("%-8s", c.State))+fmt.Sprintf("%-15s", c.Name), 25, c.Text)
	for _, d := range c.Details {
		p.wrap(strings.Repeat(" ", 25)+"- ", 27, d)
	}
	if c.Remedy != "" {
		p.wrap(strings.Repeat(" ", 25), 25, "What to do: "+c.Remedy)
	}
}

func (p *printer) pod(pod *Pod) {
	colour := red
	switch pod.Capture {
	case Captured:
		colour = green
	case Outside, Unclear:
		colour = dim
	}
	name := pod.Label()
	if pod.IP != "" && pod.IP != name {
		name += "  " + pod.IP
	}
	p.line("  %s%s", p.paint(colour, fmt.Sprintf("%-10s", pod.Capture)), name)
	const indent = 12
	for i, r := range pod.Reasons {
		if i > 0 && !p.o.All {
			p.line("%s%s", strings.Repeat(" ", indent), p.paint(dim, plural(len(pod.Reasons)-i, "further reason: --all shows it", "further reasons: --all shows them")))
			break
		}
		p.wrap(strings.Repeat(" ", indent), indent, r.Text)
		if r.Line != "" {
			where := ""
			if r.File != "" {
				where = "  (" + r.File
				if r.LineNo > 0 {
					where += fmt.Sprintf(":%d", r.LineNo)
				}
				where += ")"
			}
			p.line("%s%s%s", strings.Repeat(" ", indent+2), r.Line, p.paint(dim, where))
		}
		if r.Remedy != "" {
			p.wrap(strings.Repeat(" ", indent), indent, "What to do: "+r.Remedy)
		}
	}
}

// wrap prints a text behind a first word, broken at blanks and indented.
func (p *printer) wrap(first string, indent int, text string) {
	line, column := first, indent
	for i, word := range strings.Fields(text) {
		n := len([]rune(word))
		switch {
		case i == 0:
		case column+1+n > width:
			p.line("%s", line)
			line, column = strings.Repeat(" ", indent), indent
		default:
			line += " "
			column++
		}
		line += word
		column += n
	}
	p.line("%s", line)
}
