// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"net/netip"
	"strings"

	"github.com/ambient22/ambient22/internal/dump/iptsave"
)

// action is what a rule does once it matched.
type action uint8

const (
	actNone action = iota // goes on: no target, LOG, or what changes nothing that matters
	actAccept
	actDrop
	actReturn
	actJump
	actGoto
	actMark      // mark = mark &^ b ^ a
	actSetCT     // connmark = connmark &^ b ^ a
	actSaveCT    // connmark = connmark &^ b ^ mark & a
	actRestoreCT // mark = mark &^ a ^ connmark & b
	actTPROXY
	actNAT
	actReject
	actNoTrack
	actReserved // goes on; what it does beside is not followed
	actUnknown
)

// rule is one rule, ready to be asked.
type rule struct {
	conds  []cond
	act    action
	a, b   uint32
	target *chain
	nat    *natTarget
	src    *iptsave.Rule
}

// chain is one chain; a built-in one has a policy.
type chain struct {
	name    string
	table   string
	drop    bool // policy
	unknown bool // policy not in the dump
	absent  bool // jumped to, but not in the dump
	rules   []rule
}

// compiler turns one variant's tables into chains.
type compiler struct {
	space    *Space
	conds    []cond
	names    map[string]string
	counters int
}

func (k *compiler) intern(s string) string {
	if known, ok := k.names[s]; ok {
		return known
	}
	k.names[s] = s
	return s
}

// tables are the chains of each table, by name.
type tables map[string]map[string]*chain

// compileSave compiles one iptables-save. Tables and chains of one name are one,
// which listings need that show a table in parts.
func (k *compiler) compileSave(save *iptsave.Save) tables {
	all := tables{}
	if save == nil {
		return all
	}
	for _, t := range save.Tables {
		if t.IPv6 {
			continue
		}
		chains := all[t.Name]
		if chains == nil {
			chains = map[string]*chain{}
			all[t.Name] = chains
		}
		for _, c := range t.Chains {
			if chains[c.Name] == nil {
				chains[c.Name] = &chain{name: c.Name, table: t.Name, drop: c.Policy == "DROP", unknown: c.Policy == ""}
			}
		}
	}
	for _, t := range save.Tables {
		if t.IPv6 {
			continue
		}
		for _, c := range t.Chains {
			k.compileChain(all[t.Name], all[t.Name][c.Name], c.Rules)
		}
	}
	return all
}

func (k *compiler) compileChain(chains map[string]*chain, c *chain, rules []*iptsave.Rule) {
	if c.rules == nil {
		c.rules = make([]rule, 0, len(rules))
	}
	for _, src := range rules {
		begin := len(k.conds)
		for at, m := range src.Matches {
			k.compileMatch(at, m)
		}
		ru := rule{src: src, conds: k.conds[begin:len(k.conds):len(k.conds)]}
		k.compileTarget(chains, c, &ru, src.Target)
		c.rules = append(c.rules, ru)
	}
}

func (k *compiler) compileTarget(chains map[string]*chain, c *chain, ru *rule, t iptsave.Target) {
	switch t := t.(type) {
	case nil, iptsave.Log:
	case iptsave.Pass:
		k.compilePass(ru, t.Name)
	case iptsave.Verdict:
		ru.act = map[string]action{"ACCEPT": actAccept, "DROP": actDrop, "RETURN": actReturn}[t.Name]
		if ru.act == actNone {
			ru.act = actUnknown // QUEUE: a program decides
		}
	case iptsave.Jump:
		ru.act = actJump
		if t.Goto {
			ru.act = actGoto
		}
		ru.target = chains[t.Chain]
		if ru.target == nil {
			ru.target = &chain{name: t.Chain, table: c.table, absent: true}
			chains[t.Chain] = ru.target
		}
	case iptsave.SetMark:
		ru.act, ru.a, ru.b = actMark, t.Value, t.Mask
	case iptsave.SetConnmark:
		ru.act, ru.a, ru.b = actSetCT, t.Value, t.Mask
	case iptsave.SaveMark:
		ru.act, ru.a, ru.b = actSaveCT, t.NFMask, t.CTMask
	case iptsave.RestoreMark:
		ru.act, ru.a, ru.b = actRestoreCT, t.NFMask, t.CTMask
	case iptsave.TPROXY:
		ru.act = actTPROXY
	case iptsave.NAT:
		ru.act, ru.nat = actNAT, compileNAT(t)
	case iptsave.Reject:
		ru.act = actReject
	case iptsave.CT:
		switch {
		case t.NoTrack:
			ru.act = actNoTrack
		case strings.Contains(strings.Join(t.Rest, " "), "--zone"):
			ru.act = actUnknown
		}
	case iptsave.OpaqueTarget:
		k.compilePass(ru, t.Name)
	default:
		ru.act = actUnknown
	}
}

// compilePass sorts out targets that mostly let the packet go on as it is.
func (k *compiler) compilePass(ru *rule, name string) {
	switch name {
	case "DSCP", "TOS":
		if k.space.usesTOS {
			ru.act = actUnknown
		}
	case "SET", "TEE":
		ru.act = actReserved
	case "TCPMSS", "CHECKSUM", "TRACE", "TTL", "ECN", "TCPOPTSTRIP", "CLASSIFY", "AUDIT",
		"SECMARK", "CONNSECMARK", "LED", "RATEEST", "IDLETIMER", "HL":
	default:
		ru.act = actUnknown
	}
}

// natTarget is where a NAT rule leads to.
type natTarget struct {
	kind            string
	low, high       uint32
	hasAddr         bool
	lowPort, hiPort uint16
	random          bool // the port is drawn
	net, mask       uint32
	strange         bool
}

func compileNAT(t iptsave.NAT) *natTarget {
	n := &natTarget{kind: t.Kind, lowPort: t.LowPort, hiPort: max(t.LowPort, t.HighPort)}
	if t.Low.IsValid() {
		var ok bool
		n.low, ok = number(t.Low)
		n.high = n.low
		if t.High.IsValid() {
			n.high, _ = number(t.High)
		}
		n.hasAddr, n.strange = ok, !ok
	}
	for _, word := range t.Rest {
		switch word {
		case "--random", "--random-fully":
			n.random = true
		}
	}
	if t.Kind == "NETMAP" {
		p, err := netip.ParsePrefix(t.To)
		if err != nil {
			a, err2 := netip.ParseAddr(t.To)
			p, err = netip.PrefixFrom(a, 32), err2
		}
		var ok bool
		n.net, ok = number(p.Addr())
		n.mask = maskOf(p.Bits())
		n.strange = err != nil || !ok
	}
	return n
}
