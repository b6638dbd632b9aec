// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"slices"

	"github.com/ambient22/ambient22/internal/dump/iproute"
)

// ipRule is one ip rule, ready to be asked.
type ipRule struct {
	src            *iproute.Rule
	from, fromMask uint32
	to, toMask     uint32
	iifNever       bool // its device does not exist
	oifNever       bool
	act            ipAction
	fib            *fib
	jump           int // index of goto's target, -1 where there is none
	suppress       int
	never          bool // an IPv6 prefix
}

type ipAction uint8

const (
	ipLookup ipAction = iota
	ipGoto
	ipNop
	ipBlackhole
	ipUnreachable
	ipProhibit
	ipUnknown
)

// defaultRules are what a namespace has before anybody adds some.
func defaultRules() []*iproute.Rule {
	rule := func(priority, table uint32) *iproute.Rule {
		return &iproute.Rule{Priority: priority, Action: "lookup", Table: table, SuppressPrefix: -1}
	}
	return []*iproute.Rule{rule(0, tableLocal), rule(32766, tableMain), rule(32767, tableDefault)}
}

// isDefault tells that the rules are those that the kernel begins with, local and
// main being one table then.
func isDefault(rules []*iproute.Rule) bool {
	want := defaultRules()
	return slices.EqualFunc(rules, want, func(a, b *iproute.Rule) bool {
		return a.Priority == b.Priority && a.Action == b.Action && a.Table == b.Table && !a.Not &&
			!a.From.IsValid() && !a.To.IsValid() && a.IIF == "" && a.OIF == "" && a.Mask == 0 &&
			a.TOS == 0 && a.Protocol == 0 && a.SPort == [2]uint16{} && a.DPort == [2]uint16{} &&
			a.SuppressPrefix < 0 && len(a.Extra) == 0 && a.UIDs == nil
	})
}

func compileIPRules(rules []*iproute.Rule, fibs map[uint32]*fib) []ipRule {
	compiled := make([]ipRule, len(rules))
	for i, src := range rules {
		c := ipRule{src: src, iifNever: src.IIFDetached, oifNever: src.OIFDetached, suppress: src.SuppressPrefix, jump: -1}
		c.never = !c.prefixes(src)
		switch src.Action {
		case "lookup":
			c.fib = fibs[src.Table]
			if src.L3MDev {
				c.act = ipUnknown
			}
		case "goto":
			c.act = ipGoto
			// Only forward: the kernel refuses anything else.
			if at := slices.IndexFunc(rules, func(r *iproute.Rule) bool { return r.Priority == src.Goto }); at > i {
				c.jump = at
			}
		case "nop":
			c.act = ipNop
		case "blackhole":
			c.act = ipBlackhole
		case "unreachable":
			c.act = ipUnreachable
		case "prohibit":
			c.act = ipProhibit
		default:
			c.act = ipUnknown
		}
		compiled[i] = c
	}
	return compiled
}

// prefixes reads from and to; false where they are not IPv4.
func (c *ipRule) prefixes(src *iproute.Rule) bool {
	ok1, ok2 := true, true
	if src.From.IsValid() {
		c.from, ok1 = number(src.From.Addr())
		c.fromMask = maskOf(src.From.Bits())
		c.from &= c.fromMask
	}
	if src.To.IsValid() {
		c.to, ok2 = number(src.To.Addr())
		c.toMask = maskOf(src.To.Bits())
		c.to &= c.toMask
	}
	return ok1 && ok2
}

// needsDissection tells that a rule makes the kernel read a packet's protocol and
// ports. One for what is sent from here does not: there the socket has told them.
func needsDissection(r *iproute.Rule) bool {
	return r.IIF != loopback && (r.Protocol != 0 || r.SPort[1] != 0 || r.DPort[1] != 0)
}

// matches asks an ip rule.
func (c *ipRule) matches(fl *flow) answer {
	result := answerOf(c.selects(fl))
	src := c.src
	if result == yes && src.UIDs != nil && (fl.uid < src.UIDs.First || fl.uid > src.UIDs.Last) {
		result = no
	}
	if result == yes && len(src.Extra) > 0 && len(src.Conditions()) > 0 {
		result = maybe
	}
	if src.Not && result != maybe {
		return answerOf(result == no)
	}
	return result
}

func (c *ipRule) selects(fl *flow) bool {
	src := c.src
	switch {
	case c.never,
		src.IIF != "" && (c.iifNever || src.IIF != fl.iif),
		src.OIF != "" && (c.oifNever || src.OIF != fl.oif),
		(src.Mark^fl.mark)&src.Mask != 0,
		fl.src&c.fromMask != c.from,
		fl.dst&c.toMask != c.to,
		src.TOS != 0 && src.TOS != fl.tos&0x1c,
		src.Protocol != 0 && src.Protocol != fl.proto,
		src.SPort[1] != 0 && (fl.sport < src.SPort[0] || fl.sport > src.SPort[1]),
		src.DPort[1] != 0 && (fl.dport < src.DPort[0] || fl.dport > src.DPort[1]):
		return false
	}
	return true
}

// lookup asks the ip rules in order. told records the steps.
func (r *run) lookup(fl *flow, told bool) result {
	told = told && r.record
	if r.routesLacking(fl) {
		return result{kind: foundUnknown}
	}
	var res result
	if r.s.merged {
		res = r.lookupMerged(fl, told)
	} else {
		res = r.lookupRules(fl, told)
	}
	if res.kind == foundNothing && r.s.lacks.tables != "" {
		r.unknown(r.s.lacks.tables)
		return result{kind: foundUnknown}
	}
	return res
}

func (r *run) lookupRules(fl *flow, told bool) result {
	rules := r.s.ipRules
	for i := 0; i < len(rules); i++ {
		c := &rules[i]
		matched := c.matches(fl)
		if matched == maybe {
			pick, ok := r.decide(Choice{Kind: ChoiceUnknown, N: 2, IPRule: c.src})
			if !ok {
				return result{kind: foundUnknown}
			}
			matched = answerOf(pick == 1)
		}
		if told {
			st := r.step(StepIPRule)
			st.IPRule, st.Matched, st.Mark, st.MarkAfter = c.src, matched == yes, fl.mark, fl.mark
		}
		if matched == no {
			continue
		}
		switch c.act {
		case ipNop:
			continue
		case ipGoto:
			if c.jump >= 0 {
				i = c.jump - 1
			}
			continue
		case ipBlackhole:
			return result{kind: foundBlackhole}
		case ipUnreachable:
			return result{kind: foundUnreachable}
		case ipProhibit:
			return result{kind: foundProhibit}
		case ipUnknown:
			r.unknown("the ip rule " + c.src.String() + " is not modelled")
			return result{kind: foundUnknown}
		}
		res, again := c.fib.lookup(r.s, fl)
		if res.kind == foundRoute && !again && c.suppress >= 0 && res.route.bits <= c.suppress {
			if told {
				r.routeStep(c.src.Table, res, "suppressed: its prefix is too short for the rule")
			}
			continue
		}
		if told {
			r.routeStep(c.src.Table, res, "")
		}
		if !again {
			return res
		}
	}
	return result{}
}

func (r *run) lookupMerged(fl *flow, told bool) result {
	s := r.s
	res, again := merged(s, s.fibs[tableLocal], s.fibs[tableMain], fl)
	rules := s.ipRules
	if told {
		r.ruleStep(&rules[0], fl)
		inLocal := !again && res.table == tableLocal
		if inLocal {
			r.routeStep(tableLocal, res, "")
			return res
		}
		r.routeStep(tableLocal, result{}, "")
		r.ruleStep(&rules[1], fl)
		r.routeStep(tableMain, res, "")
	}
	if !again {
		return res
	}
	res, again = s.fibs[tableDefault].lookup(s, fl)
	if told {
		r.ruleStep(&rules[2], fl)
		r.routeStep(tableDefault, res, "")
	}
	if again {
		return result{}
	}
	return res
}

func (r *run) ruleStep(c *ipRule, fl *flow) {
	st := r.step(StepIPRule)
	st.IPRule, st.Matched, st.Mark, st.MarkAfter = c.src, true, fl.mark, fl.mark
}

func (r *run) routeStep(table uint32, res result, note string) {
	st := r.step(StepRoute)
	st.TableID, st.Note = table, note
	if res.route != nil {
		st.Route, st.Matched = res.route.src, note == ""
		if len(res.route.hops) > 0 {
			st.Out, st.Via = res.route.hops[res.hop].dev, res.route.hops[res.hop].via
		}
	}
}
