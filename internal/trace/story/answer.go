// SPDX-License-Identifier: Apache-2.0

package story

import (
	"fmt"
	"strings"

	"github.com/ambient22/ambient22/internal/trace"
)

// answer follows the connection's answer, and the packet that completes the
// handshake.
func (t *teller) answer(c *connection) {
	p := trace.Packet{Protocol: c.packet.Protocol, Src: c.arrival.packet.Dst, Dst: c.arrival.packet.Src}
	if p.Protocol == protocolTCP {
		p.TCPFlags = flagSYN | flagACK
	}
	if c.proxy != nil {
		p.Mark = c.proxy.AnswerMark
	}
	o := origin{space: c.arrival.space}
	if c.arrival.fate == inPod {
		o.in = c.arrival.device
	}
	id := fmt.Sprint(c.number, "-answer")
	saved := len(t.s.Legs)
	known := c.broken
	t.begin(id, t.answerTitle(c), packetText(p), true)
	a := t.carry(o, p)
	missed := t.missedAnswer(c, a)
	if missed == "" && a.fate == arrived {
		t.stop(Stop{Place: a.space.place(), Kind: "socket", Matched: true, Decisive: true, Text: fmt.Sprintf("The socket that called %s takes it: this is the answer it waits for.", c.packet.Dst)})
	}
	if c.broken == "" && missed != "" {
		c.lostSight = a.fate == unclear || a.fate == outside && t.m.unseen(a.packet.Dst.Addr())
	}
	c.broken = firstOf(c.broken, missed)
	if missed == "" {
		t.remarkWay(c, a)
	}
	if !t.q.Answer && c.broken == known {
		t.s.Legs = t.s.Legs[:saved]
	}
	if c.broken == "" && c.packet.Protocol == protocolTCP {
		t.third(c)
	}
	t.leg = nil
}

func firstOf(texts ...string) string {
	for _, t := range texts {
		if t != "" {
			return t
		}
	}
	return ""
}

// missedAnswer says why an answer did not reach who asked; "" where it did.
func (t *teller) missedAnswer(c *connection, a arrival) string {
	switch {
	case a.fate == lost, a.fate == unclear:
		return "The answer is lost: " + lower(a.reason)
	case a.packet.Dst != c.packet.Src:
		return fmt.Sprintf("The answer is lost: it goes to %s and not to %s.", a.packet.Dst, c.packet.Src)
	case a.packet.Src != c.packet.Dst:
		return fmt.Sprintf("The answer is lost: it comes from %s, and %s called %s. Nobody there waits for such a packet.", a.packet.Src, c.name, c.packet.Dst)
	case c.from.in == "" && (a.fate != arrived || a.space != c.from.space):
		return fmt.Sprintf("The answer is lost: it does not come back to %s, but %s", c.name, lower(a.wayOut()))
	case c.from.in != "" && c.from.pod != "" && a.fate != inPod:
		return fmt.Sprintf("The answer is lost: it does not come back to %s, but %s", c.name, lower(a.wayOut()))
	}
	return ""
}

// wayOut says where a packet went that went astray.
func (a arrival) wayOut() string {
	if a.fate == arrived {
		return fmt.Sprintf("Ends %s, at port %d.", a.space.within(), a.socket.Port())
	}
	if a.fate == inPod {
		return fmt.Sprintf("Ends in the pod behind %s, at port %d.", a.device, a.socket.Port())
	}
	return a.reason
}

func lower(text string) string {
	if text == "" || strings.HasPrefix(text, "TPROXY") || strings.HasPrefix(text, "TLS") {
		return text
	}
	return strings.ToLower(text[:1]) + text[1:]
}

// third is the packet that completes TCP's handshake. It may meet other rules than
// the first, because the connection is known by now. It is told only where it goes
// astray.
func (t *teller) third(c *connection) {
	p := c.packet
	p.TCPFlags = flagACK
	saved := len(t.s.Legs)
	t.begin(fmt.Sprint(c.number, "-ack"), fmt.Sprintf("%s again, now that the connection stands", c.name), packetText(p), false)
	a := t.carry(c.from, p)
	if a.fate == c.arrival.fate && a.space == c.arrival.space && a.packet.Dst == c.arrival.packet.Dst && a.packet.Src == c.arrival.packet.Src {
		t.s.Legs = t.s.Legs[:saved]
		return
	}
	c.broken = fmt.Sprintf("The first packet arrives, but the next one of the same connection goes another way: %s", lower(firstOf(a.reason, a.wayOut(), "it ends elsewhere.")))
}
