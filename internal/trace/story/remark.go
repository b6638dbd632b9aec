// SPDX-License-Identifier: Apache-2.0

package story

import (
	"fmt"
	"slices"
	"strings"
)

// remark notes something that is odd and does no harm to this packet, once.
func (t *traveller) remark(text string) {
	if !slices.Contains(t.s.Remarks, text) {
		t.s.Remarks = append(t.s.Remarks, text)
	}
}

// remarkWay compares the way of an answer that arrived with the one that it should
// take: what came through a tunnel is answered through it, and what a ztunnel sends
// with a pod's address is answered straight to the ztunnel.
func (t *teller) remarkWay(c *connection, a arrival) {
	came, back := hostTunnel(c.arrival.through), hostTunnel(a.through)
	if c.proxy == nil {
		came = ""
	}
	switch {
	case came == back:
	case came != "" && back == "":
		mark := c.proxy.AnswerMark
		t.remark(fmt.Sprintf("The answer to %s should go back through %s, as mark %#x and its table in the ztunnel's pod want it, and comes by another way. It arrives all the same.", c.name, came, mark))
	case c.packet.Mark == originalSrcMark:
		t.remark(fmt.Sprintf("The answer to what the ztunnel sent with the address %s should come to the ztunnel by mark 0x40 and table 102, and comes through %s instead. It arrives all the same.", c.packet.Src.Addr(), back))
	default:
		t.remark(fmt.Sprintf("The answer to %s comes through %s, and no tunnel should take it. It arrives all the same.", c.name, back))
	}
}

// hostTunnel is the pair of tunnel devices that a packet went through, named as the
// host does; "" for none. While a ztunnel drains, its pair has a number.
func hostTunnel(devices []string) string {
	for _, d := range devices {
		switch {
		case strings.HasPrefix(d, podOutDevice), strings.HasPrefix(d, outDevice):
			return outDevice
		case strings.HasPrefix(d, podInDevice), strings.HasPrefix(d, inDevice):
			return inDevice
		}
	}
	return ""
}

// changedByNode tells that the node changed the destination of a captured call
// before the ztunnel saw it.
func (t *teller) changedByNode(c *connection) bool {
	return t.ends.to.kind == serviceEntity && c.arrival.fate == arrived && c.proxy != nil && intoTunnel(c) && c.original != t.ends.dst
}

func (t *teller) natRemark(c *connection) string {
	return fmt.Sprintf("The node had changed its destination from %s to %s before the ztunnel saw it, so the ztunnel does not know which service was called. The first rule of nat/PREROUTING should have accepted it.", t.ends.dst, c.original)
}
