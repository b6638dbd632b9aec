// SPDX-License-Identifier: Apache-2.0

package nodediff

import (
	"fmt"

	"github.com/ambient22/ambient22/internal/dump/iptsave"
	"github.com/ambient22/ambient22/noderoute"
)

// chains compares the own chains, and the rules in front of the built-in ones.
func (c *comparison) chains() {
	if c.save == nil {
		c.unshown(IPTables, c.kind)
		return
	}
	own := map[string]bool{}
	for _, t := range c.plan.Tables {
		for _, chain := range t.Head {
			c.head(t.Name, chain)
			own[t.Name+"/"+chain.Name] = true
		}
		for _, chain := range t.Own {
			c.own(t.Name, chain)
			own[t.Name+"/"+chain.Name] = true
		}
	}
	c.others(own)
	c.elsewhere()
	c.rulesets()
	c.flush()
}

// own compares a chain that belongs to the data path with all its rules.
func (c *comparison) own(table string, want noderoute.Chain) {
	have := c.chain(table, want.Name)
	var haves []item
	if have != nil {
		haves = ruleItems(have.Rules)
	}
	excerpt := c.partial(have) && c.excerptTable(table)
	c.block(IPTables, table+"/"+want.Name, c.file(c.kind), true, excerpt, c.wanted(table, want), haves)
}

// wanted are a chain's planned rules with their reasons.
func (c *comparison) wanted(table string, chain noderoute.Chain) []item {
	var out []item
	for i, text := range chain.Rules {
		it := wantedLine("-A " + chain.Name + " " + text)
		it.why = c.reasons.rule(table, chain.Name, i, text)
		out = append(out, it)
	}
	return out
}

// wantedLine is a rule of a plan or of a generation's table. What cannot be read would
// be a mistake of this project; it is then compared word by word.
func wantedLine(line string) item {
	r, err := ruleOf(line)
	if err != nil {
		return newItem(line, []attr{{"rule", line}})
	}
	it := ruleItem(r, nil)
	it.line, it.lineNo = line, 0
	return it
}

func ruleItems(rules []*iptsave.Rule) []item {
	out := make([]item, 0, len(rules))
	for i, r := range rules {
		it := ruleItem(r, nil)
		it.at = i + 1
		out = append(out, it)
	}
	return out
}

// head compares the rules that stand first in a built-in chain. Behind them others
// may do what they like.
func (c *comparison) head(table string, want noderoute.Chain) {
	have := c.chain(table, want.Name)
	var haves []item
	if have != nil {
		for i, r := range have.Rules {
			it := ruleItem(r, nil)
			it.at, it.owner = i+1, headOwner(r)
			haves = append(haves, it)
		}
	}
	b := block{
		space: c.name, section: IPTables, place: table + "/" + want.Name, file: c.file(c.kind), ordered: true,
		excerpt: c.partial(have) && c.excerptTable(table), want: c.wanted(table, want), have: haves,
	}
	found := b.compare()
	c.behind(found, haves)
	for _, f := range found {
		if f.Kind == Foreign {
			c.foreign.add(c.name, IPTables, f.Owner, f.Count)
			continue
		}
		c.found = append(c.found, f)
	}
}

// behind finds that somebody else's rule stands in front of ours: it decides first.
func (c *comparison) behind(found []Finding, haves []item) {
	ours := 0
	for i := range found {
		f := &found[i]
		if f.Kind == Foreign || f.HaveAt == 0 {
			continue
		}
		ours++
		if first := firstForeign(haves, f.HaveAt); ours == 1 && first != nil && f.Kind == Equal {
			f.Kind = Moved
			f.Note = fmt.Sprintf("behind %q (%s), which decides first", first.line, first.owner)
		}
	}
}

// firstForeign is the first rule of others in front of a place.
func firstForeign(haves []item, at int) *item {
	for i := range haves {
		if haves[i].at >= at {
			return nil
		}
		if haves[i].owner != "" {
			return &haves[i]
		}
	}
	return nil
}

// others goes through the chains that the plan does not know.
func (c *comparison) others(known map[string]bool) {
	for _, t := range c.save.Tables {
		for _, chain := range t.Chains {
			switch {
			case known[t.Name+"/"+chain.Name] || t.Name == "" && c.anyTable(known, chain.Name):
			case legacyChain(chain.Name):
				c.block(IPTables, t.Name+"/"+chain.Name, c.file(c.kind), true, false, nil, ruleItems(chain.Rules))
			default:
				c.strangers(t.Name, chain)
			}
		}
	}
}

func (c *comparison) anyTable(known map[string]bool, chain string) bool {
	for _, t := range c.plan.Tables {
		if known[t.Name+"/"+chain] {
			return true
		}
	}
	return false
}

// strangers counts the rules of somebody else's chain. In a built-in chain a jump to
// one of ours has no place but the planned ones.
func (c *comparison) strangers(table string, chain *iptsave.Chain) {
	for i, r := range chain.Rules {
		if j, is := targetByValue(r.Target).(iptsave.Jump); is && legacyChain(j.Chain) {
			it := ruleItem(r, nil)
			it.at = i + 1
			c.block(IPTables, table+"/"+chain.Name, c.file(c.kind), true, false, nil, []item{it})
			continue
		}
		c.foreign.add(c.name, IPTables, ruleOwner(r), 1)
	}
}

// headOwner says whose a rule of a built-in chain is; "" is ours, or what ours was
// changed into.
func headOwner(r *iptsave.Rule) string {
	if j, is := targetByValue(r.Target).(iptsave.Jump); is && legacyChain(j.Chain) {
		return ""
	}
	f := fieldsOf(ruleItem(r, nil))
	for _, device := range []string{f["-i"], f["-o"]} {
		if tunnelDevice(device) {
			return ""
		}
	}
	switch f["target"] {
	case "TPROXY":
		return ""
	case "MARK":
		if f["-i"] == "eth0" {
			return ""
		}
	case "REDIRECT":
		if f["--dport"] == "15088" || f["to"] == "15008" {
			return ""
		}
	}
	if logName(r) != "" {
		return ""
	}
	return ruleOwner(r)
}

// elsewhere finds rules of ours in the variant of iptables that is not in use:
// packets pass both.
func (c *comparison) elsewhere() {
	if c.spare == nil {
		return
	}
	for _, t := range c.spare.Tables {
		for _, chain := range t.Chains {
			if !legacyChain(chain.Name) {
				for _, r := range chain.Rules {
					c.foreign.add(c.name, IPTables, ruleOwner(r), 1)
				}
				continue
			}
			for i, r := range chain.Rules {
				c.found = append(c.found, Finding{
					Kind: Extra, Space: c.name, Section: IPTables, Place: t.Name + "/" + chain.Name,
					Have: ruleText(r), HaveAt: i + 1, File: c.file(c.spareKind), Line: r.Line,
					Note: "this variant of iptables is not the one in use; packets pass the rules of both",
				})
			}
		}
	}
}

// rulesets counts the tables of nftables that iptables does not show.
func (c *comparison) rulesets() {
	if c.Ruleset == nil {
		return
	}
	for _, t := range c.Ruleset.Tables {
		if t.Iptables {
			continue
		}
		n := 0
		for _, chain := range t.Chains {
			n += len(chain.Rules)
		}
		if n > 0 {
			c.foreign.add(c.name, NFTables, "table "+t.Family+" "+t.Name, n)
		}
	}
}
