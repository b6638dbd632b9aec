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
	// Walk fills seen with the packet's way through the namespace; false says that
	// it was not seen there. predicted is the way that the dump says.
	Walk(at Where, p trace.Packet, predicted, seen *trace.Walk) bool
}

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

// observed is a walk as the kernel saw it, or the predicted one.
func (t *traveller) observed(sp *space, p trace.Packet, predicted trace.Walk) trace.Walk {
	if t.kernel == nil {
		return predicted
	}
	seen := trace.Walk{Record: true}
	if t.kernel.Walk(sp.where(), p, &predicted, &seen) {
		return seen
	}
	t.doubt(fmt.Sprintf("%s was not seen in the %s: its way there is what the dump says.", packetText(p), sp.label()))
	return predicted
}
