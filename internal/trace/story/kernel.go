// SPDX-License-Identifier: Apache-2.0

package story

import (
	"fmt"

	"github.com/ambient22/ambient22/internal/dump"
	"github.com/ambient22/ambient22/internal/trace"
)

// Kernel is what a running kernel did with the packets of a call. With one, a story
// is told of what was seen, and the dumps only name it.
type Kernel interface {
	// Begin is the packet that opened a connection from the namespace as it was
	// seen: with the client's real port. p is what the dumps expect.
	Begin(at Where, p trace.Packet) trace.Packet
	// Tunnel is a tunnel's packet with the source port that the kernel gave it; other
	// packets stay as they are.
	Tunnel(at Where, p trace.Packet) trace.Packet
	// Walk fills seen with the packet's way through the namespace. predicted is the
	// way that the dump says.
	Walk(at Where, p trace.Packet, predicted, seen *trace.Walk) Sight
}

// Sight is whether a kernel saw a packet.
type Sight uint8

// The sights.
const (
	Unwatched Sight = iota // nobody looked: the dump tells
	Missed                 // it was looked for, and did not come
	Seen
)

// Where is a network namespace of a story.
type Where struct {
	Node  string
	Netns *dump.Netns
}

func (s *space) where() Where { return Where{s.node.name(), s.ns} }

// begun is a connection's first packet, as the kernel saw it where there is one.
func (t *teller) begun(c *connection) trace.Packet {
	if t.kernel == nil {
		return c.packet
	}
	return t.kernel.Begin(c.from.space.where(), c.packet)
}

// tunnelAsSeen is a packet before its way through a namespace.
func (t *traveller) tunnelAsSeen(sp *space, p trace.Packet) trace.Packet {
	if t.kernel == nil || p.Protocol != protocolUDP {
		return p
	}
	return t.kernel.Tunnel(sp.where(), p)
}

// observe puts what the kernel saw in the place of a predicted walk. It gives false for
// a packet that did not come.
func (t *traveller) observe(sp *space, p trace.Packet, w *trace.Walk) bool {
	if t.kernel == nil {
		return true
	}
	seen := trace.Walk{Record: true}
	switch t.kernel.Walk(sp.where(), p, w, &seen) {
	case Seen:
		*w = seen
	case Missed:
		return false
	default:
		t.doubt(fmt.Sprintf("Nobody looked for %s in the %s: its way there is what the dump says.", packetText(p), sp.label()))
	}
	return true
}

// unseen is the end of a packet that did not come where it should.
func (t *traveller) unseen(sp *space, p trace.Packet) arrival {
	a := arrival{fate: lost, space: sp, packet: p, entered: p, device: p.In}
	a.reason = fmt.Sprintf("It was not seen in the %s.", sp.label())
	t.stop(Stop{Place: sp.place(), Kind: "verdict", Matched: true, Decisive: true, Text: a.reason})
	return a
}
