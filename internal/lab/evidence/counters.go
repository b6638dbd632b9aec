// SPDX-License-Identifier: Apache-2.0

package evidence

import (
	"fmt"
	"strconv"
	"strings"
)

// RuleKey is one iptables rule: which one of equal rules in its chain, too.
type RuleKey struct {
	Table string
	Rule  string // as iptables-save prints it, from -A on
	Nth   int    // from 1, among equal rules of the table
}

// Counters are the packet counters of a host's rules.
type Counters map[RuleKey]uint64

// ParseCounters reads the output of `iptables-save -c`.
func ParseCounters(text string) (Counters, error) {
	c := Counters{}
	table := ""
	for line := range strings.SplitSeq(text, "\n") {
		switch {
		case strings.HasPrefix(line, "*"):
			table = line[1:]
		case strings.HasPrefix(line, "["):
			packets, rule, err := splitCounter(line)
			if err != nil {
				return nil, fmt.Errorf("reading the rules' counters: %w", err)
			}
			key := RuleKey{Table: table, Rule: rule, Nth: 1}
			for _, taken := c[key]; taken; _, taken = c[key] {
				key.Nth++
			}
			c[key] = packets
		}
	}
	return c, nil
}

func splitCounter(line string) (uint64, string, error) {
	count, rule, ok := strings.Cut(line, "] ")
	packets, _, colon := strings.Cut(strings.TrimPrefix(count, "["), ":")
	if !ok || !colon {
		return 0, "", fmt.Errorf("no counter in %q", line)
	}
	n, err := strconv.ParseUint(packets, 10, 64)
	if err != nil {
		return 0, "", fmt.Errorf("no counter in %q: %w", line, err)
	}
	return n, rule, nil
}

// Expectation is what a call does to one rule's counter.
type Expectation struct {
	Host  string `json:"host"`
	Table string `json:"table"`
	Rule  string `json:"rule"`  // from -A on
	Nth   int    `json:"nth"`   // among equal rules, 0 means 1
	Moves bool   `json:"moves"` // or stays
	Why   string `json:"why"`
}

// Movement is what a call did to it.
type Movement struct {
	Expectation
	Before uint64 `json:"before"`
	After  uint64 `json:"after"`
	Lost   bool   `json:"lost,omitempty"` // the host has no such rule
}

// OK reports whether the counter did what was expected.
func (m *Movement) OK() bool { return !m.Lost && (m.After > m.Before) == m.Moves }

// Move compares one host's counters before and after with the expectations for
// that host.
func Move(host string, before, after Counters, expected []Expectation) []Movement {
	var out []Movement
	for _, e := range expected {
		if e.Host != host {
			continue
		}
		key := RuleKey{Table: e.Table, Rule: e.Rule, Nth: max(e.Nth, 1)}
		b, had := before[key]
		a, has := after[key]
		out = append(out, Movement{Expectation: e, Before: b, After: a, Lost: !had || !has})
	}
	return out
}
