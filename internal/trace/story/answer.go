// SPDX-License-Identifier: Apache-2.0

package story

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/ambient22/ambient22/internal/trace"
	"github.com/ambient22/ambient22/internal/trace/story/proxyview"
)

// answer follows the connection's answer, and the packet that completes the
// handshake.
func (t *teller) answer(c *connection) {
	p := trace.Packet{Protocol: c.packet.Protocol, Src: c.arrival.packet.Dst, Dst: c.arrival.packet.Src}
	if p.Protocol == protocolTCP {
		p.TCPFlags = flagSYN | flagACK
	}
	if c.refused() {
		p.TCPFlags = flagRST | flagACK
	} else if c.proxy != nil {
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
	switch {
	case missed == "" && a.fate == arrived && c.refused():
		t.answerStop(a, fmt.Sprintf("The socket that called %s takes it, and learns that the call is refused.", c.packet.Dst))
	case missed == "" && a.fate == arrived:
		t.answerStop(a, fmt.Sprintf("The socket that called %s takes it: this is the answer it waits for.", c.packet.Dst))
	case missed != "" && (a.fate == arrived || a.fate == inPod):
		t.stop(Stop{Place: a.space.place(), Kind: "verdict", Matched: true, Decisive: true, Text: missed})
	}
	unseen := a.fate == unclear || a.fate == outside && t.m.unseen(a.packet.Dst.Addr())
	switch {
	case missed == "":
	case c.broken == "":
		c.lostSight = unseen
		t.breaks(c, missed)
		c.answerLost = true
	case c.proxy != nil && !unseen && !c.refused():
		// Without its answer the handshake does not end, and the proxy never sees the call.
		t.breaks(c, missed)
		c.answerLost = true
	}
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

// answerStop is the socket that takes the answer.
func (t *teller) answerStop(a arrival, text string) {
	t.stop(Stop{Place: a.space.place(), Kind: "socket", Matched: true, Decisive: true, Text: text})
}

// refused tells that nothing listens where the connection arrives, so that the
// kernel answers with a reset.
func (c *connection) refused() bool {
	return c.proxy != nil && c.proxy.End == proxyview.NoListener && c.packet.Protocol == protocolTCP
}

// breaks notes why a connection never stands, at the leg's last step.
func (t *teller) breaks(c *connection, why string) {
	c.broken, c.stop = why, ""
	if t.leg != nil && len(t.leg.Stops) > 0 {
		c.stop = t.leg.Stops[len(t.leg.Stops)-1].ID
	}
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
	c.broken = fmt.Sprintf("The first packet arrives, but the next one of the same connection goes another way: %s", lower(cmp.Or(a.reason, a.wayOut(), "it ends elsewhere.")))
}
