// SPDX-License-Identifier: Apache-2.0

// Package setsave reads and prints what ipset save prints, and ipset list.
// Print(Parse(text)) is text, byte for byte.
package setsave

import "github.com/ambient22/ambient22/internal/dump/syntax"

// Set is one set with its entries.
type Set struct {
	Name    string
	Type    string // "hash:ip", ...
	Options string // the words of the create line after the type, as printed
	Entries []Entry
	Line    int

	listed bool     // read from ipset list
	heads  []string // the lines of ipset list that are not modelled
	kept   *syntax.Kept
	whole  *syntax.Kept // of the first set: the whole text, where sets are mixed in it
}

// Entry is one "add" line.
type Entry struct {
	Elem    string // as printed: "10.4.4.19", "10.0.0.0/8", "10.0.0.1,tcp:80"
	Options string // all words after the element as printed; this is what Print prints
	// Comment and NoMatch are read out of Options.
	Comment string
	NoMatch bool
	Line    int

	kept *syntax.Kept
}
