// SPDX-License-Identifier: Apache-2.0

package nodediff

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/ambient22/ambient22/internal/dump"
	"github.com/ambient22/ambient22/internal/dump/iproute"
	"github.com/ambient22/ambient22/internal/dump/iptsave"
	"github.com/ambient22/ambient22/internal/dump/setsave"
	"github.com/ambient22/ambient22/noderoute"
)

// space is one network namespace of a dump with what comparing it needs.
type space struct {
	*dump.Netns
	name string
	// save is the variant of iptables that holds the rules in question, spare the
	// other one; nil where there is none.
	save, spare     *iptsave.Save
	kind, spareKind dump.Kind
}

// spaceOf looks at a namespace; ours tells which chains decide between the variants.
func spaceOf(ns *dump.Netns, name string, ours func(chain string) bool) *space {
	if ns == nil {
		return nil
	}
	s := &space{Netns: ns, name: name, save: ns.NFT, spare: ns.Legacy, kind: dump.KindNFTSave, spareKind: dump.KindLegacySave}
	nft, legacy := weight(ns.NFT, ours), weight(ns.Legacy, ours)
	if legacy > nft || ns.NFT == nil {
		s.save, s.spare, s.kind, s.spareKind = s.spare, s.save, s.spareKind, s.kind
	}
	return s
}

// weight says how much of a variant is about the chains in question; other rules
// count where none are.
func weight(save *iptsave.Save, ours func(string) bool) int {
	if save == nil {
		return -1
	}
	own, rules := 0, 0
	for _, t := range save.Tables {
		for _, c := range t.Chains {
			rules += len(c.Rules)
			if ours(c.Name) {
				own += 1 + len(c.Rules)
			}
		}
	}
	if own > 0 {
		return 1<<20 + own
	}
	return min(rules, 1<<20-1)
}

func (s *space) file(k dump.Kind) string { return dump.FileName(s.name, k) }

// rules are those of one chain of a table, wherever the text has them. A listing
// without headers has tables without names: the chain is then found by its name.
func (s *space) chain(table, name string) *iptsave.Chain {
	return chainOf(s.save, table, name)
}

func chainOf(save *iptsave.Save, table, name string) *iptsave.Chain {
	if save == nil {
		return nil
	}
	var loose *iptsave.Chain
	for _, t := range save.Tables {
		for _, c := range t.Chains {
			switch {
			case c.Name != name:
			case t.Name == table:
				return c
			case t.Name == "" && loose == nil:
				loose = c
			}
		}
	}
	return loose
}

// partial tells that a chain may have more rules than are shown: it stands without
// its declaration, or in a text of which lines are left out.
func (s *space) partial(c *iptsave.Chain) bool {
	return c == nil || c.Line == 0 || s.Partial[s.kind] != ""
}

// excerptTable tells that a table is not there as a whole.
func (s *space) excerptTable(table string) bool {
	if s.save == nil || s.Partial[s.kind] != "" {
		return true
	}
	for _, t := range s.save.Tables {
		if t.Name == table {
			return slices.ContainsFunc(t.Chains, func(c *iptsave.Chain) bool { return c.Line == 0 })
		}
	}
	// iptables-save prints only tables that were used once; a listing leaves some out.
	for _, t := range s.save.Tables {
		if t.Name == "" || slices.ContainsFunc(t.Chains, func(c *iptsave.Chain) bool { return c.Line == 0 }) {
			return true
		}
	}
	return s.Loose && len(s.save.Tables) == 1
}

// excerptRoutes tells that only some tables' routes were taken: a whole listing has
// the kernel's own of the table local.
func (s *space) excerptRoutes() bool {
	return !slices.ContainsFunc(s.Routes, func(r *iproute.Route) bool { return r.Table == 255 && !r.IPv6 })
}

// excerptTableRoutes tells that nothing is known of one routing table.
func (s *space) excerptTableRoutes(table uint32) bool {
	return s.excerptRoutes() && !slices.ContainsFunc(s.Routes, func(r *iproute.Route) bool { return r.Table == table })
}

func (s *space) excerptRules() bool {
	return s.Partial[dump.KindRules] != "" || !slices.ContainsFunc(s.Rules, func(r *iproute.Rule) bool { return r.Priority == 0 && r.Table == 255 })
}

// excerptLinks: every namespace has lo.
func (s *space) excerptLinks() bool { return s.Partial[dump.KindLinks] != "" || s.link("lo") == nil }

func (s *space) link(name string) *iproute.Link {
	i := slices.IndexFunc(s.Links, func(l *iproute.Link) bool { return l.Name == name })
	if i < 0 {
		return nil
	}
	return s.Links[i]
}

func (s *space) set(name string) *setsave.Set {
	i := slices.IndexFunc(s.Sets, func(x *setsave.Set) bool { return x.Name == name })
	if i < 0 {
		return nil
	}
	return s.Sets[i]
}

func (s *space) excerptSets() bool {
	_, missing := s.Missing[dump.KindSets]
	return missing || s.Sets == nil || s.Partial[dump.KindSets] != ""
}

// address is the first IPv4 address of a device.
func (s *space) address(device string) (netip.Prefix, bool) {
	if l := s.link(device); l != nil {
		for _, a := range l.Addrs {
			if a.Prefix.Addr().Is4() {
				return a.Prefix, true
			}
		}
	}
	return netip.Prefix{}, false
}

// route is the most specific route of a table to an address.
func (s *space) route(table uint32, to netip.Addr) *iproute.Route {
	var best *iproute.Route
	for _, r := range s.Routes {
		if r.Table != table || r.IPv6 || !r.Dst.Contains(to) {
			continue
		}
		if best == nil || r.Dst.Bits() > best.Dst.Bits() || r.Dst.Bits() == best.Dst.Bits() && r.Metric < best.Metric {
			best = r
		}
	}
	return best
}

// legacyChain tells whether a chain is one that the node controller makes.
func legacyChain(name string) bool { return strings.HasPrefix(name, "ztunnel-") }

// tunnelDevice tells whether a device is one that the data path makes.
func tunnelDevice(name string) bool {
	rest, is := strings.CutPrefix(strings.TrimPrefix(name, "p"), "istio")
	if !is {
		return false
	}
	rest = strings.TrimRight(rest, "0123456789")
	return rest == "in" || rest == "out"
}

// ourTable tells whether a routing table is one of the data path's, those of
// ztunnels that drain included.
func ourTable(id uint32) bool {
	return id >= noderoute.TableInbound && id < noderoute.TableDrain+noderoute.DrainSlots
}
