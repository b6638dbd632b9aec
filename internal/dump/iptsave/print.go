// SPDX-License-Identifier: Apache-2.0

package iptsave

import (
	"slices"
	"strconv"
	"strings"
)

// String is the rule as iptables-save prints it, "-A CHAIN ...", without its
// counters and without what somebody wrote behind it.
func (r *Rule) String() string {
	if r.Counters == nil {
		return string(r.appendParts(nil))
	}
	plain := *r
	plain.Counters = nil
	return string(plain.appendParts(nil))
}

// Saved is the rule's line as it stood in the text, made from the model.
func (r *Rule) Saved() string { return string(r.appendTo(nil)) }

func (r *Rule) appendTo(b []byte) []byte {
	start := len(b)
	b = r.appendParts(b)
	if len(r.form.gaps) > 0 {
		b = append(b[:start], widen(string(b[start:]), r.form.gaps)...)
	}
	return append(b, r.form.tail...)
}

func (r *Rule) appendParts(b []byte) []byte {
	if r.Counters != nil && r.form.countersAt == 0 {
		b = append(r.Counters.appendTo(b), ' ')
	}
	b = append(append(b, "-A "...), r.Chain...)
	for i := range len(r.Matches) + 1 {
		if !r.form.countersLate {
			b = r.appendListedCounters(b, i)
		}
		if r.Target != nil && r.targetAt() == i {
			b = appendPart(append(b, ' '), r.Target)
		}
		if r.form.countersLate {
			b = r.appendListedCounters(b, i)
		}
		if i < len(r.Matches) {
			b = appendPart(append(b, ' '), r.Matches[i])
		}
	}
	return b
}

// appendListedCounters prints the counters as iptables -S -v does, where they
// stand behind that many conditions.
func (r *Rule) appendListedCounters(b []byte, matches int) []byte {
	if r.Counters == nil || r.form.countersAt != matches+1 {
		return b
	}
	b = strconv.AppendUint(append(b, " -c "...), r.Counters.Packets, 10)
	return strconv.AppendUint(append(b, ' '), r.Counters.Bytes, 10)
}

// targetAt is how many conditions are printed in front of the target.
func (r *Rule) targetAt() int {
	if r.form.targetAt == 0 {
		return len(r.Matches)
	}
	return min(r.form.targetAt-1, len(r.Matches))
}

func appendPart(b []byte, part any) []byte {
	if p, ok := part.(printed); ok {
		return p.appendTo(b)
	}
	return b
}

// widen puts the blanks back that stood between words beyond one.
func widen(line string, gaps []gap) []byte {
	var b []byte
	for at, word := 0, 0; at < len(line); word++ {
		if len(gaps) > 0 && gaps[0].word == word {
			for range gaps[0].extra {
				b = append(b, ' ')
			}
			gaps = gaps[1:]
		}
		end, _ := wordEnd(line, at, len(line))
		b = append(b, line[at:end]...)
		if end < len(line) {
			b = append(b, ' ')
		}
		at = end + 1
	}
	return b
}

func (c *Counters) appendTo(b []byte) []byte {
	b = strconv.AppendUint(append(b, '['), c.Packets, 10)
	b = strconv.AppendUint(append(b, ':'), c.Bytes, 10)
	return append(b, ']')
}

// String is the chain's declaration, ":NAME POLICY [PACKETS:BYTES]".
func (c *Chain) String() string { return string(c.appendTo(nil)) }

func (c *Chain) appendTo(b []byte) []byte {
	if c.declared == listed {
		return c.appendListed(b)
	}
	policy := c.Policy
	if policy == "" {
		policy = "-"
	}
	b = append(append(append(append(b, ':'), c.Name...), ' '), policy...)
	if c.Counters != nil {
		b = c.Counters.appendTo(append(b, ' '))
	}
	return append(b, c.tail...)
}

func (c *Chain) appendListed(b []byte) []byte {
	if c.Policy == "" {
		return append(append(b, "-N "...), c.Name...)
	}
	b = append(append(append(append(b, "-P "...), c.Name...), ' '), c.Policy...)
	if c.Counters != nil {
		b = strconv.AppendUint(append(b, " -c "...), c.Counters.Packets, 10)
		b = strconv.AppendUint(append(b, ' '), c.Counters.Bytes, 10)
	}
	return b
}

// item is one line to print. key is the line at which it was read; what was added
// since has the key of what it stands behind.
type item struct {
	key   int
	text  string
	chain *Chain
	rule  *Rule
}

// String is the text as iptables-save printed it. It is made from the model: what
// was changed in the model is changed in it.
func (s *Save) String() string {
	items := s.items()
	if !slices.IsSortedFunc(items, byKey) {
		slices.SortStableFunc(items, byKey)
	}
	newline := "\n"
	if s.layout.crlf {
		newline = "\r\n"
	}
	b := make([]byte, 0, 128*len(items))
	for i, it := range items {
		switch {
		case it.rule != nil:
			b = it.rule.appendTo(b)
		case it.chain != nil:
			b = it.chain.appendTo(b)
		default:
			b = append(b, it.text...)
		}
		if i < len(items)-1 || !s.layout.open {
			b = append(b, newline...)
		}
	}
	return string(b)
}

func byKey(a, b item) int { return a.key - b.key }

func (s *Save) items() []item {
	var items []item
	for _, l := range s.layout.loose {
		items = append(items, item{key: l.line, text: l.text})
	}
	last := 0
	for _, t := range s.Tables {
		items, last = t.items(items, last)
		if !s.layout.parsed {
			items = append(items, item{key: last, text: "COMMIT"})
		}
	}
	return items
}

// items are the lines of a table. last is the highest key so far: of what has no
// line of its own it is the place.
func (t *Table) items(items []item, last int) ([]item, int) {
	if t.Line > 0 || t.Name != "" && t.Deduced == "" {
		last = max(last, t.Line)
		items = append(items, item{key: last, text: "*" + t.gap + t.Name + t.tail})
	}
	for _, c := range t.Chains {
		if c.Line > 0 {
			last = c.Line
		}
		if c.declared != implied {
			items = append(items, item{key: last, chain: c})
		}
	}
	for _, c := range t.Chains {
		inChain := 0
		for _, r := range c.Rules {
			if r.Line > 0 {
				inChain = max(inChain, r.Line)
				last = inChain
			}
			items = append(items, item{key: last, rule: r})
		}
	}
	return items, last
}

// Table is the first table of that name, nil where there is none.
func (s *Save) Table(name string) *Table {
	for _, t := range s.Tables {
		if t.Name == name {
			return t
		}
	}
	return nil
}

// Chain is the chain of that name, nil where there is none.
func (t *Table) Chain(name string) *Chain {
	if at, ok := t.places[name]; ok && at < len(t.Chains) && t.Chains[at].Name == name {
		return t.Chains[at]
	}
	for _, c := range t.Chains {
		if c.Name == name {
			return c
		}
	}
	return nil
}

// Unmodelled are the words of a condition or target (a Match or Target) that are
// kept and not understood; nil where all is understood. What a walk says of a rule
// with such words is in doubt.
func Unmodelled(part any) []string {
	switch p := part.(type) {
	case Opaque:
		return p.Words
	case OpaqueTarget:
		return append([]string{"-j", p.Name}, p.Words...)
	case Ports:
		return p.Rest
	case Set:
		return p.Rest
	case State:
		return p.Rest
	case Owner:
		return p.Rest
	case CT:
		return p.Rest
	}
	return nil
}

// Unmodelled are the words of the rule that are kept and not understood.
func (r *Rule) Unmodelled() string {
	var parts []string
	for _, m := range r.Matches {
		parts = append(parts, Unmodelled(m)...)
	}
	return strings.Join(append(parts, Unmodelled(r.Target)...), " ")
}
