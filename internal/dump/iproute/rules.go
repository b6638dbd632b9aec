// SPDX-License-Identifier: Apache-2.0

package iproute

import (
	"net/netip"
	"strconv"
	"strings"

	"github.com/ambient22/ambient22/internal/dump/syntax"
)

// ParseRules reads the output of "ip rule". file names the text in errors, which
// are of type *syntax.Error.
func ParseRules(file, text string) ([]*Rule, error) {
	var rules []*Rule
	r := syntax.NewReader(file, text)
	before := 0
	for {
		l, ok := r.Next()
		if !ok {
			break
		}
		if l.Blank() {
			continue
		}
		rule, err := parseRule(l)
		if err != nil {
			return nil, err
		}
		after := r.Tail(syntax.Line.Blank)
		rule.kept = syntax.Keep(text[before:l.Start], text[l.Start:l.End], after, rule.line()+"\n")
		before = l.End
		rules = append(rules, rule)
	}
	return rules, nil
}

// PrintRules is the text that was parsed; a rule that has been changed since is
// printed as ip prints it.
func PrintRules(rules []*Rule) string {
	var b strings.Builder
	for _, r := range rules {
		r.kept.Write(&b, r.line()+"\n")
	}
	return b.String()
}

func parseRule(l syntax.Line) (*Rule, error) {
	colon := strings.IndexByte(l.Text, ':')
	start := len(l.Text) - len(strings.TrimLeft(l.Text, " \t"))
	if colon < 0 {
		return nil, l.Errorf(start, "no rule: a priority and a colon are expected")
	}
	priority, err := strconv.ParseUint(l.Text[start:colon], 10, 32)
	if err != nil {
		return nil, l.Errorf(start, "no priority: %q", l.Text[start:colon])
	}
	r := &Rule{Priority: uint32(priority), SuppressPrefix: -1, Line: l.Number, trail: l.Trail()}
	w := syntax.WordsOf(l, colon+1)
	if first := w.Peek(); first.Text != "" {
		r.sep = l.Text[colon+1 : first.At]
	}
	c := collect(l)
	for {
		word := w.Next()
		if word.Text == "" {
			break
		}
		known, err := r.option(word, w, c)
		if err != nil {
			return nil, err
		}
		if !known {
			c.unknown(word)
		}
	}
	r.Extra = c.done()
	return r, nil
}

// option reads one option with its value. It reports whether there is such an option.
func (r *Rule) option(word syntax.Word, w *syntax.Words, c *collector) (bool, error) {
	ok := true
	value := func() string { return w.Next().Text }
	at := w.Peek()
	switch word.Text {
	case "not":
		r.Not = true
		at = word
	case "from":
		r.From, ok = prefix(value())
	case "to":
		r.To, ok = prefix(value())
	case "fwmark":
		r.Mark, r.Mask, ok = markMask(value())
	case "iif":
		r.IIF, r.IIFDetached = value(), detached(w)
		ok = r.IIF != ""
	case "oif":
		r.OIF, r.OIFDetached = value(), detached(w)
		ok = r.OIF != ""
	case "uidrange":
		r.UIDs, ok = uidRange(value())
	case "tos", "ipproto", "sport", "dport":
		return r.condition(word.Text, w, c)
	default:
		return r.action(word, w, c)
	}
	if !ok {
		return false, w.Errorf(at, "%q is no value for %q", at.Text, word.Text)
	}
	c.known()
	return true, nil
}

// condition reads a selector whose value may be a name of this machine's
// (/etc/protocols, rt_dsfield) or a form that newer versions print, such as ports
// with a mask. What is not understood is kept: see Conditions.
func (r *Rule) condition(option string, w *syntax.Words, c *collector) (bool, error) {
	at := w.Peek()
	ok := false
	switch option {
	case "tos":
		var n uint32
		if n, ok = number(at.Text); ok && n < 256 {
			r.TOS = uint8(n)
		} else {
			ok = false
		}
	case "ipproto":
		var n uint8
		if n, ok = protocolNumber(at.Text); ok {
			r.Protocol = n
		}
	case "sport":
		r.SPort, ok = ports(at.Text)
	case "dport":
		r.DPort, ok = ports(at.Text)
	}
	switch {
	case ok:
		w.Next()
		c.known()
	case at.Text == "":
		return false, w.Errorf(at, "%q has no value", option)
	}
	return ok, nil
}

// action reads what a rule does.
func (r *Rule) action(word syntax.Word, w *syntax.Words, c *collector) (bool, error) {
	at := w.Peek()
	ok := true
	switch word.Text {
	case "lookup", "table":
		r.Action = "lookup"
		name := w.Next().Text
		switch {
		case name == "[l3mdev-table]":
			r.L3MDev = true
		case name == "":
			ok = false
		default:
			var named bool
			if r.Table, named = TableID(name); named {
				r.TableName = name
			}
		}
	case "goto":
		r.Action = "goto"
		target := w.Next().Text
		if target == "none" {
			break
		}
		var n uint64
		var err error
		n, err = strconv.ParseUint(target, 10, 32)
		r.Goto, ok = uint32(n), err == nil
		if w.Peek().Text == "[unresolved]" {
			w.Next()
			r.Unresolved = true
		}
	case "nop", "blackhole", "unreachable", "prohibit":
		r.Action = word.Text
	case "suppress_prefixlength":
		var err error
		r.SuppressPrefix, err = strconv.Atoi(w.Next().Text)
		ok = err == nil && r.SuppressPrefix >= 0 && r.SuppressPrefix <= 128
	default:
		return false, nil
	}
	if !ok {
		return false, w.Errorf(at, "%q is no value for %q", at.Text, word.Text)
	}
	c.known()
	return true, nil
}

func detached(w *syntax.Words) bool {
	if w.Peek().Text != "[detached]" {
		return false
	}
	w.Next()
	return true
}

func markMask(word string) (mark, mask uint32, ok bool) {
	m, rest, masked := strings.Cut(word, "/")
	if mark, ok = number(m); !ok {
		return 0, 0, false
	}
	if !masked {
		return mark, ^uint32(0), true
	}
	mask, ok = number(rest)
	return mark, mask, ok
}

func uidRange(word string) (*UIDRange, bool) {
	first, last, _ := strings.Cut(word, "-")
	a, ok := number(first)
	b, ok2 := number(last)
	return &UIDRange{a, b}, ok && ok2
}

func ports(word string) (r [2]uint16, ok bool) {
	first, last, ranged := strings.Cut(word, "-")
	if !ranged {
		last = first
	}
	a, err := strconv.ParseUint(first, 10, 16)
	b, err2 := strconv.ParseUint(last, 10, 16)
	if err != nil || err2 != nil {
		return r, false
	}
	return [2]uint16{uint16(a), uint16(b)}, true
}

// Conditions are words before the rule's action that are not modelled. Such a rule
// may match less than it seems.
func (r *Rule) Conditions() []string {
	before := len(r.selectors())
	var words []string
	for _, w := range r.Extra {
		if w.After <= before && !strings.HasPrefix(w.Text, "proto ") {
			words = append(words, w.Text)
		}
	}
	return words
}

// String is the rule as ip prints it, without the line's end and blanks before it.
func (r *Rule) String() string { return strings.TrimRight(r.line(), " \t\r") }

// line is the rule's line as it stood, if the model says so still.
func (r *Rule) line() string {
	var b strings.Builder
	b.WriteString(decimal(r.Priority))
	b.WriteByte(':')
	if r.sep == "" {
		b.WriteByte('\t')
	} else {
		b.WriteString(r.sep)
	}
	weave(&b, append(r.selectors(), r.does()...), r.Extra, " ")
	b.WriteString(r.trail)
	return b.String()
}

// selectors are the rule's conditions in ip's order.
func (r *Rule) selectors() []string {
	g := make([]string, 0, 8)
	if r.Not {
		g = append(g, "not")
	}
	if r.From == (netip.Prefix{}) {
		g = append(g, "from all")
	} else {
		g = append(g, "from "+prefixWord(r.From))
	}
	if r.To != (netip.Prefix{}) {
		g = append(g, "to "+prefixWord(r.To))
	}
	if r.TOS != 0 {
		g = append(g, "tos "+hex(uint32(r.TOS)))
	}
	if r.Mask == ^uint32(0) {
		g = append(g, "fwmark "+hex(r.Mark))
	} else if r.Mask != 0 {
		g = append(g, "fwmark "+hex(r.Mark)+"/"+hex(r.Mask))
	}
	if r.IIF != "" {
		g = append(g, "iif "+r.IIF+suffix(r.IIFDetached, " [detached]"))
	}
	if r.OIF != "" {
		g = append(g, "oif "+r.OIF+suffix(r.OIFDetached, " [detached]"))
	}
	if r.UIDs != nil {
		g = append(g, "uidrange "+decimal(r.UIDs.First)+"-"+decimal(r.UIDs.Last))
	}
	if r.Protocol != 0 {
		g = append(g, "ipproto "+protocolWord(r.Protocol))
	}
	if r.SPort != [2]uint16{} {
		g = append(g, "sport "+portsWord(r.SPort))
	}
	if r.DPort != [2]uint16{} {
		g = append(g, "dport "+portsWord(r.DPort))
	}
	return g
}

// does is the rule's action in ip's order.
func (r *Rule) does() []string {
	var g []string
	switch r.Action {
	case "":
	case "lookup":
		if r.L3MDev {
			g = append(g, "lookup [l3mdev-table]")
		} else {
			g = append(g, "lookup "+tableWord(r.Table, r.TableName))
		}
	case "goto":
		g = append(g, "goto "+decimal(r.Goto)+suffix(r.Unresolved, " [unresolved]"))
	default:
		g = append(g, r.Action)
	}
	if r.SuppressPrefix >= 0 {
		g = append(g, "suppress_prefixlength "+strconv.Itoa(r.SuppressPrefix))
	}
	return g
}

func suffix(yes bool, s string) string {
	if yes {
		return s
	}
	return ""
}

func portsWord(p [2]uint16) string {
	if p[0] == p[1] {
		return strconv.Itoa(int(p[0]))
	}
	return strconv.Itoa(int(p[0])) + "-" + strconv.Itoa(int(p[1]))
}
