// SPDX-License-Identifier: Apache-2.0

package story

import (
	"fmt"
	"strings"

	"github.com/ambient22/ambient22/internal/dump/iproute"
	"github.com/ambient22/ambient22/internal/dump/iptsave"
	"github.com/ambient22/ambient22/internal/trace"
)

// tunnelUDP is the port of the tunnel's packets.
const tunnelUDP = 6081

// mainPriority is the ip rule of the main table.
const mainPriority = 32766

// conditions is what a rule asks, as far as sentences go.
type conditions struct {
	in, notIn, notSource, source, set, comment string
	udp, tcp                                   bool
	port                                       uint16
	mark, connmark                             uint32
	hasMark, hasConnmark                       bool
	notDest                                    bool
}

func conditionsOf(r *iptsave.Rule) conditions {
	var c conditions
	for _, m := range r.Matches {
		switch m := m.(type) {
		case iptsave.Protocol:
			c.tcp, c.udp = m.Number == protocolTCP && !m.Not, m.Number == protocolUDP && !m.Not
		case iptsave.Source:
			if m.Not {
				c.notSource = m.Addr.String()
			} else {
				c.source = m.Addr.String()
			}
		case iptsave.Destination:
			c.notDest = m.Not
		case iptsave.InInterface:
			if m.Not {
				c.notIn = m.Name
			} else {
				c.in = m.Name
			}
		case iptsave.Ports:
			if m.Dest != nil && m.Dest.Low == m.Dest.High && !m.NotDest {
				c.port = m.Dest.Low
			}
		case iptsave.Mark:
			c.hasMark, c.mark = !m.Not, m.Value
		case iptsave.Connmark:
			c.hasConnmark, c.connmark = !m.Not, m.Value
		case iptsave.Set:
			c.set = m.Name
		case iptsave.Comment:
			c.comment = m.Text
		}
	}
	return c
}

// explainRule says why a rule that matched is there, for the rules of this data
// path, and what it does, for all others.
func explainRule(sp *space, st *trace.Step) string {
	r := st.Rule
	c := conditionsOf(r)
	var text string
	switch {
	case sp.kind == hostSpace && strings.HasPrefix(r.Chain, "ztunnel-"):
		text = explainNodeRule(st, c)
	case sp.kind == ztunnelSpace:
		text = explainPodRule(r, c)
	}
	if text == "" {
		text = effect(r, c)
	}
	return text
}

func explainNodeRule(st *trace.Step, c conditions) string {
	r := st.Rule
	outer := st.Packet.Protocol == protocolUDP && st.Packet.Dst.Port() == tunnelUDP
	ret := isReturn(r)
	op, sets := r.Target.(iptsave.SetMark)
	switch t := r.Target.(type) {
	case iptsave.SaveMark:
		return fmt.Sprintf("The connection remembers the mark (%#x), so that its later packets and its answers are treated alike.", t.NFMask)
	case iptsave.Verdict:
		if st.Table == "nat" && t.Name == "ACCEPT" && c.mark == captureMark {
			if strings.HasSuffix(r.Chain, "POSTROUTING") {
				return "A captured packet keeps its own source address: nobody may masquerade it."
			}
			return "A captured packet is accepted here, before kube-proxy could turn the service's address into a pod's: the ztunnel has to see which service was called."
		}
	}
	tunnel := c.in != "" && (strings.HasPrefix(c.in, inDevice) || strings.HasPrefix(c.in, outDevice))
	switch {
	case tunnel && sets:
		return "What comes out of the tunnel has been through the ztunnel already: the skip mark keeps it from being captured a second time."
	case tunnel && ret, c.hasMark && c.mark&skipMark != 0 && ret:
		return "It carries the skip mark: no further rule of this chain is for it."
	case c.hasMark && c.mark == returnMark && ret:
		return "It is an answer on its way to the ztunnel: no further rule of this chain is for it."
	case c.udp && c.port != 0 && ret:
		return "The tunnel's own packet leaves the chain before anything is marked: the outer packet is nobody's call."
	case c.hasConnmark && c.connmark == connSkipMark && sets:
		return "This connection was passed by at its first packet (its conntrack mark is 0x220), so this packet is passed by, too."
	case c.hasConnmark && c.connmark == proxyMark && sets && op.Value == returnMark:
		return "The ztunnel opened this connection with a pod's address (its conntrack mark is 0x210), and this packet does not come from the ztunnel: it is an answer. Mark 0x40 leads it to the ztunnel, although it is addressed to the pod."
	case c.in != "" && c.notSource != "" && sets:
		return "It comes from the ztunnel, but with an address that is not the ztunnel's: a connection in a pod's name. Mark 0x210 lets it pass, and its answers will be known by it."
	case c.in != "" && sets && op.Value == connSkipMark:
		return "It comes from the ztunnel itself, which is never captured."
	case c.udp && sets:
		return "UDP is not captured: it is passed by."
	case c.set != "" && sets && op.Value == captureMark:
		return fmt.Sprintf("This rule captures: TCP whose source is in the set %s, a pod of the mesh. Mark 0x100 leads it to the ztunnel.", c.set)
	case strings.HasSuffix(r.Chain, "OUTPUT") && sets && outer:
		return "The tunnel's packet counts as the node's own, which is never captured: the skip mark takes the place of the mark of the packet inside, as far as the outside goes."
	case strings.HasSuffix(r.Chain, "OUTPUT") && sets && op.Value == connSkipMark:
		return "The node itself sends this (a kubelet's probe, for example). It goes past the ztunnel, and so do its answers."
	case strings.HasSuffix(r.Chain, "OUTPUT") && sets && op.Value == noTableMark:
		return "The node itself sends this: half of the skip mark keeps it out of the inbound table 100."
	}
	return ""
}

func explainPodRule(r *iptsave.Rule, c conditions) string {
	switch t := r.Target.(type) {
	case iptsave.TPROXY:
		switch {
		case t.Port == 15001:
			return fmt.Sprintf("What the node's pods send comes out of %s. TPROXY gives it to the outbound listener on port 15001 without changing its addresses, and mark %#x makes it local.", c.in, t.Value)
		case t.Port == 15008:
			return fmt.Sprintf("A tunnel (port 15008) to one of the node's pods: TPROXY gives it to the HBONE listener on port 15008, and mark %#x makes it local.", t.Value)
		case t.Port == 15006:
			return fmt.Sprintf("Plain TCP to one of the node's pods: TPROXY gives it to the plaintext listener on port 15006, and mark %#x makes it local.", t.Value)
		}
		return fmt.Sprintf("TPROXY gives it to the socket on port %d, and mark %#x makes it local.", t.Port, t.Value)
	case iptsave.SetMark:
		if t.Value == podReturnMark && c.notDest {
			return "It came in by eth0 for somebody else's address: an answer to a connection that the ztunnel opened with a pod's address. Mark 0x4d3 makes it local."
		}
	case iptsave.NAT:
		if t.Kind == "REDIRECT" && c.port == 15088 {
			return "Port 15088 stands for a tunnel to a pod of this very node: it stays in the pod, and ends at the HBONE listener on port 15008."
		}
	}
	return ""
}

func isReturn(r *iptsave.Rule) bool {
	v, ok := r.Target.(iptsave.Verdict)
	return ok && v.Name == "RETURN"
}

// effect is what any rule does.
func effect(r *iptsave.Rule, c conditions) string {
	text := bareEffect(r)
	if c.comment != "" {
		text = strings.TrimSuffix(text, ".") + fmt.Sprintf(" (%q).", c.comment)
	}
	return text
}

func bareEffect(r *iptsave.Rule) string {
	switch t := r.Target.(type) {
	case nil:
		return "The rule only counts."
	case iptsave.Verdict:
		switch t.Name {
		case "ACCEPT":
			return "The packet is accepted: the table's other rules at this hook are not asked."
		case "DROP":
			return "The packet is dropped."
		case "RETURN":
			return fmt.Sprintf("Chain %s is left.", r.Chain)
		}
		return t.Name + "."
	case iptsave.Jump:
		if t.Goto {
			return fmt.Sprintf("It goes on in chain %s, and does not come back.", t.Chain)
		}
		return fmt.Sprintf("It goes through chain %s.", t.Chain)
	case iptsave.SetMark:
		return "The packet's mark is changed."
	case iptsave.SetConnmark:
		return "The connection's mark is changed."
	case iptsave.SaveMark:
		return "The connection takes over the packet's mark."
	case iptsave.RestoreMark:
		return "The packet takes over the connection's mark."
	case iptsave.TPROXY:
		return fmt.Sprintf("TPROXY gives it to a local socket on port %d.", t.Port)
	case iptsave.NAT:
		return natEffect(t)
	case iptsave.Log:
		return "It is logged, and goes on."
	case iptsave.Reject:
		return "The packet is refused, and its sender told so."
	}
	return "The rule applies: " + r.Target.String() + "."
}

func natEffect(t iptsave.NAT) string {
	switch t.Kind {
	case "DNAT":
		return fmt.Sprintf("The connection's destination becomes %s.", t.To)
	case "SNAT":
		return fmt.Sprintf("The connection's source becomes %s.", t.To)
	case "MASQUERADE":
		return "The connection's source becomes the address of the device it leaves by."
	case "REDIRECT":
		if t.To == "" {
			return "The connection is redirected to this machine."
		}
		return fmt.Sprintf("The connection is redirected to port %s of this machine.", t.To)
	}
	return t.Kind + " " + t.To + "."
}

// explainIPRule says what an ip rule that matched is for.
func explainIPRule(sp *space, r *iproute.Rule) string {
	switch {
	case r.Action == "goto" && r.Mark == skipMark:
		return "What carries the skip mark goes straight to the main table."
	case r.Action == "goto":
		return fmt.Sprintf("It goes on at priority %d.", r.Goto)
	case r.Action != "lookup":
		return fmt.Sprintf("The ip rule says %s.", r.Action)
	}
	if sp.kind == hostSpace {
		switch {
		case r.Mask != 0 && r.Mark == captureMark && r.Table == 101:
			return "What carries the capture mark is looked up in table 101, the way to the ztunnel's outbound side."
		case r.Mask != 0 && r.Mark == returnMark && r.Table == 102:
			return "Answers for the ztunnel are looked up in table 102."
		case r.Table == 100 && r.Priority == 103:
			return "Everything else is looked up in table 100 first, the way to the ztunnel's inbound side: it knows the node's captured pods."
		}
	}
	if sp.kind == ztunnelSpace && r.Mask != 0 {
		switch r.Mark {
		case tproxyMark:
			return "What TPROXY took is looked up in table 100, where every address is local."
		case podReturnMark:
			return "Answers to connections with a pod's address are looked up in table 100, where every address is local."
		case outAnswerMark:
			return "Answers of the outbound listener are looked up in table 101: back through the tunnel they came by."
		case inAnswerMark:
			return "Answers of the inbound listeners are looked up in table 102: back through the tunnel they came by."
		}
	}
	return fmt.Sprintf("It is looked up in table %s.", tableName(r.Table))
}

// explainRoute says where a route leads.
func explainRoute(sp *space, st *trace.Step) string {
	r := st.Route
	table := tableName(st.TableID)
	switch r.Type {
	case "local":
		if r.Dst.Bits() == 0 {
			return fmt.Sprintf("Table %s makes every address local: without it the kernel would not deliver a packet for somebody else's address.", table)
		}
		return fmt.Sprintf("The address is this namespace's own (table %s).", table)
	case "unreachable", "prohibit", "blackhole", "throw":
		return fmt.Sprintf("The route in table %s says %s.", table, r.Type)
	}
	out, via := r.Dev, r.Via
	if st.Out != "" {
		out = st.Out
	}
	text := fmt.Sprintf("Table %s sends it to device %s", table, out)
	if via.IsValid() {
		text += fmt.Sprintf(", next to %s", via)
	}
	switch {
	case sp.kind == hostSpace && r.Dst.IsSingleIP() && r.Dst.Addr() == sp.node.ztunnelIP():
		text += ": straight to the ztunnel's pod"
	case sp.kind == hostSpace && st.TableID == 102:
		text += ": to the ztunnel's pod, whoever it is addressed to"
	case sp.kind == hostSpace && out == outDevice:
		text += ": into the tunnel to the ztunnel, its outbound side"
	case sp.kind == hostSpace && out == inDevice:
		text += ": into the tunnel to the ztunnel, its inbound side"
	case sp.kind == ztunnelSpace && (out == podInDevice || out == podOutDevice):
		text += ": into the tunnel back to the node"
	}
	return text + "."
}
