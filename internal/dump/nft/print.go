// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"strconv"
	"strings"

	"github.com/ambient22/ambient22/internal/dump/syntax"
)

// Print is the text that was parsed; a table that has been changed since is printed
// as nft prints it.
func Print(rs *Ruleset) string {
	var b strings.Builder
	for _, t := range rs.Tables {
		t.kept.Write(&b, t.String())
	}
	return b.String()
}

// String is the table as nft prints it, with the end of its last line.
func (t *Table) String() string {
	var b strings.Builder
	if head := "table " + t.Family + " " + t.Name + " {"; strings.HasPrefix(t.head, t.indent+head) {
		b.WriteString(t.head)
	} else {
		b.WriteString(head)
	}
	b.WriteByte('\n')
	others := t.Others
	for i := 0; ; i++ {
		for len(others) > 0 && (others[0].After <= i || i == len(t.Chains)) {
			b.WriteString(others[0].Text)
			others = others[1:]
		}
		if i == len(t.Chains) {
			break
		}
		t.Chains[i].write(&b)
	}
	b.WriteString(or(t.foot, "}") + "\n")
	return b.String()
}

// write writes the chain's lines.
func (c *Chain) write(b *strings.Builder) {
	outer := "\t"
	if c.head != "" {
		outer = indent(c.head)
	}
	if head := outer + "chain " + c.Name + " {"; strings.HasPrefix(c.head, head) {
		b.WriteString(c.head)
	} else {
		b.WriteString(head)
	}
	b.WriteByte('\n')
	extra := c.extra
	for len(extra) > 0 && extra[0].After < 0 {
		b.WriteString(extra[0].Text + "\n")
		extra = extra[1:]
	}
	if c.Hook != "" {
		b.WriteString(c.baseLine(outer))
		b.WriteByte('\n')
	}
	for i := 0; i <= len(c.Rules); i++ {
		for len(extra) > 0 && (extra[0].After <= i || i == len(c.Rules)) {
			b.WriteString(extra[0].Text + "\n")
			extra = extra[1:]
		}
		if i == len(c.Rules) {
			break
		}
		if i < len(c.lines) && strings.Trim(c.lines[i], " \t\r") == c.Rules[i] {
			b.WriteString(c.lines[i])
		} else {
			b.WriteString(outer + "\t" + c.Rules[i])
		}
		b.WriteByte('\n')
	}
	b.WriteString(or(c.foot, outer+"}") + "\n")
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// baseLine is the line with the hook: the text's, as long as it says what the chain
// is.
func (c *Chain) baseLine(outer string) string {
	if c.hookLine != "" {
		var was Chain
		if was.base(syntax.Line{Text: c.hookLine}) == nil && was.Type == c.Type && was.Hook == c.Hook &&
			was.Priority == c.Priority && was.Policy == c.Policy && was.Devices == c.Devices {
			return c.hookLine
		}
	}
	line := outer + "\ttype " + c.Type + " hook " + c.Hook
	if c.Devices != "" {
		line += " " + c.Devices
	}
	line += " priority " + strconv.Itoa(c.Priority) + ";"
	if c.Policy != "" {
		line += " policy " + c.Policy + ";"
	}
	return line
}
