// SPDX-License-Identifier: Apache-2.0

package setsave

import (
	"strings"

	"github.com/ambient22/ambient22/internal/dump/syntax"
)

// parser reads ipset save.
type parser struct {
	r      *syntax.Reader
	text   string
	before int // offset behind the last record
	sets   []*Set
	byName map[string]*Set
	mixed  bool // entries of one set stand behind another's
}

// Parse reads the output of "ipset save" or "ipset list". file names the text in
// errors, which are of type *syntax.Error.
func Parse(file, text string) ([]*Set, error) {
	r := syntax.NewReader(file, text)
	p := &parser{r: r, text: text, byName: map[string]*Set{}}
	for {
		l, ok := r.Next()
		if !ok {
			break
		}
		if l.Blank() {
			continue
		}
		if len(p.sets) == 0 && strings.HasPrefix(l.Text, "Name:") {
			return parseList(file, text)
		}
		if err := p.line(l); err != nil {
			return nil, err
		}
	}
	p.finish()
	return p.sets, nil
}

func (p *parser) line(l syntax.Line) error {
	w := syntax.WordsOf(l, 0)
	switch word := w.Next(); word.Text {
	case "create":
		return p.create(l, w)
	case "add":
		return p.add(l, w)
	default:
		return w.Errorf(word, "%q is neither create nor add", word.Text)
	}
}

func (p *parser) create(l syntax.Line, w *syntax.Words) error {
	name, kind := w.Next(), w.Next()
	if kind.Text == "" {
		return w.Errorf(kind, "a set's name and type are expected")
	}
	if p.byName[name.Text] != nil {
		return w.Errorf(name, "the set %q is created twice", name.Text)
	}
	s := &Set{Name: name.Text, Type: kind.Text, Line: l.Number}
	s.Options = rest(l, kind.End())
	s.kept = syntax.Keep(p.text[p.before:l.Start], p.text[l.Start:l.End], p.r.Tail(syntax.Line.Blank), s.create())
	p.before = l.End
	p.byName[s.Name] = s
	p.sets = append(p.sets, s)
	return nil
}

func (p *parser) add(l syntax.Line, w *syntax.Words) error {
	name := w.Next()
	s := p.byName[name.Text]
	if s == nil {
		return w.Errorf(name, "no set %q has been created before", name.Text)
	}
	p.mixed = p.mixed || s != p.sets[len(p.sets)-1]
	elem := w.Next()
	if elem.Text == "" {
		return w.Errorf(elem, "an element is expected")
	}
	e, err := entry(l, elem)
	if err != nil {
		return err
	}
	e.kept = syntax.Keep(p.text[p.before:l.Start], p.text[l.Start:l.End], p.r.Tail(syntax.Line.Blank), e.add(s.Name))
	p.before = l.End
	s.Entries = append(s.Entries, e)
	return nil
}

// entry reads an element and the words behind it.
func entry(l syntax.Line, elem syntax.Word) (Entry, error) {
	e := Entry{Elem: elem.Text, Options: rest(l, elem.End()), Line: l.Number}
	w := syntax.WordsOf(l, elem.End())
	for word := w.Next(); word.Text != ""; word = w.Next() {
		switch word.Text {
		case "nomatch":
			e.NoMatch = true
		case "comment":
			open := w.Peek()
			if !strings.HasPrefix(open.Text, `"`) {
				continue
			}
			// A comment has no quotes within: ipset refuses them.
			n := strings.IndexByte(l.Text[open.At+1:], '"')
			if n < 0 {
				return e, w.Errorf(open, "the comment's closing quote is missing")
			}
			e.Comment = l.Text[open.At+1 : open.At+1+n]
			w = syntax.WordsOf(l, open.At+1+n+1)
		}
	}
	return e, nil
}

// rest is the line's text from an offset on, without the blanks around it.
func rest(l syntax.Line, at int) string { return strings.Trim(l.Text[at:], " \t\r") }

// finish keeps the text as a whole where entries of several sets are mixed in it:
// they are printed set by set.
func (p *parser) finish() {
	if !p.mixed {
		return
	}
	var b strings.Builder
	printAll(&b, p.sets)
	p.sets[0].whole = syntax.Keep("", p.text, "", b.String())
}
