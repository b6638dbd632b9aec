// SPDX-License-Identifier: Apache-2.0

package xdsdiff

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// longest is how much of a value is printed, in bytes.
const longest = 160

// Printer writes what a comparison finds, for people.
type Printer struct {
	Out    io.Writer
	Colour bool
}

// Resource writes one resource that is not the same.
func (p *Printer) Resource(r Resource) error {
	out := bufio.NewWriter(p.Out)
	p.line(out, r.Op, "", strings.TrimSpace(r.Type+" "+r.Name)+only(r.Op))
	for _, d := range r.Differences {
		p.line(out, d.Op, "    ", d.text())
	}
	return flush(out)
}

func only(op Op) string {
	switch op {
	case Remove:
		return " (only in A)"
	case Add:
		return " (only in B)"
	}
	return ""
}

// line writes one line with the sign of its operation.
func (p *Printer) line(out *bufio.Writer, op Op, indent, text string) {
	sign, colour := "~", "33"
	switch op {
	case Remove:
		sign, colour = "-", "31"
	case Add:
		sign, colour = "+", "32"
	}
	if p.Colour {
		fmt.Fprintf(out, "%s\x1b[%sm%s %s\x1b[0m\n", indent, colour, sign, text)
		return
	}
	fmt.Fprintf(out, "%s%s %s\n", indent, sign, text)
}

func (d *Difference) text() string {
	path := d.Path
	if path == "" {
		path = "(all of it)"
	}
	switch d.Op {
	case Remove:
		return path + ": " + shorten(d.Old)
	case Add:
		return path + ": " + shorten(d.New)
	case Reorder:
		return path + ": order " + shorten(d.Old) + " → " + shorten(d.New)
	}
	old, now := shortenBoth(d.Old, d.New)
	return path + ": " + old + " → " + now
}

// shorten cuts a long value, and says how long it was.
func shorten(value []byte) string {
	return excerpt(value, 0)
}

// excerpt is a piece of a value that begins there, whole if the value is short.
func excerpt(value []byte, from int) string {
	if len(value) <= longest {
		return string(value)
	}
	to := min(len(value), from+longest)
	for from > 0 && !utf8.RuneStart(value[from]) {
		from--
	}
	for to < len(value) && !utf8.RuneStart(value[to]) {
		to--
	}
	text := string(value[from:to])
	if from > 0 {
		text = "…" + text
	}
	if to < len(value) {
		text += "…"
	}
	return fmt.Sprintf("%s (%d bytes)", text, len(value))
}

// shortenBoth cuts two values so that the place where they part can be seen.
func shortenBoth(a, b []byte) (string, string) {
	same := 0
	for same < min(len(a), len(b)) && a[same] == b[same] {
		same++
	}
	from := max(0, same-longest/3)
	return excerpt(a, min(from, len(a))), excerpt(b, min(from, len(b)))
}

// Summary writes the last lines: what was counted, and what was not compared.
func (p *Printer) Summary(s *Summary) error {
	out := bufio.NewWriter(p.Out)
	for _, n := range s.NotCompared {
		fmt.Fprintf(out, "not compared: %s in %s; the other file can have none\n", count(n.Count, n.Type), n.In)
	}
	if s.Unnamed > 0 {
		fmt.Fprintf(out, "matched by addresses: %s without cluster_name\n", count(s.Unnamed, "endpoint"))
	}
	fmt.Fprintf(out, "%s, %d only in A, %d only in B, %d differ", count(s.Equal, "resource")+" equal", s.OnlyA, s.OnlyB, s.Changed)
	if s.Changed > 0 {
		fmt.Fprintf(out, " (%s)", count(s.Differences, "difference"))
	}
	fmt.Fprintln(out)
	return flush(out)
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func flush(out *bufio.Writer) error {
	if err := out.Flush(); err != nil {
		return fmt.Errorf("printing differences: %w", err)
	}
	return nil
}

// JSONPrinter writes what a comparison finds as one JSON object, resource after
// resource.
type JSONPrinter struct {
	Out  io.Writer
	A, B string // the files' names

	begun bool
}

type jsonResource struct {
	Op          Op               `json:"op"`
	Type        string           `json:"type"`
	Name        string           `json:"name"`
	Differences []jsonDifference `json:"differences,omitempty"`
}

type jsonDifference struct {
	Op   Op              `json:"op"`
	Path string          `json:"path"`
	Old  json.RawMessage `json:"old,omitempty"`
	New  json.RawMessage `json:"new,omitempty"`
}

type jsonSummary struct {
	Equal       int               `json:"equal"`
	Changed     int               `json:"changed"`
	OnlyA       int               `json:"only_in_a"`
	OnlyB       int               `json:"only_in_b"`
	Differences int               `json:"differences"`
	Unnamed     int               `json:"matched_by_addresses,omitempty"`
	NotCompared []jsonNotCompared `json:"not_compared,omitempty"`
}

type jsonNotCompared struct {
	Type  string `json:"type"`
	In    string `json:"in"`
	Count int    `json:"count"`
}

// Resource writes one resource that is not the same.
func (p *JSONPrinter) Resource(r Resource) error {
	j := jsonResource{Op: r.Op, Type: r.Type, Name: r.Name}
	for _, d := range r.Differences {
		j.Differences = append(j.Differences, jsonDifference(d))
	}
	out := bufio.NewWriter(p.Out)
	if p.begun {
		out.WriteString(",\n  ")
	} else {
		p.begin(out)
		out.WriteString("\n  ")
	}
	if err := writeJSON(out, j, "  "); err != nil {
		return err
	}
	return flush(out)
}

func (p *JSONPrinter) begin(out *bufio.Writer) {
	fmt.Fprintf(out, "{\n \"a\": %s,\n \"b\": %s,\n \"resources\": [", quote(p.A), quote(p.B))
	p.begun = true
}

// Summary writes the counts and ends the object.
func (p *JSONPrinter) Summary(s *Summary) error {
	out := bufio.NewWriter(p.Out)
	if p.begun {
		out.WriteString("\n ")
	} else {
		p.begin(out)
	}
	out.WriteString("],\n \"summary\": ")
	j := jsonSummary{
		Equal: s.Equal, Changed: s.Changed, OnlyA: s.OnlyA, OnlyB: s.OnlyB, Differences: s.Differences, Unnamed: s.Unnamed,
	}
	for _, n := range s.NotCompared {
		j.NotCompared = append(j.NotCompared, jsonNotCompared(n))
	}
	if err := writeJSON(out, j, " "); err != nil {
		return err
	}
	out.WriteString("\n}\n")
	return flush(out)
}

func writeJSON(out *bufio.Writer, v any, prefix string) error {
	var text bytes.Buffer
	e := json.NewEncoder(&text)
	e.SetEscapeHTML(false)
	e.SetIndent(prefix, " ")
	if err := e.Encode(v); err != nil {
		return fmt.Errorf("printing differences as JSON: %w", err)
	}
	// What can't be written shows when the buffer is flushed.
	_, _ = out.Write(bytes.TrimSuffix(text.Bytes(), []byte{'\n'}))
	return nil
}
