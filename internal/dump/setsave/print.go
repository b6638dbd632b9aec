// SPDX-License-Identifier: Apache-2.0

package setsave

import "strings"

// Print is the text that was parsed; a set or an entry that has been changed since
// is printed as ipset prints it.
func Print(sets []*Set) string {
	var b strings.Builder
	printAll(&b, sets)
	if len(sets) == 0 || sets[0].whole == nil {
		return b.String()
	}
	var whole strings.Builder
	sets[0].whole.Write(&whole, b.String())
	return whole.String()
}

func printAll(b *strings.Builder, sets []*Set) {
	for i, s := range sets {
		if s.listed {
			if i > 0 {
				b.WriteByte('\n')
			}
			s.kept.Write(b, s.list())
			continue
		}
		s.kept.Write(b, s.create())
		for j := range s.Entries {
			e := &s.Entries[j]
			e.kept.Write(b, e.add(s.Name))
		}
	}
}

// create is the set's line of ipset save.
func (s *Set) create() string {
	line := "create " + s.Name + " " + s.Type
	if s.Options != "" {
		line += " " + s.Options
	}
	return line + "\n"
}

// add is the entry's line of ipset save.
func (e *Entry) add(set string) string { return "add " + set + " " + e.words() + "\n" }

func (e *Entry) words() string {
	if e.Options == "" {
		return e.Elem
	}
	return e.Elem + " " + e.Options
}
