// SPDX-License-Identifier: Apache-2.0

package nodediff

import (
	"slices"
	"strings"

	"github.com/ambient22/ambient22/internal/dump"
	"github.com/ambient22/ambient22/internal/dump/iproute"
	"github.com/ambient22/ambient22/internal/dump/iptsave"
)

// foreignGeneration is a generation of others, as one namespace shows it.
type foreignGeneration struct {
	*space
	table    *tableOf
	w        *witnesses
	many     map[string][]string // values of {names} that may be there several times
	variants map[string]bool
	evidence []Evidence
	found    []Finding
	foreign  foreigners
}

// readForeign looks for a generation in a namespace; nil where there is no sign of it.
func readForeign(t *tableOf, ns *dump.Netns, name string) *foreignGeneration {
	own := func(chain string) bool { return slices.Contains(t.Signs, chain) }
	g := &foreignGeneration{
		space: spaceOf(ns, name, own), table: t, w: newWitnesses(),
		many: map[string][]string{}, variants: map[string]bool{},
	}
	if g.save == nil {
		return nil
	}
	for _, sign := range t.Signs {
		if table, c := g.anywhere(sign); c != nil {
			g.evidence = append(g.evidence, chainEvidence(g.space, table, c))
		}
	}
	if len(g.evidence) == 0 {
		return nil
	}
	g.hear()
	for _, c := range t.Chains {
		if g.applies(c) {
			g.compare(c)
		}
	}
	g.others()
	g.compareRules()
	g.compareRoutes()
	g.found = append(g.found, g.foreign.findings()...)
	return g
}

// anywhere is a chain of that name in any table.
func (g *foreignGeneration) anywhere(name string) (table string, c *iptsave.Chain) {
	for _, t := range g.save.Tables {
		for _, c := range t.Chains {
			if c.Name == name {
				return t.Name, c
			}
		}
	}
	return "", nil
}

func chainEvidence(s *space, table string, c *iptsave.Chain) Evidence {
	line, no := ":"+c.Name, c.Line
	if c.Line == 0 && len(c.Rules) > 0 {
		line, no = ruleText(c.Rules[0]), c.Rules[0].Line
	}
	return Evidence{Line: line, File: s.file(s.kind), LineNo: no, Says: "the chain " + c.Name + " in the table " + table}
}

// hear collects the values of {names}, and which variant it is.
func (g *foreignGeneration) hear() {
	for _, c := range g.table.Chains {
		have := g.chain(c.Table, c.Chain)
		if have == nil {
			continue
		}
		for _, r := range have.Rules {
			g.hearLine(c, r, strings.TrimPrefix(usualText(r), "-A "+c.Chain+" "))
		}
	}
}

// hearLine finds the first form that a line has.
func (g *foreignGeneration) hearLine(c chainData, r *iptsave.Rule, line string) {
	for _, l := range c.Rules {
		for _, form := range l.Forms {
			values, ok := capture(form, line)
			if !ok {
				continue
			}
			if l.Sign != "" {
				g.variants[l.Sign] = true
			}
			for name, value := range values {
				if _, fixed := g.table.Defaults[name]; fixed {
					g.w.hear(name, value, Evidence{Line: ruleText(r), File: g.file(g.kind), LineNo: r.Line})
				} else if !slices.Contains(g.many[name], value) {
					g.many[name] = append(g.many[name], value)
				}
			}
			return
		}
	}
}

func (g *foreignGeneration) values() map[string]string {
	out := map[string]string{}
	for name, usual := range g.table.Defaults {
		out[name] = usual
		if v := g.w.value(name); v != "" {
			out[name] = v
		}
	}
	return out
}

// has tells whether a chain is there.
func (g *foreignGeneration) has(chain string) bool {
	_, c := g.anywhere(chain)
	return c != nil
}

func (g *foreignGeneration) applies(c chainData) bool {
	switch {
	case c.Needs != "" && !g.has(c.Needs), c.Unless != "" && g.has(c.Unless):
		return false
	case c.Optional && c.Head:
		return true // its lines are spare ones
	case c.Optional:
		return g.chain(c.Table, c.Chain) != nil
	}
	return true
}

// belongs tells whether a line belongs to the variant at hand.
func (g *foreignGeneration) belongs(l lineData) bool {
	return (l.Needs == "" || g.has(l.Needs)) && (l.Unless == "" || !g.has(l.Unless)) &&
		(l.With == "" || g.variants[l.With]) && (l.NotWith == "" || !g.variants[l.NotWith])
}

// spare tells whether nothing is amiss without a line.
func (g *foreignGeneration) spare(l lineData) bool {
	for _, name := range strings.Fields(l.Without) {
		if len(g.many[name]) > 0 {
			return true
		}
	}
	return l.Spare
}

// compare holds one chain against its table.
func (g *foreignGeneration) compare(c chainData) {
	have := g.chain(c.Table, c.Chain)
	var haves []item
	if have != nil {
		haves = ruleItems(have.Rules)
	}
	if c.Head {
		for i := range haves {
			haves[i].owner = g.headOwner(have.Rules[i])
		}
	}
	b := block{
		space: g.name, section: IPTables, place: c.Table + "/" + c.Chain, file: g.file(g.kind), ordered: !c.AnyOrder,
		excerpt: g.partial(have) && g.excerptTable(c.Table), have: haves,
	}
	for _, l := range c.Rules {
		if g.belongs(l) {
			b.want = append(b.want, g.wanted(c, l, haves)...)
		}
	}
	for _, f := range b.compare() {
		if f.Kind == Foreign {
			g.foreign.add(g.name, IPTables, f.Owner, f.Count)
			continue
		}
		g.found = append(g.found, f)
	}
}

// headOwner says whose a rule of a built-in chain is; "" is the generation's.
func (g *foreignGeneration) headOwner(r *iptsave.Rule) string {
	if j, is := targetByValue(r.Target).(iptsave.Jump); is && strings.HasPrefix(j.Chain, "ISTIO_") {
		return ""
	}
	line := strings.TrimPrefix(usualText(r), "-A "+r.Chain+" ")
	for _, c := range g.table.Chains {
		if c.Chain != r.Chain {
			continue
		}
		for _, l := range c.Rules {
			for _, form := range l.Forms {
				if _, ok := capture(form, line); ok {
					return ""
				}
			}
		}
	}
	return ruleOwner(r)
}

// wanted are the items of one line of the table: of the form that the dump has, else
// of the first; for a line that may be there several times one for each that is.
func (g *foreignGeneration) wanted(c chainData, l lineData, haves []item) []item {
	values := g.values()
	line := func(text string) item {
		it := wantedLine("-A " + c.Chain + " " + text)
		it.why, it.spare = l.Why, g.spare(l)
		return it
	}
	if l.Many {
		return g.wantedMany(l, values, haves, line)
	}
	first := line(fill(l.Forms[0], values))
	for _, form := range l.Forms {
		it := line(fill(form, values))
		if slices.ContainsFunc(haves, func(h item) bool { return h.key == it.key }) {
			return []item{it}
		}
	}
	return []item{first}
}

func (g *foreignGeneration) wantedMany(l lineData, values map[string]string, haves []item, line func(string) item) []item {
	var out []item
	for _, form := range l.Forms {
		free := slices.DeleteFunc(names(form), func(n string) bool { return values[n] != "" })
		if len(free) != 1 {
			continue
		}
		made := map[string]item{}
		for _, v := range g.many[free[0]] {
			values[free[0]] = v
			it := line(fill(form, values))
			it.spare = true
			made[it.key] = it
		}
		delete(values, free[0])
		for _, h := range haves { // in the order of the dump: it is free
			if it, is := made[h.key]; is {
				out = append(out, it)
				delete(made, h.key)
			}
		}
	}
	return out
}

// others counts the rules of all other chains.
func (g *foreignGeneration) others() {
	for _, t := range g.save.Tables {
		for _, c := range t.Chains {
			known := slices.ContainsFunc(g.table.Chains, func(d chainData) bool {
				return d.Chain == c.Name && (d.Table == t.Name || t.Name == "") && g.applies(d)
			})
			for _, r := range c.Rules {
				if !known {
					g.foreign.add(g.name, IPTables, ruleOwner(r), 1)
				}
			}
		}
	}
}

// compareRules holds the ip rules against the table.
func (g *foreignGeneration) compareRules() {
	for _, l := range g.table.IPRules {
		if !g.belongs(l) {
			continue
		}
		want, ok := parsedRule("1000: " + l.Forms[0])
		if !ok {
			continue
		}
		want.why = l.Why
		if g.Rules == nil {
			g.found = append(g.found, Finding{Kind: Unshown, Space: g.name, Section: IPRules, Want: l.Forms[0], Why: l.Why,
				Note: "the dump does not have it"})
			continue
		}
		want.line = l.Forms[0]
		var haves []item
		for _, r := range g.Rules {
			if plain := r.Priority == 0 || r.Priority == 32766 || r.Priority == 32767; !plain {
				haves = append(haves, anyPriority(ipRuleItem(r)))
			}
		}
		b := block{space: g.name, section: IPRules, file: g.file(dump.KindRules), excerpt: g.excerptRules(),
			want: []item{anyPriority(want)}, have: haves}
		g.keepWanted(b)
	}
}

// keepWanted keeps what a block says of what is wanted; what else is there belongs to others.
func (g *foreignGeneration) keepWanted(b block) {
	for _, f := range b.compare() {
		if f.Want != "" {
			g.found = append(g.found, f)
		} else {
			g.foreign.add(g.name, b.section, nobody, 1)
		}
	}
}

// anyPriority leaves out the priority of an ip rule, which releases chose differently.
func anyPriority(it item) item {
	fields := slices.DeleteFunc(slices.Clone(it.fields), func(a attr) bool { return a.name == "priority" })
	out := newItem(it.line, fields)
	out.lineNo, out.why = it.lineNo, it.why
	return out
}

func parsedRule(line string) (item, bool) {
	rules, err := iproute.ParseRules("", line+"\n")
	if err != nil || len(rules) != 1 {
		return item{}, false
	}
	return ipRuleItem(rules[0]), true
}

// compareRoutes holds routing tables against the table.
func (g *foreignGeneration) compareRoutes() {
	for _, l := range g.table.Routes {
		if !g.belongs(l) {
			continue
		}
		want, err := iproute.ParseRoutes("", l.Forms[0]+"\n", l.Table)
		if err != nil || len(want) != 1 {
			continue
		}
		it := routeItem(want[0], nil)
		it.line, it.why = l.Forms[0], l.Why
		place := "table " + tableName(l.Table)
		if g.Routes == nil {
			g.found = append(g.found, Finding{Kind: Unshown, Space: g.name, Section: Routes, Place: place, Want: it.line, Why: l.Why,
				Note: "the dump does not have it"})
			continue
		}
		var haves []item
		for _, r := range g.Routes {
			if r.Table == l.Table && !r.IPv6 {
				haves = append(haves, routeItem(r, nil))
			}
		}
		b := block{space: g.name, section: Routes, place: place, file: g.file(dump.KindRoutes),
			excerpt: g.excerptTableRoutes(l.Table), want: []item{it}, have: haves}
		g.found = append(g.found, b.compare()...)
	}
}
