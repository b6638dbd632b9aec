// SPDX-License-Identifier: Apache-2.0

package iproute

import (
	"strings"

	"github.com/ambient22/ambient22/internal/dump/syntax"
)

// collector notes the words that the model does not have while a line is read.
// Neighbouring ones become one Word, with the blanks between them.
type collector struct {
	line   syntax.Line
	groups int // modelled words so far
	from   int // where the unknown words began, -1: there are none
	to     int
	extra  []Word
}

func collect(l syntax.Line) *collector { return &collector{line: l, from: -1} }

// unknown notes one word.
func (c *collector) unknown(w syntax.Word) {
	if c.from < 0 {
		c.from = w.At
	}
	c.to = w.End()
}

// known tells that what was read last is in the model.
func (c *collector) known() {
	c.flush()
	c.groups++
}

func (c *collector) flush() {
	if c.from >= 0 {
		c.extra = append(c.extra, Word{After: c.groups, Text: c.line.Text[c.from:c.to]})
		c.from = -1
	}
}

// done is what was noted.
func (c *collector) done() []Word {
	c.flush()
	return c.extra
}

// weave writes the modelled words with the unknown ones in their places.
func weave(b *strings.Builder, groups []string, extra []Word, sep string) {
	first, e := true, 0
	put := func(s string) {
		if !first {
			b.WriteString(sep)
		}
		b.WriteString(s)
		first = false
	}
	for i := 0; ; i++ {
		for e < len(extra) && (extra[e].After <= i || i == len(groups)) {
			put(extra[e].Text)
			e++
		}
		if i == len(groups) {
			return
		}
		put(groups[i])
	}
}
