// SPDX-License-Identifier: Apache-2.0

package iptsave

import (
	"slices"
	"strings"

	"github.com/ambient22/ambient22/internal/dump/syntax"
)

// ParseRule reads one rule: "-A CHAIN ...", with counters in front where they are.
// Its errors are *syntax.Error.
func ParseRule(line string) (*Rule, error) {
	if end := strings.IndexByte(line, '\n'); end >= 0 {
		return nil, (&fault{end, "a rule is one line"}).at("", 1)
	}
	var r ruleReader
	r.matches = make([]Match, 0, strings.Count(line, " ")+1)
	rule := &Rule{Line: 1}
	if err := r.read(rule, line); err != nil {
		return nil, err.at("", 1)
	}
	return rule, nil
}

// ruleReader reads rules, and reuses its memory for the next one.
type ruleReader struct {
	words   []string
	scratch []byte
	matches []Match // where conditions lie, those of many rules in one piece
}

// fault is what is wrong with a line, and at which byte of it, from 0.
type fault struct {
	column int
	reason string
}

func (f *fault) at(file string, line int) error {
	return &syntax.Error{File: file, Line: line, Column: f.column + 1, Reason: f.reason}
}

func (r *ruleReader) read(rule *Rule, line string) *fault {
	var bad int
	r.words, bad = split(r.words[:0], line, &rule.form)
	if bad >= 0 {
		return &fault{bad, "a quote is not closed"}
	}
	rule.text = line
	c := cursor{words: r.words}
	if strings.HasPrefix(c.peek(), "[") {
		word, _ := c.word()
		counters, ok := readCounters(word)
		if !ok {
			return &fault{column(line, 0), "counters are [PACKETS:BYTES]"}
		}
		rule.Counters = counters
	}
	if word, _ := c.word(); word != "-A" {
		return &fault{column(line, c.at-1), "a rule begins with -A"}
	}
	var ok bool
	if rule.Chain, ok = c.word(); !ok {
		return &fault{len(line), "-A needs a chain"}
	}
	if cap(r.matches)-len(r.matches) < len(c.words) {
		r.matches = make([]Match, 0, max(1024, len(c.words)))
	}
	first := len(r.matches)
	for !c.done() {
		at := c.at
		if reason := r.part(rule, &c, first); reason != "" {
			return &fault{column(line, at), reason}
		}
	}
	rule.Matches = r.matches[first:len(r.matches):len(r.matches)]
	if rule.form.targetAt == len(rule.Matches)+1 {
		rule.form.targetAt = 0
	}
	return nil
}

// part reads the next part of a rule: a condition, the target, its counters.
func (r *ruleReader) part(rule *Rule, c *cursor, first int) (reason string) {
	at := c.at
	switch word, _ := c.word(); word {
	case "-j", "-g":
		name, ok := c.word()
		if !ok {
			return word + " needs a target"
		}
		if rule.Target != nil {
			r.opaque(c, at, "")
			return ""
		}
		rule.Target = r.target(c, at, word, name)
		rule.form.targetAt = len(r.matches) - first + 1
	case "-m":
		module, ok := c.word()
		if !ok {
			return "-m needs a module"
		}
		r.module(c, at, module)
	case "-c":
		if len(c.words) < c.at+2 {
			return "-c needs packets and bytes"
		}
		counters, ok := readCounters("[" + c.words[c.at] + ":" + c.words[c.at+1] + "]")
		if !ok || rule.Counters != nil {
			r.opaque(c, at, "")
			return ""
		}
		c.at += 2
		rule.Counters = counters
		rule.form.countersAt = len(r.matches) - first + 1
		rule.form.countersLate = rule.Target != nil
	default:
		return r.basic(c, at, first)
	}
	return ""
}

// basic reads a condition that stands outside a module.
func (r *ruleReader) basic(c *cursor, at, first int) (reason string) {
	c.at = at
	not := c.peek() == "!"
	if not {
		c.at++
	}
	name, ok := c.word()
	if !ok {
		return "! needs an option"
	}
	switch name {
	case "-f":
	case "-p", "-s", "-d", "-i", "-o":
		if value := c.peek(); value == "" || value == "!" && (not || c.at+1 == len(c.words)) {
			return name + " needs a value"
		}
	case "--sport", "--dport", "--tcp-flags":
		c.at = at
		if m, ok := readPorts(c, ""); ok && hasPorts(r.matches[first:]) && r.same(c.words[at:c.at], m.(printed)) {
			r.matches = append(r.matches, m)
			return ""
		}
		r.opaque(c, at, "")
		return ""
	default:
		r.opaque(c, at, "")
		return ""
	}
	m, ok := basicMatch(c, name, not)
	if !ok || !r.same(c.words[at:c.at], m.(printed)) {
		words := append([]string(nil), c.words[at:c.at]...)
		m = Opaque{Words: words}
	}
	r.matches = append(r.matches, m)
	return ""
}

// hasPorts tells that a protocol with ports was asked for.
func hasPorts(matches []Match) bool {
	for _, m := range matches {
		if p, ok := m.(Protocol); ok && !p.Not {
			return p.Number == 6 || p.Number == 17 || p.Number == 132 || p.Number == 33 || p.Number == 136
		}
	}
	return false
}

// module reads "-m NAME" with its options.
func (r *ruleReader) module(c *cursor, at int, module string) {
	if parse := moduleParser(module); parse != nil {
		m, ok := parse(c)
		if ok && !c.moreOptions() && r.same(c.words[at:c.at], m.(printed)) {
			r.matches = append(r.matches, m)
			return
		}
	}
	r.opaque(c, at, module)
}

// opaque keeps what begins at that place up to where another part must begin.
func (r *ruleReader) opaque(c *cursor, at int, module string) {
	c.at = at + 1
	if module != "" {
		c.at++
	}
	c.rest()
	r.matches = append(r.matches, Opaque{Module: module, Words: slices.Clone(c.words[at:c.at])})
}

func (r *ruleReader) target(c *cursor, at int, how, name string) Target {
	after := c.at
	if how == "-g" {
		return Jump{Chain: name, Goto: true}
	}
	t, ok := readTarget(c, name)
	if ok && !c.moreOptions() && r.same(c.words[at:c.at], t.(printed)) {
		return t
	}
	c.at = after
	return OpaqueTarget{Name: name, Words: c.rest()}
}

// same tells that a part prints the words it was read from. Where it does not, the
// words are kept instead: a model that cannot say the same is not understood.
func (r *ruleReader) same(words []string, p printed) bool {
	r.scratch = p.appendTo(r.scratch[:0])
	left := r.scratch
	for i, w := range words {
		if i > 0 {
			if len(left) == 0 || left[0] != ' ' {
				return false
			}
			left = left[1:]
		}
		if len(left) < len(w) || string(left[:len(w)]) != w {
			return false
		}
		left = left[len(w):]
	}
	return len(left) == 0
}

// column is the byte at which a word of a line begins.
func column(line string, word int) int {
	at := 0
	for {
		for at < len(line) && line[at] == ' ' {
			at++
		}
		if word == 0 || at >= len(line) {
			return min(at, len(line))
		}
		at, _ = wordEnd(line, at, len(line))
		word--
	}
}
