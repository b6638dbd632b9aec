// SPDX-License-Identifier: Apache-2.0

// Package nft reads the structure of what nft list ruleset prints: which tables
// there are, which of their chains hang on which hook, and which of the tables
// belong to iptables-nft, which iptables-save shows better. Rules are kept line by
// line and not understood. Print(Parse(text)) is text, byte for byte.
package nft

import "github.com/ambient22/ambient22/internal/dump/syntax"

// Ruleset is one output of nft list ruleset.
type Ruleset struct {
	Tables []*Table
}

// Table is one table.
type Table struct {
	Family, Name string
	// Iptables tells that iptables-nft manages it.
	Iptables bool
	Chains   []*Chain
	// Others are the sets, maps, flow tables, objects and flags between the chains, as
	// printed, with the empty lines.
	Others []Block
	Line   int

	indent string // of the closing brace
	head   string // the opening line
	foot   string // the closing one
	kept   *syntax.Kept
}

// Block is text of a table that is kept and not understood.
type Block struct {
	After int // how many chains stand before it
	// Kind and Name are the first words: "set", "map", "flowtable", "flags"; "" for
	// empty lines.
	Kind, Name string
	Text       string // whole lines
	Line       int
}

// Chain is one chain of a table.
type Chain struct {
	Name string
	// Type, Hook and Priority are those of a base chain; Hook is "" for others.
	Type, Hook string
	Priority   int
	// Devices are those of a chain on the hook ingress or egress, as printed.
	Devices string
	// Policy is "accept" or "drop"; "" where none is printed.
	Policy string
	// Rules are the rules' lines without the blanks around them; one that goes over
	// several lines has them all.
	Rules []string
	Line  int

	head     string   // the opening line
	hookLine string   // the line with type and hook
	lines    []string // the rules as they stood in the text
	extra    []Block  // further lines (comment, flags); After counts rules
	foot     string
}
