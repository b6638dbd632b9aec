// SPDX-License-Identifier: Apache-2.0

// Package nft reads the structure of what nft list ruleset prints: which tables
// there are, which of their chains hang on which hook, and which of the tables
// belong to iptables-nft, which iptables-save shows better. Rules are kept line by
// line and not understood. Print(Parse(text)) is text, byte for byte.
package nft

// Ruleset is one output of nft list ruleset.
type Ruleset struct {
	Tables []*Table

	text string
}

// Table is one table.
type Table struct {
	Family, Name string
	// Iptables tells that iptables-nft manages it.
	Iptables bool
	Chains   []*Chain
	Line     int
}

// Chain is one chain of a table.
type Chain struct {
	Name string
	// Type, Hook and Priority are those of a base chain; Hook is "" for others.
	Type, Hook string
	Priority   int
	Policy     string
	Rules      []string
	Line       int
}
