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

// hop is the next namespace, or the end of the way.
type hop struct {
	space   *space
	in      string
	packet  trace.Packet
	arrival arrival
}

func end(a arrival) (hop, bool) { return hop{arrival: a}, false }

// leave follows a packet out of a namespace by the device that routing chose.
func (t *traveller) leave(sp *space, w *trace.Walk) (hop, bool) {
	p := w.Packet
	link := sp.link(w.Out)
	if link != nil && (hasFlags(link) && !hasFlag(link, "UP")) {
		reason := fmt.Sprintf("Device %s is down: what is sent by it is lost.", w.Out)
		t.stop(Stop{Place: sp.placeAt(w.Out), Kind: "device", Matched: true, Decisive: true, Text: reason, Line: firstLine(link), File: sp.file[kindLinks], LineNo: link.Line})
		return end(arrival{fate: lost, space: sp, packet: p, device: w.Out, reason: reason})
	}
	if link != nil && link.Tunnel != nil {
		return t.encapsulate(sp, link, p)
	}
	if link == nil && len(sp.ns.Links) > 0 {
		t.doubt(fmt.Sprintf("%s: the route names device %s, and there is no such device in the dump.", sp.label(), w.Out))
	}
	next := w.Via
	if !next.IsValid() {
		next = p.Dst.Addr()
	}
	if sp.kind == hostSpace {
		return t.leaveHost(sp, link, w.Out, next, p)
	}
	return t.leavePod(sp, link, w.Out, p)
}

// leavePod is a packet out of a pod's eth0: it comes to the host by the other end.
func (t *traveller) leavePod(sp *space, link *iproute.Link, out string, p trace.Packet) (hop, bool) {
	host := sp.node.host
	if host == nil {
		reason := fmt.Sprintf("It leaves by %s for the node, whose own dump is not there.", out)
		t.doubt(fmt.Sprintf("To go on, the story needs the dump of %s itself.", sp.node.label()))
		return end(arrival{fate: unclear, space: sp, packet: p, device: out, reason: reason})
	}
	in := sp.hostSide(link)
	if in == "" {
		reason := fmt.Sprintf("It leaves by %s, and no device of the node is known to be the other end.", out)
		t.doubt(fmt.Sprintf("%s: nothing in the dump tells which device of the node is the other end of %s.", sp.label(), out))
		return end(arrival{fate: unclear, space: sp, packet: p, device: out, reason: reason})
	}
	t.stop(Stop{Place: sp.placeAt(out), Kind: "device", Matched: true, Decisive: true, Text: fmt.Sprintf("It leaves the pod by %s and comes out of %s on the node. A mark doesn't outlive that.", out, in)})
	p.Mark = 0
	return hop{space: host, in: in, packet: p}, true
}

// hostSide is the host's device at the other end of a pod's device: by the two
// indexes that each end prints of the other, else by the node's route to the pod.
func (s *space) hostSide(link *iproute.Link) string {
	host := s.node.host
	if l := peerOf(link, host); l != nil {
		return bridged(host, l)
	}
	for _, l := range s.ns.Links {
		if l.Tunnel != nil {
			continue
		}
		for _, a := range l.Addrs {
			if a.Prefix.Addr().Is4() && !a.Prefix.Addr().IsLoopback() {
				if dev := s.node.podDevice(a.Prefix.Addr()); dev != "" {
					return dev
				}
			}
		}
	}
	return ""
}

// bridged is the bridge that a port belongs to: it is what iptables sees.
func bridged(s *space, l *iproute.Link) string {
	if l.Master != "" {
		return l.Master
	}
	return l.Name
}

// peerOf is the veth in other whose index and peer are those of link turned round.
func peerOf(link *iproute.Link, other *space) *iproute.Link {
	i, ok := peerIndex(link)
	if !ok {
		return nil
	}
	for _, l := range other.ns.Links {
		if j, ok := peerIndex(l); ok && l.Index == i && j == link.Index && l.Tunnel == nil {
			return l
		}
	}
	return nil
}

func peerIndex(l *iproute.Link) (int, bool) {
	if l == nil {
		return 0, false
	}
	text, ok := strings.CutPrefix(l.Peer, "if")
	if !ok {
		return 0, false
	}
	i, err := strconv.Atoi(text)
	return i, err == nil
}

// leaveHost is a packet that leaves a node's own namespace: into a pod, to another
// node, or to where no dump reaches.
func (t *traveller) leaveHost(sp *space, link *iproute.Link, out string, next netip.Addr, p trace.Packet) (hop, bool) {
	if into := t.podBehind(sp, link, next); into != nil {
		in := "eth0"
		if l := into.device(next); l != nil {
			in = l.Name
		} else if l := peerOf(link, into); l != nil {
			in = l.Name
		}
		t.stop(Stop{Place: sp.placeAt(out), Kind: "device", Matched: true, Decisive: true, Text: fmt.Sprintf("It leaves by %s and comes out of %s %s. A mark doesn't outlive that.", out, in, into.within())})
		p.Mark = 0
		return hop{space: into, in: in, packet: p}, true
	}
	if sp.node.podDevice(next) == out && out != "" || link != nil && link.Kind == "veth" && t.m.peerNode(sp, next) == nil && sp.node.podDevice(next) != "" {
		return t.intoPod(sp, out, next, p)
	}
	to := t.m.peerNode(sp, next)
	if to == nil {
		to = t.m.otherOwner(sp, p.Dst.Addr())
	}
	if to != nil {
		in := arrivalDevice(to, next)
		t.stop(Stop{Place: Place{Space: linkSpace, Device: out}, Kind: "device", Matched: true, Decisive: true, Text: fmt.Sprintf("It leaves %s by %s and comes in at %s by %s. No mark travels between nodes.", sp.node.label(), out, to.label(), in)})
		p.Mark = 0
		return hop{space: to.host, in: in, packet: p}, true
	}
	return t.away(sp, out, next, p)
}

// podBehind is the pod's namespace at the other end of a host's device.
func (t *traveller) podBehind(sp *space, link *iproute.Link, next netip.Addr) *space {
	for _, s := range sp.node.spaces() {
		if s.kind == hostSpace {
			continue
		}
		if l := peerOf(link, s); l != nil && strings.HasPrefix(link.Peer, "if") && s.hostSide(l) == bridged(sp, link) {
			return s
		}
	}
	if s := sp.node.inSpace(next); s != nil {
		return s
	}
	return nil
}

// intoPod is the arrival in a pod whose namespace is not in the dump.
func (t *traveller) intoPod(sp *space, out string, next netip.Addr, p trace.Packet) (hop, bool) {
	if next == sp.node.ztunnelIP() && sp.node.ztunnel == nil {
		reason := fmt.Sprintf("It goes by %s into the ztunnel's pod, whose dump is not there.", out)
		t.doubt(fmt.Sprintf("To go on, the story needs the dump of the ztunnel's namespace on %s (ambientctl dump takes it along).", sp.node.label()))
		t.stop(Stop{Place: sp.placeAt(out), Kind: "device", Matched: true, Decisive: true, Text: reason})
		return end(arrival{fate: unclear, space: sp, packet: p, device: out, reason: reason})
	}
	who := t.m.podName(next)
	if p.Dst.Addr() != next {
		reason := fmt.Sprintf("It goes by %s into the pod %s, to whom it is not addressed.", out, who)
		t.stop(Stop{Place: sp.placeAt(out), Kind: "device", Matched: true, Decisive: true, Text: reason})
		return end(arrival{fate: unclear, space: sp, packet: p, device: out, reason: reason})
	}
	t.stop(Stop{Place: sp.placeAt(out), Kind: "device", Matched: true, Decisive: true, Text: fmt.Sprintf("It leaves by %s into the pod %s.", out, who)})
	return end(arrival{fate: inPod, space: sp, packet: p, socket: p.Dst, device: out})
}

// away is the arrival where no dump reaches.
func (t *traveller) away(sp *space, out string, next netip.Addr, p trace.Packet) (hop, bool) {
	reason := fmt.Sprintf("It leaves %s by %s for %s.", sp.node.label(), out, p.Dst.Addr())
	if next != p.Dst.Addr() {
		reason = fmt.Sprintf("It leaves %s by %s, next to %s, for %s.", sp.node.label(), out, next, p.Dst.Addr())
	}
	if e := t.m.elsewhere(p.Dst.Addr()); e != nil {
		t.doubt(fmt.Sprintf("%s is on node %s. To go on, the story needs that node's dump, too.", e.full(), e.node))
	}
	t.stop(Stop{Place: Place{Node: sp.node.name(), Space: linkSpace, Device: out}, Kind: "device", Matched: true, Decisive: true, Text: reason})
	return end(arrival{fate: outside, space: sp, packet: p, socket: p.Dst, device: out, reason: reason})
}

// arrivalDevice is the device by which a node takes what is sent to next.
func arrivalDevice(n *node, next netip.Addr) string {
	if l := n.host.device(next); l != nil && l.Tunnel == nil {
		return l.Name
	}
	if r := n.host.mainRoute(netip.IPv4Unspecified()); r != nil && r.Dev != "" {
		return r.Dev
	}
	if l := n.host.device(hostAddress(n)); l != nil {
		return l.Name
	}
	return "eth0"
}
