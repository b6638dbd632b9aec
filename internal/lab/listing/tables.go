// SPDX-License-Identifier: Apache-2.0

package listing

import (
	"slices"
	"strings"
)

// otherTableOrder reports whether the output contains the listing once whole
// tables of iptables-save are put in another order. Inside a table nothing moves.
func (m *textMatch) otherTableOrder() bool {
	original := m.live
	tables := splitTables(original)
	for _, order := range orders(tables) {
		m.live = slices.Concat(order...)
		if m.run(false) == "" {
			return true
		}
	}
	m.live = original
	return false
}

// splitTables cuts the output of iptables-save before each table's name.
func splitTables(live [][]string) [][][]string {
	var tables [][][]string
	for _, line := range live {
		if strings.HasPrefix(line[0], "*") || len(tables) == 0 {
			tables = append(tables, nil)
		}
		last := len(tables) - 1
		tables[last] = append(tables[last], line)
	}
	return tables
}

// orders lists the permutations; iptables has five tables at most.
func orders(tables [][][]string) [][][][]string {
	if len(tables) <= 1 {
		return [][][][]string{tables}
	}
	var all [][][][]string
	for i := range tables {
		rest := slices.Concat(tables[:i:i], tables[i+1:])
		for _, order := range orders(rest) {
			all = append(all, append([][][]string{tables[i]}, order...))
		}
	}
	return all
}
