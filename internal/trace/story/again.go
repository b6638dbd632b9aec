// SPDX-License-Identifier: Apache-2.0

package story

import (
	"fmt"

	"github.com/ambient22/ambient22/internal/trace"
	"github.com/ambient22/ambient22/internal/trace/story/proxyview"
)

// again follows the SYN that the caller sends once more after a second without an
// answer (RFC 6298 section 2.1). The first one has left its connection behind in the
// namespaces that it passed, with a mark perhaps, so that the second may take another
// way. The story is about the first; a remark says it where the second gets through.
func (t *teller) again(c *connection) {
	lostOnTheWay := c.arrival.fate == lost && c.arrival.walk != trace.Rejected
	if t.kernel != nil || c.packet.Protocol != protocolTCP || !lostOnTheWay && !c.answerLost {
		return
	}
	doubts := len(t.s.Doubts)
	defer func() { t.s.Doubts = t.s.Doubts[:doubts] }()
	t.leg = nil
	a := t.carry(c.from, c.packet)
	if a.fate != arrived && a.fate != inPod {
		return
	}
	back := trace.Packet{Protocol: protocolTCP, TCPFlags: flagSYN | flagACK, Src: a.packet.Dst, Dst: a.packet.Src}
	if a.fate == arrived && a.space.kind == ztunnelSpace {
		mark, listens := t.answerMark(c, a)
		if !listens {
			return
		}
		back.Mark = mark
	}
	o := origin{space: a.space}
	if a.fate == inPod {
		o.in = a.device
	}
	if t.missedAnswer(c, t.carry(o, back)) != "" {
		return
	}
	t.s.Outcome.Again = true
	where := a.space.within()
	if a.fate == inPod {
		where = "in the pod behind " + a.device
	}
	t.remark(fmt.Sprintf("The first packet of %s is lost, or its answer is. A second later it is sent again, finds its connection known and marked, and takes another way: it arrives %s, at port %d, and is answered. A call that waits so long may get through.", c.name, where, a.socket.Port()))
}

// answerMark is the mark of what the ztunnel answers to a connection that arrives at
// a; listens is false where it has no listener there.
func (t *teller) answerMark(c *connection, a arrival) (mark uint32, listens bool) {
	proxy := a.space.node.proxy
	if proxy == nil {
		return 0, false
	}
	r := proxy.Accept(proxyview.Conn{Socket: a.socket, Remote: a.packet.Src, Local: a.packet.Dst, Hello: c.hello, Tunnel: c.tunnel})
	return r.AnswerMark, r.End != proxyview.NoListener
}
