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
	hboneMark     = 0x4d2
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
	socket netip.AddrPort
	device string // by which it left last, or came in
	reason string // of lost, outside, unclear: a sentence
	walk   trace.Verdict
	// capturedBy is the tunnel device of the host that took it, "" for none.
	through []string // tunnel devices on the host that carried it
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
	// recording notes the steps of the call\'s first packet in seen.
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
		a.reason = fmt.Sprintf("The tracer can't tell how it goes on %s", sp.within())
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
		if why := w.Steps[n-1].Why(); why != "" {
			because = ": " + why
		}
	}
	switch w.Verdict {
	case trace.Dropped:
		return sentence("It is dropped " + where + because)
	case trace.Rejected:
		return sentence("It is refused " + where + because)
	case trace.Unroutable:
		return sentence("There is no route for it " + where + because)
	case trace.Martian:
		return sentence("The kernel refuses its source address " + where + because)
	}
	return sentence("It ends " + where + because)
}

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
		t.doubt(fmt.Sprintf("To go on, the story needs the dump of the node %s itself.", sp.node.name()))
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
		t.stop(Stop{Place: Place{Space: linkSpace, Device: out}, Kind: "device", Matched: true, Decisive: true, Text: fmt.Sprintf("It leaves node %s by %s and comes in at node %s by %s. No mark travels between nodes.", sp.node.name(), out, to.name(), in)})
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
		t.doubt(fmt.Sprintf("To go on, the story needs the dump of the ztunnel's namespace on node %s (ambientctl dump takes it along).", sp.node.name()))
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
	reason := fmt.Sprintf("It leaves node %s by %s for %s.", sp.node.name(), out, p.Dst.Addr())
	if next != p.Dst.Addr() {
		reason = fmt.Sprintf("It leaves node %s by %s, next to %s, for %s.", sp.node.name(), out, next, p.Dst.Addr())
	}
	if e := t.m.elsewhere(p.Dst.Addr()); e != nil {
		t.doubt(fmt.Sprintf("%s is on node %s. To go on, the story needs that node's dump, too.", e.full(), e.node))
	}
	t.stop(Stop{Place: Place{Node: sp.node.name(), Space: linkSpace, Device: out}, Kind: "device", Matched: true, Decisive: true, Text: reason})
	return end(arrival{fate: outside, space: sp, packet: p, socket: p.Dst, device: out, reason: reason})
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
