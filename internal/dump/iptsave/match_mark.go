// SPDX-License-Identifier: Apache-2.0

package iptsave

import (
	"fmt"
	"strings"
)

// Holds tells whether a mark fits the condition, its "!" considered.
func (m Mark) Holds(mark uint32) bool { return (mark&m.Mask == m.Value) != m.Not }

// Holds tells whether a connection's mark fits the condition, its "!" considered.
func (m Connmark) Holds(mark uint32) bool { return (mark&m.Mask == m.Value) != m.Not }

func parseMark(c *cursor) (Match, bool) {
	o, _ := c.option()
	value, _ := c.value(&o)
	m := Mark{Not: o.not, NotAfter: o.late, Decimal: isDecimal(value)}
	var ok bool
	m.Value, m.Mask, _, ok = valueMask(value)
	m.Wide = strings.HasPrefix(value, "0x0") && strings.IndexByte(value+"/", '/') == len("0x00000000")
	return m, ok && o.name == "--mark"
}

func parseConnmark(c *cursor) (Match, bool) {
	m, ok := parseMark(c)
	if !ok {
		return nil, false
	}
	return Connmark(m.(Mark)), true
}

func (m Mark) appendTo(b []byte) []byte { return m.append(append(b, "-m mark "...)) }

func (m Connmark) appendTo(b []byte) []byte { return Mark(m).append(append(b, "-m connmark "...)) }

func (m Mark) append(b []byte) []byte {
	b = appendOption(b, "--mark", m.Not, m.NotAfter)
	if m.Wide {
		return m.appendWide(b)
	}
	return appendValueMask(b, m.Value, m.Mask, m.Mask == all, m.Decimal)
}

func (m Mark) appendWide(b []byte) []byte {
	b = fmt.Appendf(b, "0x%08x", m.Value)
	if m.Mask == all {
		return b
	}
	return fmt.Appendf(b, "/0x%08x", m.Mask)
}

func parseSet(c *cursor) (Match, bool) {
	o, _ := c.option()
	if o.name != "--match-set" {
		return nil, false
	}
	name, _ := c.value(&o)
	directions, ok := c.word()
	m := Set{Not: o.not, NotAfter: o.late, Name: name, Directions: strings.Split(directions, ",")}
	for _, d := range m.Directions {
		if d != "src" && d != "dst" {
			return nil, false
		}
	}
	if c.moreOptions() {
		m.Rest = c.rest()
	}
	return m, ok
}

func (m Set) appendTo(b []byte) []byte {
	b = appendOption(append(b, "-m set "...), "--match-set", m.Not, m.NotAfter)
	b = append(append(b, m.Name...), ' ')
	return appendWords(appendList(b, m.Directions), m.Rest)
}

func appendList(b []byte, words []string) []byte {
	for i, w := range words {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, w...)
	}
	return b
}

func parseComment(c *cursor) (Match, bool) {
	o, _ := c.option()
	word, ok := c.word()
	text, quoted := unquote(word)
	return Comment{Text: text, Quoted: quoted}, ok && o.name == "--comment" && !o.not
}

func (m Comment) appendTo(b []byte) []byte {
	return appendQuoted(append(b, "-m comment --comment "...), m.Text, m.Quoted)
}
