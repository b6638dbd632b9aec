// SPDX-License-Identifier: Apache-2.0

package story

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/ambient22/ambient22/internal/dump/iproute"
	"github.com/ambient22/ambient22/internal/trace"
)

// The tunnel devices of the legacy path, on the node and in the ztunnel's pod.
const (
	inDevice      = "istioin"
	outDevice     = "istioout"
	podInDevice   = "pistioin"
	podOutDevice  = "pistioout"
	outerPort     = 49153 // stands for the hash that the kernel makes a tunnel's source port of
	maxNamespaces = 16    // on one packet's way; more is a loop
)

// fate is how a packet's way ended.
type fate uint8

const (
	lost    fate = iota // dropped, refused, without a route
	arrived             // at a socket of a namespace that is there
	inPod               // in a pod whose namespace is not in the dump
	outside             // it left for somewhere that no dump tells of
	unclear             // the dumps don't say
)

// arrival is where a packet's way ended.
type arrival struct {
	fate   fate
	space  *space // the last namespace that it was in
	packet trace.Packet
	// entered is the packet as it came into that namespace.
	entered trace.Packet
	// socket is TPROXY's, or the packet's own destination.
	socket  netip.AddrPort
	device  string // by which it left last, or came in
	reason  string // of lost, outside, unclear: a sentence
	walk    trace.Verdict
	through []string // the tunnel devices that carried it
}

// traveller follows packets through the namespaces of all nodes, and notes every
// step as a stop of the current leg.
type traveller struct {
	m      *Mesh
	s      *Story
	kernel Kernel // nil: the dumps alone tell
	conns  map[*space]*trace.Conns
	leg    *Leg // nil: nothing is noted
	hops   int
	way    []string // tunnel devices on this packet's way
	// recording notes the steps of the call's first packet in seen.
	recording bool
	seen      []seenStep
}

func (t *traveller) table(s *space) *trace.Conns {
	c := t.conns[s]
	if c == nil {
		c = trace.NewConns(s.ns.Conns...)
		t.conns[s] = c
	}
	return c
}

// doubt notes something that the dumps don't say, once.
func (t *traveller) doubt(text string) {
	for _, d := range t.s.Doubts {
		if d == text {
			return
		}
	}
	t.s.Doubts = append(t.s.Doubts, text)
}

// begin starts a leg.
func (t *traveller) begin(id, title, packet string, answer bool) {
	t.s.Legs = append(t.s.Legs, Leg{ID: id, Title: title, Packet: packet, Answer: answer})
	t.leg = &t.s.Legs[len(t.s.Legs)-1]
}

// stop adds a stop to the leg.
func (t *traveller) stop(s Stop) {
	if t.leg == nil {
		return
	}
	s.ID = t.leg.ID + "." + strconv.Itoa(len(t.leg.Stops)+1)
	t.leg.Stops = append(t.leg.Stops, s)
}

// origin is where a packet begins: sent in a namespace, or received on a host from
// a pod whose namespace is not in the dump.
type origin struct {
	space *space
	in    string // received by this device; "" sent here
	pod   string // whose namespace is missing
}

// carry follows a packet from its origin to its end.
func (t *traveller) carry(o origin, p trace.Packet) arrival {
	t.hops, t.way = 0, nil
	a := t.travel(o, p)
	a.through = t.way
	return a
}

func (t *traveller) travel(o origin, p trace.Packet) arrival {
	sp, in := o.space, o.in
	for {
		if t.hops++; t.hops > maxNamespaces {
			return arrival{fate: lost, space: sp, packet: p, reason: "The packet goes round in a circle."}
		}
		w := trace.Walk{Record: true}
		p.In = in
		p = t.tunnelAsSeen(sp, p)
		if in == "" {
			sp.Send(p, t.table(sp), &w)
		} else {
			sp.Receive(p, t.table(sp), &w)
		}
		if !t.observe(sp, p, &w) {
			return t.unseen(sp, p)
		}
		t.note(sp, in, &w)
		for _, d := range w.Doubt {
			t.doubt(fmt.Sprintf("%s: %s", sp.label(), d))
		}
		if w.Verdict != trace.Sent {
			a := t.ended(sp, in, &w)
			a.entered = p
			return a
		}
		next, ok := t.leave(sp, &w)
		if !ok {
			return next.arrival
		}
		sp, in, p = next.space, next.in, next.packet
	}
}

// label is the namespace for people.
func (s *space) label() string {
	switch s.kind {
	case hostSpace:
		if strings.HasPrefix(s.node.name(), "node") {
			return s.node.name()
		}
		return "node " + s.node.name()
	case ztunnelSpace:
		if s.node.proxy != nil && s.node.proxy.Node.Pod != "" {
			return s.node.proxy.Node.Pod
		}
		return "the ztunnel of " + s.node.name()
	}
	return short(s.pod)
}

// within is the namespace with its preposition.
func (s *space) within() string {
	switch s.kind {
	case hostSpace:
		return "on " + s.label()
	case ztunnelSpace:
		if s.label() == "the ztunnel of "+s.node.name() {
			return "in the pod of " + s.label()
		}
		return "in the pod " + s.label()
	}
	return "in the pod " + s.pod
}

// ended is the arrival of a walk that did not leave its namespace.
func (t *traveller) ended(sp *space, in string, w *trace.Walk) arrival {
	a := arrival{fate: lost, space: sp, packet: w.Packet, device: in, walk: w.Verdict}
	switch w.Verdict {
	case trace.Delivered:
		a.fate, a.socket = arrived, w.Packet.Dst
		if w.Socket.IsValid() {
			a.socket = w.Socket
		}
		return a
	case trace.Unknown:
		a.fate = unclear
		a.reason = fmt.Sprintf("The tracer can't follow it further %s", sp.within())
		if n := len(w.Doubt); n > 0 {
			a.reason += ": " + w.Doubt[n-1]
		}
		a.reason = sentence(a.reason)
	default:
		a.reason = t.lostText(sp, w)
	}
	t.stop(Stop{Place: sp.place(), Kind: "verdict", Matched: true, Decisive: true, Text: a.reason, Mark: hex(w.Packet.Mark)})
	return a
}

func (t *traveller) lostText(sp *space, w *trace.Walk) string {
	where := sp.within()
	if text := sp.lostInZtunnel(w); text != "" {
		return text
	}
	because := ""
	if n := len(w.Steps); n > 0 {
		last := &w.Steps[n-1]
		switch why := last.Why(); {
		case last.Rule != nil && last.Matched:
			because = " by a rule of chain " + last.Chain + ": " + last.Rule.String()
		case why != "":
			because = ": " + why
		}
	}
	switch w.Verdict {
	case trace.Dropped:
		return sentence("It is dropped " + where + because)
	case trace.Rejected:
		return sentence("It is refused " + where + because)
	case trace.Unroutable:
		if n := len(w.Steps); n > 0 && w.Steps[n-1].Kind == trace.StepRoute && w.Steps[n-1].Route == nil {
			because = fmt.Sprintf(": none of the tables that the ip rules ask leads to %s", w.Packet.Dst.Addr())
		}
		return sentence("There is no route for it " + where + because)
	case trace.Martian:
		return sentence("The kernel refuses its source address " + where + because)
	}
	return sentence("It ends " + where + because)
}

// elsewhere is the pod with that address on a node whose dump is not there, or nil.
func (m *Mesh) elsewhere(a netip.Addr) *entity {
	for i, e := range m.names {
		if e.ip == a && e.node != "" && m.nodeCalled(e.node) == nil {
			return &m.names[i]
		}
	}
	return nil
}

// unseen tells that no dump is of the node that has the address.
func (m *Mesh) unseen(a netip.Addr) bool {
	return m.elsewhere(a) != nil || m.owner(a) == nil && m.holder(a) == nil
}

// peerNode is another node whose host has the next hop's address.
func (m *Mesh) peerNode(from *space, next netip.Addr) *node {
	if n := m.holder(next); n != nil && n != from.node {
		return n
	}
	return nil
}

// otherOwner is another node with the pod of that address.
func (m *Mesh) otherOwner(from *space, dst netip.Addr) *node {
	n := m.owner(dst)
	if n == nil {
		n = m.holder(dst)
	}
	if n != nil && n != from.node && n.host != nil {
		return n
	}
	return nil
}

// podAt is the pod with that address, or nil.
func (m *Mesh) podAt(a netip.Addr) *entity {
	for i, e := range m.names {
		if e.kind == podEntity && e.ip == a && e.name != "" {
			return &m.names[i]
		}
	}
	return nil
}

// podName is a pod's name by its address.
func (m *Mesh) podName(a netip.Addr) string {
	if e := m.podAt(a); e != nil {
		return e.full()
	}
	return a.String()
}

func hasFlags(l *iproute.Link) bool { return len(l.Flags) > 0 }

func hasFlag(l *iproute.Link, flag string) bool {
	for _, f := range l.Flags {
		if f == flag {
			return true
		}
	}
	return false
}
