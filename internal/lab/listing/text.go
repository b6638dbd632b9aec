// SPDX-License-Identifier: Apache-2.0

package listing

import (
	"fmt"
	"strings"
)

// omitted stands for any lines in the article's listings.
const omitted = "/* omit */"

// Names binds the listings' device names to the running system's: per host, one
// name to one name. It is shared by the comparisons of one run.
type Names map[string]map[string]string

// step is one line of a listing.
type step struct {
	number int // in the listing, from 1
	words  []string
	free   bool // any lines may stand between the line before and this one
}

// Compare holds what a command printed against the listing.
func (s *Set) Compare(l *Listing, output string, names Names) Result {
	r := l.result(output)
	lines, err := l.corrected()
	if err != nil {
		return l.Fail(err)
	}
	if l.Get != "" {
		return l.compareJSON(r, strings.Join(lines, "\n"), output)
	}
	m := &textMatch{
		rules: s.wordRules(l),
		live:  splitLines(output),
		names: names.of(l.Host),
	}
	m.steps, m.freeEnd = l.steps(lines)
	r.Status = Reproduced
	if detail := m.run(l.Whole); detail != "" {
		r.Status, r.Detail = Differs, detail
		if m.rules.counters && m.otherTableOrder() {
			r.Status, r.Detail, r.TablesMoved = Reproduced, "", true
		}
	}
	if len(m.names) > 0 {
		r.Substituted = m.used()
	}
	return r
}

func (n Names) of(host string) map[string]string {
	if n == nil {
		return map[string]string{}
	}
	if n[host] == nil {
		n[host] = map[string]string{}
	}
	return n[host]
}

// steps turns the listing's lines into steps. The first step of an excerpt may
// start anywhere.
func (l *Listing) steps(lines []string) (steps []step, freeEnd bool) {
	free := !l.Whole
	for i, line := range lines {
		words := strings.Fields(line)
		switch {
		case len(words) == 0:
			continue
		case strings.TrimSpace(line) == omitted:
			free = true
			continue
		}
		steps = append(steps, step{number: i + 1, words: words, free: free})
		free = l.gapAfter(i + 1)
	}
	return steps, free || !l.Whole
}

func (l *Listing) gapAfter(line int) bool {
	for _, g := range l.Gaps {
		if g.After == line {
			return true
		}
	}
	return false
}

func splitLines(text string) [][]string {
	var lines [][]string
	for line := range strings.SplitSeq(text, "\n") {
		if words := strings.Fields(line); len(words) > 0 {
			lines = append(lines, words)
		}
	}
	return lines
}

// textMatch looks for the listing's lines in the output.
type textMatch struct {
	steps   []step
	freeEnd bool
	live    [][]string
	rules   wordRules
	names   map[string]string // bindings so far, extended by a match
	best    failure
}

// failure is the furthest place a match got to.
type failure struct {
	step int
	live int
}

// run returns "" where the output contains the listing, else what is missing.
func (m *textMatch) run(whole bool) string {
	m.best = failure{step: -1}
	names, ok := m.from(0, 0, m.names)
	if ok {
		for k, v := range names {
			m.names[k] = v
		}
		return ""
	}
	return m.explain(whole)
}

// from matches the steps from i on with the live lines from j on and returns
// the bindings that made it fit. Where lines may stand between, it tries every
// place: a rule may occur in two tables.
func (m *textMatch) from(i, j int, names map[string]string) (map[string]string, bool) {
	m.note(i, j)
	if i == len(m.steps) {
		return names, m.freeEnd || j == len(m.live)
	}
	last := j
	if m.steps[i].free {
		last = len(m.live) - 1
	}
	for at := j; at <= last && at < len(m.live); at++ {
		bound, ok := m.rules.line(m.steps[i].words, m.live[at], names)
		if !ok {
			continue
		}
		if all, ok := m.from(i+1, at+1, bound); ok {
			return all, true
		}
	}
	return nil, false
}

func (m *textMatch) note(i, j int) {
	if i > m.best.step {
		m.best = failure{step: i, live: j}
	}
}

// explain says which line of the listing the output lacks, and what it has in
// its place.
func (m *textMatch) explain(whole bool) string {
	if len(m.live) == 0 {
		return "the command printed nothing"
	}
	if m.best.step >= len(m.steps) {
		return fmt.Sprintf("the output goes on after the listing's last line: %s", join(m.live[m.best.live]))
	}
	want := m.steps[m.best.step]
	text := fmt.Sprintf("line %d of the listing is not there: %s", want.number, join(want.words))
	if near := m.nearest(want.words); near != nil {
		text += fmt.Sprintf("\n  the nearest line of the output: %s", join(near))
	}
	if !want.free && m.best.live < len(m.live) {
		text += fmt.Sprintf("\n  in its place stands: %s", join(m.live[m.best.live]))
	}
	if whole && m.best.live >= len(m.live) {
		text += "\n  the output ends before it"
	}
	return text
}

// nearest finds the line that shares the most words with want.
func (m *textMatch) nearest(want []string) []string {
	var best []string
	most := 0
	for _, line := range m.live {
		n := shared(want, line)
		shorter := n == most && best != nil && len(line) < len(best)
		if n > most || shorter {
			best, most = line, n
		}
	}
	return best
}

func shared(a, b []string) int {
	count := map[string]int{}
	for _, w := range a {
		count[w]++
	}
	n := 0
	for _, w := range b {
		if count[w] > 0 {
			count[w]--
			n++
		}
	}
	return n
}

// used returns the bindings that the listing's own names have.
func (m *textMatch) used() map[string]string {
	used := map[string]string{}
	for _, s := range m.steps {
		for _, w := range s.words {
			if live, ok := m.names[w]; ok && live != w {
				used[w] = live
			}
		}
	}
	if len(used) == 0 {
		return nil
	}
	return used
}

func join(words []string) string { return strings.Join(words, " ") }
