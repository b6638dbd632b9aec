// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"github.com/ambient22/ambient22/internal/dump/iptsave"
)

// condKind says which field of a packet a condition looks at.
type condKind uint8

const (
	condProtocol condKind = iota
	condSource            // src & b == a
	condDest
	condIn // device name, exactly
	condInPrefix
	condOut
	condOutPrefix
	condFragment
	condSourcePort // lo <= port <= hi
	condDestPort
	condFlags // flags & b == a
	condMultiSource
	condMultiDest
	condMultiBoth
	condMark // mark & b == a
	condConnmark
	condSet
	condState // a: bits of the states asked for
	condConn  // further options of conntrack
	condSourceType
	condDestType
	condRandom
	condNth
	condOwner
	condSocket
	condICMP
	condSourceRange
	condDestRange
	condPhysDev
	condReverse // rpfilter
	condAssumed // always holds, with a reservation
	condNever
	condUnknown
)

// cond is one condition, ready to be asked. One iptsave.Match may give several.
type cond struct {
	kind   condKind
	not    bool
	at     uint16 // index in the rule's Matches
	a, b   uint32
	lo, hi uint16
	name   string
	set    *ipset
	dirs   []bool // set: src for each dimension
	ports  []iptsave.PortRange
	conn   []connOption
	match  iptsave.Match // what the rarer kinds look at
}

// matches asks one condition.
func (r *run) matches(c *cond) answer {
	h := &r.h
	var holds bool
	switch c.kind {
	case condProtocol:
		holds = uint32(h.proto) == c.a
	case condSource:
		holds = h.src&c.b == c.a
	case condDest:
		holds = h.dst&c.b == c.a
	case condIn:
		holds = h.in == c.name
	case condInPrefix:
		holds = hasPrefix(h.in, c.name)
	case condOut:
		holds = r.hookOut == c.name
	case condOutPrefix:
		holds = hasPrefix(r.hookOut, c.name)
	case condSourcePort:
		holds = c.lo <= h.sport && h.sport <= c.hi
	case condDestPort:
		holds = c.lo <= h.dport && h.dport <= c.hi
	case condFlags:
		holds = uint32(h.flags)&c.b == c.a
	case condMark:
		holds = h.mark&c.b == c.a
	case condConnmark:
		// Without a connection nothing holds, also not the opposite.
		if !r.tracked {
			return no
		}
		holds = r.ct.mark&c.b == c.a
	case condMultiSource, condMultiDest, condMultiBoth:
		if !hasPorts(h.proto) {
			return no
		}
		holds = c.kind != condMultiDest && inRanges(c.ports, h.sport) || c.kind != condMultiSource && inRanges(c.ports, h.dport)
	default:
		return r.matchesRare(c)
	}
	return answerOf(holds != c.not)
}

// matchesRare asks what few rules ask.
func (r *run) matchesRare(c *cond) answer {
	h := &r.h
	var holds bool
	switch c.kind {
	case condFragment: // no walk is about later fragments
	case condSet:
		if c.set == nil {
			return maybe
		}
		found := c.set.contains(h, c.dirs)
		if found == maybe {
			return maybe
		}
		holds = found == yes
	case condState:
		holds = r.stateBits(c.lo != 0)&c.a != 0
	case condConn:
		return r.matchesConn(c)
	case condSourceType, condDestType:
		return r.matchesType(c)
	case condNth:
		holds = r.nth(c)
	case condOwner:
		return r.matchesOwner(c)
	case condSocket:
		return r.matchesSocket(c)
	case condICMP:
		m := c.match.(iptsave.ICMP)
		holds = m.Any || m.Type == h.icmpType && (m.Code == nil || *m.Code == h.icmpCode)
	case condSourceRange:
		holds = c.a <= h.src && h.src <= c.b
	case condDestRange:
		holds = c.a <= h.dst && h.dst <= c.b
	case condPhysDev:
		return r.matchesPhysDev(c)
	case condReverse:
		holds = r.reverseFits(c.a)
	case condAssumed:
		return yes
	case condNever:
		return no
	default:
		return maybe
	}
	return answerOf(holds != c.not)
}

func hasPrefix(s, prefix string) bool { return len(s) >= len(prefix) && s[:len(prefix)] == prefix }

func inRanges(ranges []iptsave.PortRange, port uint16) bool {
	for _, r := range ranges {
		if r.Low <= port && port <= r.High {
			return true
		}
	}
	return false
}

// match asks a rule's conditions in their order. failed is the index in
// Rule.Matches of the first that does not hold, -1 where none fails. A condition
// that is not modelled, or random, counts only where all others hold.
func (r *run) match(ru *rule) (result answer, failed int) {
	result = yes
	var random *cond
	for i := range ru.conds {
		c := &ru.conds[i]
		if c.kind == condRandom {
			random = c
			continue
		}
		switch r.matches(c) {
		case no:
			return no, int(c.at)
		case maybe:
			result = maybe
			r.unsure = c
		}
	}
	if random != nil && ru.act != actNone {
		pick, ok := r.decide(Choice{Kind: ChoiceRandom, N: 2, Rule: ru.src, Probability: probability(random)})
		if ok && pick == 0 {
			return no, int(random.at)
		}
	}
	return result, -1
}

// reason says why a condition cannot be judged.
func (c *cond) reason() string {
	switch {
	case c.kind == condSet && c.set == nil:
		return "the set " + c.match.(iptsave.Set).Name + " is not in the dump"
	case c.kind == condSet:
		return "the set " + c.set.name + " cannot be asked: " + c.set.problem()
	case c.kind == condSocket:
		return "which sockets are open is not known"
	case c.kind == condPhysDev:
		return "whether a bridge's port was involved is not known"
	}
	if _, recent := c.match.(iptsave.Recent); recent {
		return "whether the address was seen lately is not in a dump"
	}
	return "the condition " + c.match.String() + " is not modelled"
}
