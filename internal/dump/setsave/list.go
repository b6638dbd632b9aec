// SPDX-License-Identifier: Apache-2.0

package setsave

import (
	"strings"

	"github.com/ambient22/ambient22/internal/dump/syntax"
)

// parseList reads ipset list: a head of "Name: value" lines for each set, then its
// members, up to an empty line.
func parseList(file, text string) ([]*Set, error) {
	var sets []*Set
	r := syntax.NewReader(file, text)
	before := 0
	for {
		l, ok := r.Next()
		if !ok {
			break
		}
		if strings.TrimSpace(l.Text) == "" {
			continue
		}
		s, end, err := listedSet(r, l)
		if err != nil {
			return nil, err
		}
		gap := text[before:l.Start]
		if len(sets) > 0 && gap == "\n" {
			gap = "" // one empty line is ipset's own
		}
		s.kept = syntax.Keep(gap, text[l.Start:end], "", s.list())
		before = end
		sets = append(sets, s)
	}
	var b strings.Builder
	printAll(&b, sets)
	if len(sets) > 0 && b.String() != text {
		sets[0].whole = syntax.Keep("", text, "", b.String())
	}
	return sets, nil
}

func listedSet(r *syntax.Reader, l syntax.Line) (*Set, int, error) {
	s := &Set{listed: true, Line: l.Number}
	for {
		name, value, ok := strings.Cut(l.Text, ":")
		if !ok {
			return nil, 0, l.Errorf(0, "a line such as \"Name: ...\" is expected")
		}
		value = strings.Trim(value, " \t\r")
		switch name {
		case "Name":
			if s.Name != "" {
				return nil, 0, l.Errorf(0, "the set %q has no members' line", s.Name)
			}
			s.Name = value
		case "Type":
			s.Type = value
		case "Header":
			s.Options = value
		default:
			s.heads = append(s.heads, l.Text)
		}
		if name == "Members" {
			break
		}
		at := l
		if l, ok = r.Next(); !ok {
			return nil, 0, at.Errorf(len(at.Text), "the text ends before the members of the set")
		}
	}
	if s.Name == "" || s.Type == "" {
		return nil, 0, l.Errorf(0, "the set has no name or no type")
	}
	end := l.End
	for {
		l, ok := r.Peek()
		if !ok || strings.TrimSpace(l.Text) == "" {
			return s, end, nil
		}
		r.Next()
		e, err := entry(l, syntax.WordsOf(l, 0).Next())
		if err != nil {
			return nil, 0, err
		}
		s.Entries = append(s.Entries, e)
		end = l.End
	}
}

// list is the set as ipset list prints it.
func (s *Set) list() string {
	var b strings.Builder
	b.WriteString("Name: " + s.Name + "\nType: " + s.Type + "\n")
	header := false
	for _, h := range s.heads {
		if !header && !strings.HasPrefix(h, "Revision:") {
			b.WriteString("Header: " + s.Options + "\n")
			header = true
		}
		b.WriteString(h + "\n")
	}
	for i := range s.Entries {
		b.WriteString(s.Entries[i].words() + "\n")
	}
	return b.String()
}
