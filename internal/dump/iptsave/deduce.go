// SPDX-License-Identifier: Apache-2.0

package iptsave

import (
	"slices"
	"strings"
)

// endsAt finishes a table: one without a header gets the name that its rules
// force, and in one with a header a jump to a chain that is not there is a target
// that is not known.
func (t *Table) endsAt(s *Save) {
	if t.Line == 0 {
		t.Name, t.Deduced = t.deduce()
		s.merge()
		return
	}
	if len(s.Omits) > 0 {
		return
	}
	for _, c := range t.Chains {
		for _, r := range c.Rules {
			if jump, ok := r.Target.(Jump); ok && !jump.Goto && t.undeclared(jump.Chain) {
				r.Target = OpaqueTarget{Name: jump.Chain}
			}
		}
	}
}

// merge adds the last table to an earlier part of the same table, where neither
// has a header.
func (s *Save) merge() {
	last := s.Tables[len(s.Tables)-1]
	earlier := s.Table(last.Name)
	if last.Name == "" || earlier == last || earlier.Line > 0 || last.declares() {
		return
	}
	s.Tables = s.Tables[:len(s.Tables)-1]
	for _, c := range last.Chains {
		if at, ok := earlier.places[c.Name]; ok {
			known := earlier.Chains[at]
			known.Rules = append(known.Rules, c.Rules...)
			continue
		}
		earlier.add(c)
	}
}

// declares tells that the table declares chains.
func (t *Table) declares() bool {
	return slices.ContainsFunc(t.Chains, func(c *Chain) bool { return c.declared != implied })
}

func (t *Table) undeclared(chain string) bool {
	_, ok := t.places[chain]
	return !ok
}

// deduce is the table that the rules belong to, and why.
func (t *Table) deduce() (name, why string) {
	for _, c := range t.Chains {
		for _, r := range c.Rules {
			if name, why := deduceFrom(c.Name, r); name != "" {
				return name, why
			}
		}
	}
	return "", ""
}

func deduceFrom(chain string, r *Rule) (name, why string) {
	switch target := r.Target.(type) {
	case TPROXY:
		return "mangle", "TPROXY is possible in mangle only"
	case NAT:
		return "nat", target.Kind + " is possible in nat only"
	case Reject:
		return "filter", "REJECT is possible in filter only"
	case CT:
		return "raw", "CT is possible in raw only"
	case Jump:
		if chain == "PREROUTING" && strings.HasPrefix(target.Chain, "KUBE-") {
			return "nat", "kube-proxy's chains hang on PREROUTING in nat only"
		}
	case SetMark, SaveMark:
		if strings.HasPrefix(chain, "ztunnel-") {
			return "mangle", "ztunnel's chains change marks in mangle only"
		}
	}
	return "", ""
}
