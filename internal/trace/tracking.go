// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"github.com/ambient22/ambient22/internal/dump"
	"github.com/ambient22/ambient22/internal/dump/iptsave"
)

// tracks tells whether connections are tracked: the kernel begins with the first
// rule that asks for a connection or changes addresses. Before that it passes the
// nat table by, whatever stands there. Where the dump can't tell, they are.
func (s *Space) tracks() bool {
	ns := s.ns
	for _, kind := range []dump.Kind{dump.KindNFTSave, dump.KindLegacySave, dump.KindRuleset} {
		if _, missing := ns.Missing[kind]; missing {
			return true
		}
	}
	if ns.Ruleset == nil || len(ns.Conns) > 0 {
		return true
	}
	for _, t := range ns.Ruleset.Tables {
		if !t.Iptables {
			return true
		}
	}
	return asksForTracking(ns.NFT) || asksForTracking(ns.Legacy)
}

func asksForTracking(save *iptsave.Save) bool {
	for r := range save.Rules() {
		if needsTracking(r) {
			return true
		}
	}
	return false
}

func needsTracking(r *iptsave.Rule) bool {
	switch r.Target.(type) {
	case iptsave.SetConnmark, iptsave.SaveMark, iptsave.RestoreMark, iptsave.NAT, iptsave.OpaqueTarget:
		return true
	}
	for _, m := range r.Matches {
		switch m.(type) {
		case iptsave.State, iptsave.Connmark, iptsave.Opaque:
			return true
		}
	}
	return false
}
