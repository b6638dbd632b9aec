// SPDX-License-Identifier: Apache-2.0

// Package setsave reads and prints what ipset save prints. Print(Parse(text)) is
// text, byte for byte.
package setsave

// Set is one set with its entries.
type Set struct {
	Name    string
	Type    string // "hash:ip", ...
	Options string // the words of the create line after the type, as printed
	Entries []Entry
	Line    int
}

// Entry is one "add" line.
type Entry struct {
	Elem    string // as printed: "10.4.4.19", "10.0.0.0/8", "10.0.0.1,tcp:80"
	Comment string
	NoMatch bool
	Options string // all words after the element as printed
	Line    int
}
