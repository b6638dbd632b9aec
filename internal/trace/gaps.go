// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"cmp"
	"fmt"

	"github.com/ambient22/ambient22/internal/dump"
	"github.com/ambient22/ambient22/internal/dump/iproute"
	"github.com/ambient22/ambient22/internal/dump/iptsave"
)

// lacking says what a dump does not have that a walk can't do without; "" for what
// is there. What is absent is not empty: a walk that needs it ends as Unknown.
type lacking struct {
	chains string // rules of iptables, or a part of them
	rules  string // ip rules
	routes string // all routes
	tables string // some tables' routes
}

// gaps notes what the dump lacks: what ends a walk, and what every walk doubts.
func (s *Space) gaps() {
	ns := s.ns
	saves := [...]dump.Kind{dump.KindLegacySave, dump.KindNFTSave}
	for i, save := range []*iptsave.Save{ns.Legacy, ns.NFT} {
		switch {
		case save == nil:
		case len(save.Omits) > 0:
			s.doubts = append(s.doubts, fmt.Sprintf("the listing of rules leaves something out (line %d)", save.Omits[0]))
		case ns.Partial[saves[i]] == dump.Excerpt:
			s.doubts = append(s.doubts, "the listing of rules is an excerpt")
		case ns.Partial[saves[i]] != "":
			s.lacks.chains = fmt.Sprintf("the dump has only a part of %s (%s)", saves[i], ns.Partial[saves[i]])
		}
	}
	if why := cmp.Or(ns.Missing[dump.KindNFTSave], ns.Missing[dump.KindLegacySave]); why != "" && ns.NFT == nil && ns.Legacy == nil {
		s.lacks.chains = "the dump has no iptables-save (" + why + ")"
	}
	if why := ns.Missing[dump.KindRules]; why != "" {
		s.lacks.rules = "the dump has no ip rules (" + why + ")"
		s.doubts = append(s.doubts, s.lacks.rules+"; the kernel's own three are taken")
	}
	switch why := ns.Missing[dump.KindRoutes]; {
	case why != "" && len(ns.Routes) == 0:
		s.lacks.routes = "the dump has no routes (" + why + ")"
	case ns.Partial[dump.KindRoutes] != "":
		s.lacks.tables = "the dump does not have all routes (" + ns.Partial[dump.KindRoutes] + ")"
	}
}

// chainsLacking ends the walk at a hook whose rules the dump does not have.
func (r *run) chainsLacking() bool {
	if r.s.lacks.chains == "" {
		return false
	}
	r.unknown(r.s.lacks.chains)
	return true
}

// routesLacking ends the walk at a lookup that the dump can't answer: without
// routes, and without ip rules where they could send it to another table.
func (r *run) routesLacking(fl *flow) bool {
	switch l := &r.s.lacks; {
	case l.routes != "":
		r.unknown(l.routes)
	case l.rules != "" && (fl.mark != 0 || r.s.ownTables):
		r.unknown(l.rules + ", and which table is asked depends on them")
	default:
		return false
	}
	return true
}

// hasOwnTables tells that there are routes that no rule of the kernel's own leads to.
func hasOwnTables(routes []*iproute.Route) bool {
	for _, r := range routes {
		if !r.IPv6 && r.Table != tableLocal && r.Table != tableMain && r.Table != tableDefault {
			return true
		}
	}
	return false
}
