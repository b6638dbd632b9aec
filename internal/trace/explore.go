// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"fmt"
	"math"
	"net/netip"
)

// follow makes a walk. Where it comes to an open choice it tries all ways: if all
// end alike, the choice does not matter and the walk goes on; else it ends there.
func (s *Space) follow(p Packet, c *Conns, w *Walk, path func(*run)) {
	if w.run == nil {
		w.run = &run{}
	}
	r := w.run
	r.s, r.w, r.c = s, w, c
	if c == nil {
		if r.own == nil {
			r.own = NewConns()
		}
		r.own.clear()
		r.c = r.own
	}
	r.prefix, r.settled = r.prefix[:0], r.settled[:0]
	r.walk(p, path, w.Record)
	for budget := maxWalks; r.hasOpen; {
		open := r.open
		if !r.alike(p, path, open, &budget) {
			r.walk(p, path, w.Record)
			r.doubt(open.question())
			r.verdict = Unknown
			break
		}
		r.prefix = append(r.prefix, 0)
		r.settled = append(r.settled, open.question()+"; it makes no difference here")
		r.walk(p, path, w.Record)
	}
	for _, text := range r.settled {
		r.doubt(text)
	}
	if !r.hasOpen && c != nil {
		r.commit()
	}
	r.finish()
}

// maxWalks bounds how many ways are tried for one packet.
const maxWalks = 256

// walk makes the walk from its beginning with the ways in prefix.
func (r *run) walk(p Packet, path func(*run), record bool) {
	h, ok := packetHeader(p)
	w := r.w
	w.Steps, w.Doubt = w.Steps[:0], w.Doubt[:0]
	r.state = state{h: h, pub: p}
	r.next, r.record, r.blind, r.counted = 0, record, false, r.counted[:0]
	if !ok {
		r.unknown("only IPv4 is followed")
		return
	}
	for _, text := range r.s.doubts {
		r.doubt(text)
	}
	path(r)
}

// finish tells the caller how the walk ended.
func (r *run) finish() {
	w := r.w
	w.Verdict, w.Packet, w.Connmark = r.verdict, r.pub, r.connmark()
	w.Out, w.Via, w.Socket, w.State = "", netip.Addr{}, netip.AddrPort{}, r.trackState()
	switch r.verdict {
	case Sent:
		w.Out, w.Via = r.out, r.via
	case Delivered:
		w.Socket = r.target
	}
}

// outcome is what two ways are compared by.
type outcome struct {
	verdict  Verdict
	packet   Packet
	connmark uint32
	out      string
	via      netip.Addr
	target   netip.AddrPort
	reply    tuple
	// left is the connection as later packets find it, also after one that is dropped.
	left   conn
	killed bool
}

func (r *run) outcome() outcome {
	o := outcome{verdict: r.verdict}
	if r.verdict == Sent || r.verdict == Delivered {
		o.packet, o.connmark, o.out, o.via, o.target, o.reply = r.pub, r.connmark(), r.out, r.via, r.target, r.ct.reply
	}
	if r.tracked && (r.entry != nil || r.ct.confirmed) {
		o.left, o.killed = r.ct, r.killed
	}
	return o
}

// alike tries every way of an open choice and, below it, of those that follow.
func (r *run) alike(p Packet, path func(*run), open Choice, budget *int) bool {
	prefix := append([]int(nil), r.prefix...)
	var first *outcome
	same := r.tryAll(p, path, prefix, open, budget, &first)
	r.prefix = append(r.prefix[:0], prefix...)
	return same
}

func (r *run) tryAll(p Packet, path func(*run), prefix []int, open Choice, budget *int, first **outcome) bool {
	for way := range open.N {
		if *budget--; *budget < 0 {
			return false
		}
		ways := append(append([]int(nil), prefix...), way)
		r.prefix = append(r.prefix[:0], ways...)
		r.walk(p, path, false)
		if r.hasOpen {
			if !r.tryAll(p, path, ways, r.open, budget, first) {
				return false
			}
			continue
		}
		o := r.outcome()
		if o.verdict == Unknown {
			return false
		}
		if *first == nil {
			*first = &o
		} else if **first != o {
			return false
		}
	}
	return true
}

// question says what an open choice is about.
func (c *Choice) question() string {
	switch c.Kind {
	case ChoiceRandom:
		return "the rule matches at random: " + c.Rule.String()
	case ChoicePath:
		return fmt.Sprintf("the route has %d next hops, and a hash decides: %s", c.N, c.Route.String())
	case ChoiceRange:
		return "the rule's NAT has several addresses: " + c.Rule.String()
	case ChoiceOrder:
		return "both variants of iptables have rules here, and their order is not in a dump"
	case ChoiceUnknown:
		if c.IPRule != nil {
			return "a condition of this ip rule is not modelled: " + c.IPRule.String()
		}
	}
	return c.Reason + ": " + c.Rule.String()
}

// taken says which way somebody chose.
func (c *Choice) taken(pick int) string {
	switch c.Kind {
	case ChoiceRandom:
		ways := math.Round(1 / max(c.Probability, 1e-9))
		if pick == 1 && ways >= 2 {
			return fmt.Sprintf("one of %.0f ways is taken, by chance: %s", ways, c.Rule.String())
		}
	case ChoiceRecent:
		if pick == 0 {
			return "the address is taken as not seen lately: " + c.Rule.String()
		}
	case ChoicePath:
		return fmt.Sprintf("of %d next hops the one at place %d is taken: %s", c.N, pick+1, c.Route.String())
	case ChoiceRange:
		return fmt.Sprintf("of %d addresses the one at place %d is taken: %s", c.N, pick+1, c.Rule.String())
	}
	if pick == 1 {
		return c.question() + "; the second way is taken"
	}
	return c.question() + "; the first way is taken"
}
