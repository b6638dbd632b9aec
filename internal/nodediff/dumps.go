// SPDX-License-Identifier: Apache-2.0

package nodediff

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ambient22/ambient22/internal/dump"
	"github.com/ambient22/ambient22/internal/dump/iproute"
	"github.com/ambient22/ambient22/internal/dump/iptsave"
)

// CompareAll compares the nodes of two dumps: one with one, or by their names.
func CompareAll(as, bs []*dump.Node, o Options) ([]*Report, error) {
	if len(as) == 1 && len(bs) == 1 {
		r, err := Compare(as[0], bs[0], o)
		if err != nil {
			return nil, err
		}
		return []*Report{r}, nil
	}
	var out []*Report
	var alone []string
	for _, a := range as {
		i := slices.IndexFunc(bs, func(b *dump.Node) bool { return b.Name == a.Name })
		if i < 0 {
			alone = append(alone, a.Name)
			continue
		}
		r, err := Compare(a, bs[i], o)
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	if len(out) == 0 || len(alone) > 0 {
		return nil, fmt.Errorf("comparing two dumps of several nodes: the second has no node of the name %s", strings.Join(alone, " or "))
	}
	return out, nil
}

// Compare compares two dumps with each other, others' lines included: what the first
// has is wanted, what the second has is there. Names of veths do not count.
func Compare(a, b *dump.Node, o Options) (*Report, error) {
	r := &Report{Version: 1, Node: b.Name, Against: "the dump of " + a.Name}
	for _, n := range []*dump.Node{a, b} {
		for _, g := range n.Gaps {
			r.Gaps = append(r.Gaps, n.Name+": "+g)
		}
	}
	found, err := recognise(b, Options{})
	if err != nil {
		return nil, err
	}
	for _, g := range found {
		r.Generations = append(r.Generations, g.Generation)
	}
	compared := false
	for _, want := range spaces(a) {
		if !o.covers(want.Name) {
			continue
		}
		have := spaceNamed(b, want.Name)
		if have == nil {
			r.Findings = append(r.Findings, Finding{Kind: Unshown, Space: want.Name, Note: "only the first dump has this namespace"})
			continue
		}
		compared = true
		t := &twins{a: anySpace(want), b: anySpace(have)}
		t.compare()
		r.Findings = append(r.Findings, t.found...)
	}
	for _, have := range spaces(b) {
		if o.covers(have.Name) && spaceNamed(a, have.Name) == nil {
			r.Findings = append(r.Findings, Finding{Kind: Unshown, Space: have.Name, Note: "only the second dump has this namespace"})
		}
	}
	if !compared {
		return nil, fmt.Errorf("comparing %s with %s: they have no namespace in common: %w", a.Name, b.Name, errNothing)
	}
	return r, nil
}

func spaceNamed(n *dump.Node, name string) *dump.Netns {
	for _, s := range spaces(n) {
		if s.Name == name {
			return s
		}
	}
	return nil
}

func anySpace(ns *dump.Netns) *space {
	return spaceOf(ns, ns.Name, func(c string) bool { return legacyChain(c) || strings.HasPrefix(c, "ISTIO_") })
}

// twins are the same namespace of two dumps.
type twins struct {
	a, b   *space
	na, nb aliases
	found  []Finding
}

func (t *twins) compare() {
	t.na, t.nb = vethRoles(t.a), vethRoles(t.b)
	t.saves(dump.KindNFTSave, t.a.NFT, t.b.NFT)
	t.saves(dump.KindLegacySave, t.a.Legacy, t.b.Legacy)
	t.group(IPRules, dump.KindRules, t.a.Rules != nil, t.b.Rules != nil, func(s *space, _ aliases) map[string][]item {
		return grouped(s.Rules, func(r *iproute.Rule) (string, item) { return "", ipRuleItem(r) })
	})
	t.group(Routes, dump.KindRoutes, t.a.Routes != nil, t.b.Routes != nil, func(s *space, n aliases) map[string][]item {
		return grouped(s.Routes, func(r *iproute.Route) (string, item) { return "table " + tableName(r.Table), routeItem(r, n) })
	})
	t.group(Devices, dump.KindLinks, t.a.Links != nil, t.b.Links != nil, func(s *space, n aliases) map[string][]item {
		return grouped(s.Links, func(l *iproute.Link) (string, item) { return n.of(l.Name), linkItem(l, n) })
	})
	t.group(Sets, dump.KindSets, t.a.Sets != nil, t.b.Sets != nil, func(s *space, _ aliases) map[string][]item {
		out := map[string][]item{}
		for _, set := range s.Sets {
			out[set.Name] = append(out[set.Name], setItem(set))
			for _, e := range set.Entries {
				out[set.Name] = append(out[set.Name], entryItem(set.Name, e, true))
			}
		}
		return out
	})
	t.group(Sysctls, dump.KindSysctls, t.a.Sysctls != nil, t.b.Sysctls != nil, func(s *space, n aliases) map[string][]item {
		out := map[string][]item{}
		for name, value := range s.Sysctls {
			if strings.HasSuffix(name, "_count") {
				continue // what the kernel counts is not a setting
			}
			out[""] = append(out[""], newItem(name+" = "+value, []attr{{"setting", n.inSetting(name)}, {"value", value}}))
		}
		slices.SortFunc(out[""], func(a, b item) int { return strings.Compare(a.line, b.line) })
		return out
	})
}

// inSetting puts a device's other name into a setting's.
func (a aliases) inSetting(name string) string {
	const conf = "net.ipv4.conf."
	rest, is := strings.CutPrefix(name, conf)
	if !is {
		return name
	}
	dot := strings.LastIndexByte(rest, '.')
	if dot < 0 {
		return name
	}
	return conf + a.of(rest[:dot]) + rest[dot:]
}

func grouped[T any](lines []T, of func(T) (string, item)) map[string][]item {
	out := map[string][]item{}
	for _, l := range lines {
		place, it := of(l)
		out[place] = append(out[place], it)
	}
	return out
}

// group compares the lines of one kind, place by place.
func (t *twins) group(section Section, kind dump.Kind, inA, inB bool, of func(*space, aliases) map[string][]item) {
	if !inA || !inB {
		if inA != inB {
			t.found = append(t.found, Finding{Kind: Unshown, Space: t.a.name, Section: section, Place: string(kind), Note: "only one of the dumps has it"})
		}
		return
	}
	want, have := of(t.a, t.na), of(t.b, t.nb)
	all := maps.Clone(want)
	maps.Copy(all, have)
	for _, place := range slices.Sorted(maps.Keys(all)) {
		b := block{space: t.a.name, section: section, place: place, file: t.b.file(kind), want: want[place], have: have[place]}
		t.found = append(t.found, b.compare()...)
	}
}

// saves compares all chains of a variant of iptables-save.
func (t *twins) saves(kind dump.Kind, a, b *iptsave.Save) {
	if a == nil || b == nil {
		if (a == nil) != (b == nil) && (ruleCount(a)+ruleCount(b) > 0) {
			t.found = append(t.found, Finding{Kind: Unshown, Space: t.a.name, Section: IPTables, Place: string(kind), Note: "only one of the dumps has it"})
		}
		return
	}
	inA, inB := chainsByID(a), chainsByID(b)
	for _, id := range chainIDs(a, b) {
		want, have := inA[id], inB[id]
		blk := block{
			space: t.a.name, section: IPTables, place: id.table + "/" + id.chain, file: t.b.file(kind), ordered: true,
			want: t.items(want, t.na), have: t.items(have, t.nb),
		}
		t.found = append(t.found, blk.compare()...)
		t.policies(id, kind, want, have)
	}
}

func ruleCount(s *iptsave.Save) int {
	n := 0
	if s != nil {
		for _, t := range s.Tables {
			for _, c := range t.Chains {
				n += len(c.Rules)
			}
		}
	}
	return n
}

// policies compares what becomes of a packet that no rule of a built-in chain decides about.
func (t *twins) policies(id chainID, kind dump.Kind, want, have *iptsave.Chain) {
	if want == nil || have == nil || want.Policy == have.Policy || want.Policy == "" || have.Policy == "" {
		return
	}
	t.found = append(t.found, Finding{
		Kind: Changed, Space: t.a.name, Section: IPTables, Place: id.table + "/" + id.chain,
		Want: ":" + id.chain + " " + want.Policy, Have: ":" + id.chain + " " + have.Policy,
		Fields: []Field{{"policy", want.Policy, have.Policy}}, File: t.b.file(kind), Line: have.Line,
	})
}

func (t *twins) items(c *iptsave.Chain, n aliases) []item {
	if c == nil {
		return nil
	}
	out := make([]item, 0, len(c.Rules))
	for i, r := range c.Rules {
		it := ruleItem(r, n)
		it.at = i + 1
		out = append(out, it)
	}
	return out
}

type chainID struct{ table, chain string }

func chainsByID(s *iptsave.Save) map[chainID]*iptsave.Chain {
	out := map[chainID]*iptsave.Chain{}
	for _, t := range s.Tables {
		for _, c := range t.Chains {
			out[chainID{t.Name, c.Name}] = c
		}
	}
	return out
}

// chainIDs are the chains of both sides, in the order of the first.
func chainIDs(saves ...*iptsave.Save) []chainID {
	var out []chainID
	seen := map[chainID]bool{}
	for _, s := range saves {
		for _, t := range s.Tables {
			for _, c := range t.Chains {
				if id := (chainID{t.Name, c.Name}); !seen[id] {
					seen[id] = true
					out = append(out, id)
				}
			}
		}
	}
	return out
}

// vethRoles names veths by the pod that they lead to, so that two dumps can be
// compared of which one has other names.
func vethRoles(s *space) aliases {
	out := aliases{}
	for _, r := range s.Routes {
		if r.IPv6 || r.Table != 254 || !r.Dst.IsSingleIP() || r.Via.IsValid() || r.Dev == "" {
			continue
		}
		if l := s.link(r.Dev); l != nil && l.Kind != "veth" {
			continue
		}
		out[r.Dev] = "veth of " + r.Dst.Addr().String()
	}
	return out
}
