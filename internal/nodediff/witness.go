// SPDX-License-Identifier: Apache-2.0

package nodediff

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// witnesses collects what the lines of a dump say about the values that differ from
// node to node.
type witnesses struct {
	said  map[string][]Evidence
	given map[string]string
}

func newWitnesses() *witnesses {
	return &witnesses{said: map[string][]Evidence{}, given: map[string]string{}}
}

// hear notes that a line gives a value.
func (w *witnesses) hear(name, value string, e Evidence) {
	if value == "" {
		return
	}
	e.Says = value
	w.said[name] = append(w.said[name], e)
}

// give sets a value, whatever the dump says.
func (w *witnesses) give(name, value string) {
	if value != "" {
		w.given[name] = value
	}
}

// value is what was given, or what most lines say; of two that as many lines say, the
// one that was heard first.
func (w *witnesses) value(name string) string {
	if v, is := w.given[name]; is {
		return v
	}
	votes, first := map[string]int{}, map[string]int{}
	best := ""
	for i, e := range w.said[name] {
		if _, is := first[e.Says]; !is {
			first[e.Says] = i
		}
		votes[e.Says]++
	}
	for v, n := range votes {
		if best == "" || n > votes[best] || n == votes[best] && first[v] < first[best] {
			best = v
		}
	}
	return best
}

// parameter is the value with its sources.
func (w *witnesses) parameter(name string) Parameter {
	_, given := w.given[name]
	return Parameter{Name: name, Value: w.value(name), Given: given, Sources: w.said[name]}
}

// contradictions are the lines that say another value than the one that is taken,
// one finding for each other value.
func (w *witnesses) contradictions(name, space string) []Finding {
	value := w.value(name)
	var out []Finding
	said := slices.Clone(w.said[name])
	slices.SortStableFunc(said, func(a, b Evidence) int { return cmp.Compare(a.Says, b.Says) })
	for i, e := range said {
		if e.Says == value || i > 0 && said[i-1].Says == e.Says {
			continue
		}
		f := Finding{
			Kind: Contradiction, Space: space, Section: Parameters, Place: name,
			Have: e.Line, File: e.File, Line: e.LineNo,
			Fields: []Field{{name, value, e.Says}},
		}
		if _, given := w.given[name]; given {
			f.Want = "given: " + value
			f.Note = fmt.Sprintf("this line says that the %s is %s; %s was given", name, e.Says, value)
		} else {
			other := w.first(name, value)
			f.Want = other.Line
			f.Note = fmt.Sprintf("the %s is %s by this line, and %s by %s", name, e.Says, value, other.where())
		}
		if n := count(said, e.Says); n > 1 {
			f.Note += fmt.Sprintf("; %d lines say %s", n, e.Says)
		}
		out = append(out, f)
	}
	return out
}

func count(said []Evidence, value string) int {
	n := 0
	for _, e := range said {
		if e.Says == value {
			n++
		}
	}
	return n
}

func (w *witnesses) first(name, value string) Evidence {
	for _, e := range w.said[name] {
		if e.Says == value {
			return e
		}
	}
	return Evidence{}
}

// where names the line: its file and number, and the line itself.
func (e Evidence) where() string {
	var parts []string
	if e.File != "" {
		at := e.File
		if e.LineNo > 0 {
			at += fmt.Sprintf(":%d", e.LineNo)
		}
		parts = append(parts, at)
	}
	return strings.Join(append(parts, fmt.Sprintf("%q", e.Line)), " ")
}
