// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"strings"

	"github.com/ambient22/ambient22/internal/dump/syntax"
)

// Parse reads the output of "nft list ruleset", with -a or -s too. It goes by the
// lines and their indents, which are nft's own: braces in comments and log
// prefixes mean nothing to it. file names the text in errors, which are of type
// *syntax.Error.
func Parse(file, text string) (*Ruleset, error) {
	rs := &Ruleset{}
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
		t, end, err := table(r, l)
		if err != nil {
			return nil, err
		}
		t.Iptables = managed(text[before:l.Start], t)
		t.kept = syntax.Keep(text[before:l.Start], text[l.Start:end], r.Tail(syntax.Line.Blank), t.String())
		before = end
		rs.Tables = append(rs.Tables, t)
	}
	return rs, nil
}

// table reads a table from its first line on, and gives the offset behind it.
func table(r *syntax.Reader, l syntax.Line) (*Table, int, error) {
	w := syntax.WordsOf(l, 0)
	word, family, name := w.Next(), w.Next(), w.Next()
	if word.Text != "table" {
		return nil, 0, w.Errorf(word, "a table is expected")
	}
	if brace := w.Next(); name.Text == "{" || brace.Text != "{" {
		return nil, 0, w.Errorf(brace, "a table's family, name and opening brace are expected")
	}
	if err := onlyComment(w); err != nil {
		return nil, 0, err
	}
	t := &Table{Family: family.Text, Name: name.Text, Line: l.Number, head: l.Text, indent: indent(l.Text)}
	for {
		in, ok := r.Next()
		switch {
		case !ok:
			return nil, 0, l.Errorf(word.At, "the table %s %s has no closing brace", t.Family, t.Name)
		case closes(in.Text, t.indent):
			t.foot = in.Text
			return t, in.End, nil
		}
		if err := t.item(r, in); err != nil {
			return nil, 0, err
		}
	}
}

func onlyComment(w *syntax.Words) error {
	if more := w.Next(); more.Text != "" && more.Text[0] != '#' {
		return w.Errorf(more, "the opening brace is expected to end its line, as nft prints it")
	}
	return nil
}

// item reads one thing in a table: a chain, or something that is kept.
func (t *Table) item(r *syntax.Reader, l syntax.Line) error {
	w := syntax.WordsOf(l, 0)
	kind, name := w.Next(), w.Next()
	ahead := *w
	if kind.Text == "chain" && ahead.Next().Text == "{" {
		return t.chain(r, l)
	}
	b := Block{After: len(t.Chains), Kind: kind.Text, Name: name.Text, Line: l.Number}
	text := strings.Builder{}
	text.WriteString(l.Text)
	text.WriteByte('\n')
	if opens(l.Text) {
		for {
			in, ok := r.Next()
			if !ok {
				return l.Errorf(kind.At, "the %s has no closing brace", kind.Text)
			}
			text.WriteString(in.Text)
			text.WriteByte('\n')
			if closes(in.Text, indent(l.Text)) {
				break
			}
		}
	}
	b.Text = text.String()
	if n := len(t.Others); n > 0 && b.Kind == "" && t.Others[n-1].After == b.After && t.Others[n-1].Kind == "" {
		t.Others[n-1].Text += b.Text
		return nil
	}
	t.Others = append(t.Others, b)
	return nil
}

// chain reads a chain from its first line on.
func (t *Table) chain(r *syntax.Reader, l syntax.Line) error {
	w := syntax.WordsOf(l, 0)
	w.Next()
	c := &Chain{Name: w.Next().Text, Line: l.Number, head: l.Text}
	w.Next() // the brace
	if err := onlyComment(w); err != nil {
		return err
	}
	outer := indent(l.Text)
	for {
		in, ok := r.Next()
		if !ok {
			return l.Errorf(len(outer), "the chain %s has no closing brace", c.Name)
		}
		if closes(in.Text, outer) {
			c.foot = in.Text
			t.Chains = append(t.Chains, c)
			return nil
		}
		if err := c.line(r, in); err != nil {
			return err
		}
	}
}

// line reads one line of a chain, with those that belong to it.
func (c *Chain) line(r *syntax.Reader, l syntax.Line) error {
	s := strings.Trim(l.Text, " \t\r")
	switch {
	case strings.HasPrefix(s, "type ") && strings.Contains(s, " hook ") && c.hookLine == "" && len(c.lines) == 0:
		return c.base(l)
	case s == "" || s[0] == '#' || len(c.lines) == 0 && (strings.HasPrefix(s, "comment ") || strings.HasPrefix(s, "flags ")):
		after := len(c.lines)
		if after == 0 && c.hookLine == "" {
			after = -1 // before the hook, if there is one
		}
		c.extra = append(c.extra, Block{After: after, Text: l.Text, Line: l.Number})
		return nil
	}
	depth, last := 0, l
	for {
		// A set or chain without a name within the rule goes on over more lines.
		if opens(last.Text) {
			depth++
		}
		if depth == 0 && !strings.HasSuffix(strings.TrimRight(last.Text, " \t\r"), ",") {
			break
		}
		in, ok := r.Next()
		if !ok {
			return l.Errorf(len(indent(l.Text)), "the rule has no closing brace")
		}
		if strings.HasPrefix(strings.TrimLeft(in.Text, " \t"), "}") {
			depth--
		}
		last = in
	}
	rule := r.Text(l, last)
	c.lines = append(c.lines, rule)
	c.Rules = append(c.Rules, strings.Trim(rule, " \t\r"))
	return nil
}

func indent(line string) string { return line[:len(line)-len(strings.TrimLeft(line, " \t"))] }

// closes tells that a line is the closing brace of what began with that indent.
func closes(line, outer string) bool {
	if !strings.HasPrefix(line, outer+"}") {
		return false
	}
	rest := strings.Trim(line[len(outer)+1:], " \t\r")
	return rest == "" || rest[0] == '#'
}

// opens tells that a block begins with this line and doesn't end in it. A comment
// behind the brace ("# handle 3") doesn't count.
func opens(line string) bool {
	line = strings.TrimRight(line, " \t\r")
	if i := strings.LastIndex(line, " # handle "); i >= 0 {
		line = strings.TrimRight(line[:i], " ")
	}
	return strings.HasSuffix(line, "{")
}
