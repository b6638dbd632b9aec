// SPDX-License-Identifier: Apache-2.0

package noderoute

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ambient22/ambient22/geneve"
	"github.com/ambient22/ambient22/ipset"
)

// Changes is an ordered row of steps from what is there to a plan.
type Changes struct {
	steps []step
}

// Empty tells whether there is nothing to do.
func (c Changes) Empty() bool { return len(c.steps) == 0 }

// Lines words the changes for people in the order in which they happen.
func (c Changes) Lines() []string {
	var out []string
	for _, s := range c.steps {
		out = append(out, s.lines()...)
	}
	return out
}

// step is changes of one kind that are made together. One field is set.
type step struct {
	devices []geneve.Change
	sysctls []sysctlChange
	set     ipset.Changes
	tables  []tableChange
	variant Variant // of the tables; Auto is the one in use
	rules   []ruleChange
	routes  []routeChange
	sweep   *sweep
}

type sysctlChange struct {
	Sysctl
	from string
}

type ruleChange struct {
	del bool
	Rule
}

type routeChange struct {
	del bool
	Route
	metric uint32
}

func (s step) empty() bool {
	tables := slices.ContainsFunc(s.tables, func(t tableChange) bool { return !t.empty() })
	return len(s.devices) == 0 && len(s.sysctls) == 0 && s.set.Empty() && !tables && len(s.rules) == 0 && len(s.routes) == 0 && s.sweep == nil
}

func (s step) lines() []string {
	var out []string
	for _, d := range s.devices {
		out = append(out, d.String())
	}
	for _, y := range s.sysctls {
		out = append(out, fmt.Sprintf("sysctl %s (was %s)", y.Sysctl, y.from))
	}
	out = append(out, s.set.Lines()...)
	for _, t := range s.tables {
		for _, words := range t.words {
			if s.variant != Auto {
				words = strings.Replace(words, "iptables", "iptables-"+s.variant.String(), 1)
			}
			out = append(out, words)
		}
	}
	for _, r := range s.rules {
		out = append(out, fmt.Sprintf("ip rule %s %s", addOrDel(r.del), r.Rule))
	}
	for _, r := range s.routes {
		out = append(out, fmt.Sprintf("ip route %s table %d %s", addOrDel(r.del), r.Table, r.Route))
	}
	if s.sweep != nil {
		out = append(out, s.sweep.String())
	}
	return out
}

func addOrDel(del bool) string {
	if del {
		return "del"
	}
	return "add"
}

// steps orders the way from what is there to the plan. What carries captured
// packets comes before what captures them, and what is stale goes last; where
// nothing is wanted at all, capture ends first.
//
// Where another ztunnel takes over, every state on the way is one that works:
// first the rules tell the old one's connections from others while the tunnels
// still lead there, then those that are open are told from others too, and only
// then the tunnels turn. What comes through them before goes to the old one and
// stays there, what comes after to the new one.
func steps(p Plan, l *listing) Changes {
	if len(p.Devices) == 0 && len(p.Tables) == 0 {
		return teardown(p.Side, l)
	}
	d := split(p, l)
	l = d.left
	var c Changes
	c.add(step{rules: d.addSkipRule})
	c.add(step{devices: d.prepare})
	c.add(step{sysctls: diffSysctls(p.Sysctls, l)})
	c.add(step{set: ipset.Changes{Name: d.set.Name, Create: d.set.Create}})
	c.add(step{rules: d.addSlotRules})
	c.add(step{routes: d.addSlots})
	final := step{tables: d.tables}
	if p.handover != nil {
		c.add(step{tables: []tableChange{diffTable(p.Side, *p.handover, l.tables[p.handover.Name])}})
		final.tables = afterHandover(p, l)
	} else {
		c.add(final)
	}
	c.add(step{sweep: p.sweep(l)})
	c.add(step{routes: d.addStatic})
	c.add(step{rules: d.addRules})
	c.add(step{devices: d.remotes})
	if p.handover != nil {
		c.add(final)
	}
	c.add(step{sweep: p.release()})
	// Packets pass the rules of both variants, so the old ones may go as soon as
	// the new ones stand.
	c.addElsewhere(p.Side, l)
	c.add(step{routes: d.addPods})
	c.add(step{set: ipset.Changes{Name: d.set.Name, Add: d.set.Add}})
	c.add(step{set: ipset.Changes{Name: d.set.Name, Delete: d.set.Delete}})
	c.add(step{routes: d.delRoutes})
	c.add(step{rules: d.delRules})
	c.add(step{devices: d.stale})
	return c
}

func (c *Changes) add(s step) {
	if !s.empty() {
		c.steps = append(c.steps, s)
	}
}

// parts are the differences by the place they take in the order.
type parts struct {
	left               *listing // what is there once prepare is done
	prepare, remotes   []geneve.Change
	stale              []geneve.Change
	set                ipset.Changes
	tables             []tableChange
	addStatic, addPods []routeChange
	addSlots           []routeChange
	delRoutes          []routeChange
	addRules, delRules []ruleChange
	addSlotRules       []ruleChange
	addSkipRule        []ruleChange
}

func split(p Plan, l *listing) parts {
	var d parts
	for _, ch := range geneve.Diff(p.Devices, l.links) {
		switch {
		// While the tunnels lead to a ztunnel, no other device can hear it.
		case ch.Op == geneve.OpRemote, ch.Op == geneve.OpCreate && isSlotDevice(ch.Device.Name):
			d.remotes = append(d.remotes, ch)
		default:
			d.prepare = append(d.prepare, ch)
		}
	}
	d.stale = geneve.Removal(unplanned(p, l))
	l = without(l, d.prepare)
	d.left = l
	if p.Set != nil {
		d.set = ipset.Diff(p.Set.Name, p.Set, l.set)
	}
	for _, t := range p.Tables {
		d.tables = append(d.tables, diffTable(p.Side, t, l.tables[t.Name]))
	}
	addRules, delRules := diffRules(p.Rules, l)
	d.delRules = delRules
	captures := slices.ContainsFunc(l.rules, l.ownsRule)
	for _, r := range addRules {
		switch {
		case p.Side == Host && r.Mask == DrainMask:
			d.addSlotRules = append(d.addSlotRules, r)
		case captures && r.Goto != 0:
			// Without it, what others of our rules capture goes round in circles.
			d.addSkipRule = append(d.addSkipRule, r)
		default:
			d.addRules = append(d.addRules, r)
		}
	}
	add, del := diffRoutes(p, l)
	for _, r := range add {
		switch {
		case p.Side == Host && r.Table >= TableDrain:
			d.addSlots = append(d.addSlots, r)
		case r.Dev == DeviceInbound && r.Dst.IsSingleIP():
			d.addPods = append(d.addPods, r)
		default:
			d.addStatic = append(d.addStatic, r)
		}
	}
	d.delRoutes = del
	return d
}

// unplanned are links with a name of ours that the plan does without.
func unplanned(p Plan, l *listing) []geneve.Link {
	return slices.DeleteFunc(slices.Clone(l.links), func(is geneve.Link) bool {
		return slices.ContainsFunc(p.Devices, func(d geneve.Device) bool { return d.Name == is.Name })
	})
}

// without is the listing once the changes to devices were made: a device that
// is made anew takes its routes and settings along, and one that loses its
// last address its routes.
func without(l *listing, changes []geneve.Change) *listing {
	next := *l
	for _, ch := range changes {
		if ch.Op != geneve.OpDelete && ch.Op != geneve.OpDelAddr {
			continue
		}
		next.routes = slices.DeleteFunc(slices.Clone(next.routes), func(r listedRoute) bool {
			return r.Dev == ch.Device.Name
		})
		if ch.Op == geneve.OpDelete {
			next.sysctls = maps.Clone(next.sysctls)
			maps.DeleteFunc(next.sysctls, func(s Sysctl, _ string) bool { return s.Device == ch.Device.Name })
		}
	}
	return &next
}

// afterHandover is the change from the handover's mangle table to the plan's.
func afterHandover(p Plan, l *listing) []tableChange {
	var out []tableChange
	for _, t := range p.Tables {
		have := l.tables[t.Name]
		if t.Name == p.handover.Name && have != nil {
			have = withOwn(have, p.handover.Own)
		}
		out = append(out, diffTable(p.Side, t, have))
	}
	return out
}

// withOwn is a table as it will be once the given chains were written.
func withOwn(t *savedTable, own []Chain) *savedTable {
	next := &savedTable{name: t.name, chains: slices.Clone(t.chains)}
	for _, c := range own {
		if is := next.chain(c.Name); is != nil {
			is.rules = c.Rules
		} else {
			next.chains = append(next.chains, savedChain{name: c.Name, rules: c.Rules})
		}
	}
	return next
}

// diffSysctls finds the settings that differ. Devices that are about to be
// made have no settings yet: applying reads them again.
func diffSysctls(want []Sysctl, l *listing) []sysctlChange {
	var out []sysctlChange
	for _, s := range want {
		from, ok := l.sysctls[Sysctl{Device: s.Device, Key: s.Key}]
		if !ok {
			if slices.Contains(deviceNames(l.side), s.Device) {
				out = append(out, sysctlChange{Sysctl: s, from: "not there yet"})
			}
			continue
		}
		if from != s.Value {
			out = append(out, sysctlChange{Sysctl: s, from: from})
		}
	}
	return out
}

func diffRules(want []Rule, l *listing) (add, del []ruleChange) {
	seen := map[Rule]bool{}
	for _, r := range l.rules {
		if !l.ownsRule(r) {
			continue
		}
		if seen[r.Rule] || !slices.Contains(want, r.Rule) {
			del = append(del, ruleChange{del: true, Rule: r.Rule})
		}
		seen[r.Rule] = true
	}
	for _, r := range want {
		if !seen[r] {
			add = append(add, ruleChange{Rule: r})
		}
	}
	return add, del
}

// routeKey is what the kernel tells routes apart by when it replaces one.
type routeKey struct {
	table  uint32
	dst    string
	metric uint32
}

func diffRoutes(p Plan, l *listing) (add, del []routeChange) {
	type key struct {
		Route
		metric uint32
	}
	have := make(map[key]bool, len(l.routes))
	for _, r := range l.routes {
		if !r.other {
			have[key{r.Route, r.metric}] = true
		}
	}
	wanted := make(map[Route]bool, len(p.Routes))
	replaced := map[routeKey]bool{}
	for _, r := range p.Routes {
		wanted[r] = true
		if !have[key{r, 0}] {
			add = append(add, routeChange{Route: r})
			replaced[routeKey{r.Table, r.Dst.String(), 0}] = true
		}
	}
	for _, r := range l.routes {
		if !l.ownsRoute(r) || (wanted[r.Route] && r.metric == 0 && !r.other) {
			continue
		}
		// A route with the same destination is replaced by the new one in one
		// move; deleting it afterwards would delete the new one.
		if replaced[routeKey{r.Table, r.Dst.String(), r.metric}] {
			continue
		}
		del = append(del, routeChange{del: true, Route: r.Route, metric: r.metric})
	}
	return add, del
}

// teardown takes everything of ours away: first nothing new is captured, then
// what carried it goes, from the last installed to the first.
func teardown(side Side, l *listing) Changes {
	var c Changes
	if l.set != nil && l.set.Ours() {
		c.add(step{set: ipset.Changes{Name: l.set.Name, Delete: l.set.Entries}})
	}
	_, del := diffRules(nil, l)
	slices.Reverse(del)
	c.add(step{rules: del})
	_, routes := diffRoutes(Plan{Side: side}, l)
	c.add(step{routes: routes})
	c.add(step{tables: withoutOurs(side, l.tables)})
	c.addElsewhere(side, l)
	if l.set != nil && l.set.Ours() {
		c.add(step{set: ipset.Changes{Name: l.set.Name, Destroy: true}})
	}
	c.add(step{devices: geneve.Removal(l.links)})
	return c
}

// withoutOurs takes all our rules out of a variant's tables.
func withoutOurs(side Side, tables saved) []tableChange {
	var out []tableChange
	for _, name := range []string{"mangle", "nat"} {
		out = append(out, diffTable(side, Table{Name: name}, tables[name]))
	}
	return out
}

// addElsewhere ends what a variant that is not in use holds of ours.
func (c *Changes) addElsewhere(side Side, l *listing) {
	for _, v := range []Variant{Legacy, NFT} {
		c.add(step{tables: withoutOurs(side, l.elsewhere[v]), variant: v})
	}
}
