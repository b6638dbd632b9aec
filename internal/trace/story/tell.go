// SPDX-License-Identifier: Apache-2.0

package story

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/ambient22/ambient22/internal/trace"
	"github.com/ambient22/ambient22/internal/trace/story/proxyview"
)

// TCP's flags in the packets that a story follows.
const (
	flagSYN = 0x02
	flagRST = 0x04
	flagACK = 0x10
)

// maxConnections are as many as one call can lead to before it must be a circle.
const maxConnections = 8

// Trace tells the story of a packet. The error is about the question: an end that
// nobody knows.
func (m *Mesh) Trace(q Query) (*Story, error) {
	e, err := m.resolve(q)
	if err != nil {
		return nil, err
	}
	t := &teller{
		traveller: traveller{m: m, kernel: q.Kernel, conns: map[*space]*trace.Conns{}},
		q:         q, ends: e,
	}
	t.s = &Story{Version: 1, Source: "dump", From: t.end(e.from, e.src), To: t.end(e.to, e.dst)}
	if q.Kernel != nil {
		t.s.Source = "live"
	}
	for _, n := range m.nodes {
		t.gaps(n)
	}
	o, err := t.start()
	if err != nil {
		return nil, err
	}
	t.tell(o)
	t.conclude()
	if q.ExplainMiss {
		t.s.Miss = t.explainMiss()
	}
	return t.s, nil
}

// teller tells one story.
type teller struct {
	traveller
	q      Query
	ends   *ends
	origin origin
	// connections are those that the call led to, in order.
	connections []*connection
}

// connection is one TCP connection (or UDP exchange) of the story.
type connection struct {
	number  int
	from    origin
	name    string // of who opens it
	packet  trace.Packet
	arrival arrival
	// proxy is what the ztunnel did with it; nil where it did not reach one.
	proxy *proxyview.Result
	// hello and tunnel are what a ztunnel sends through it.
	hello  *proxyview.Hello
	tunnel *proxyview.Tunnel
	// broken says in a sentence why the connection never stands; "" where it does.
	broken string
	// stop is the step that broke it; "" where the last step of its legs is it.
	stop string
	// answerLost: it is its answer that breaks it.
	answerLost bool
	// lostSight: the dumps don't say what became of its answer.
	lostSight bool
	original  netip.AddrPort // its destination before NAT in the last namespace
}

func (t *teller) end(e entity, a netip.AddrPort) End {
	node := e.node
	if node == "" {
		if n := t.m.owner(a.Addr()); n != nil {
			node = n.name()
		}
	}
	if e.kind == serviceEntity {
		node = ""
	}
	return End{Name: e.full(), Address: a.String(), Node: node}
}

// start is where the caller's first packet begins.
func (t *teller) start() (origin, error) {
	from := t.ends.from
	if n := t.m.holder(from.ip); n != nil {
		return origin{space: n.host}, nil
	}
	n := t.m.owner(from.ip)
	if n == nil && from.node != "" && from.kind == podEntity {
		return origin{}, &NameError{Flag: "--from", Name: t.q.From, Reason: fmt.Sprintf("%s runs on node %s, and the dump of that node is not among those given", from.full(), from.node), Candidates: t.nodeNames()}
	}
	if n == nil {
		if n := t.m.neighbour(from.ip); n != nil {
			t.doubt(fmt.Sprintf("No dump says where %s is. Its address is next to that of the ztunnel of %s, so it is taken for a pod there, behind a device of its own.", from.ip, n.name()))
			return origin{space: n.host, in: unknownDevice, pod: from.full()}, nil
		}
		return t.fromOutside()
	}
	if s := n.inSpace(from.ip); s != nil {
		return origin{space: s}, nil
	}
	if n.host == nil {
		return origin{}, &NameError{Flag: "--from", Name: t.q.From, Reason: fmt.Sprintf("the dump of %s has nothing of the node itself", n.name())}
	}
	in := n.podDevice(from.ip)
	if in == "" {
		return origin{}, &NameError{Flag: "--from", Name: t.q.From, Reason: fmt.Sprintf("node %s has no route to %s by a device of its own, so nobody knows which veth the pod is behind. One veth and one route for each pod are what this data path needs", n.name(), from.ip)}
	}
	return origin{space: n.host, in: in, pod: from.full()}, nil
}

func (t *teller) nodeNames() []string {
	var names []string
	for _, n := range t.m.nodes {
		names = append(names, n.name())
	}
	return names
}

// unknownDevice stands for a pod's veth whose name no dump tells.
const unknownDevice = "pod"

// neighbour is the node in whose ztunnel's /24 the address is, where listings are
// all there is and they have no route to pods.
func (m *Mesh) neighbour(a netip.Addr) *node {
	for _, n := range m.nodes {
		if n.host == nil || !n.dump.Loose {
			continue
		}
		for _, z := range append(n.remotes(), n.ztunnelIP()) {
			if p, err := z.Prefix(24); z.Is4() && err == nil && p.Contains(a) {
				return n
			}
		}
	}
	return nil
}

// fromOutside is a caller that no dump knows: its packet comes in at the node of
// the pod it calls.
func (t *teller) fromOutside() (origin, error) {
	to := t.m.owner(t.ends.dst.Addr())
	if to == nil {
		to = t.m.holder(t.ends.dst.Addr())
	}
	if to == nil && len(t.m.nodes) == 1 {
		to = t.m.nodes[0]
	}
	if to == nil || to.host == nil {
		return origin{}, &NameError{Flag: "--from", Name: t.q.From, Reason: "no dump knows this address, nor the node that its call would come to"}
	}
	in := arrivalDevice(to, netip.Addr{})
	t.doubt(fmt.Sprintf("No dump knows %s. The story begins where its packet comes in at %s, by %s.", t.ends.from.ip, to.label(), in))
	return origin{space: to.host, in: in}, nil
}

// tell follows the call through all the connections it leads to.
func (t *teller) tell(o origin) {
	t.origin = o
	p := trace.Packet{Protocol: t.ends.protocol, Src: t.ends.src, Dst: t.ends.dst}
	if p.Protocol == protocolTCP {
		p.TCPFlags = flagSYN
	}
	if o.space.kind == hostSpace && o.in == "" && !t.addressGiven() {
		p.Src = netip.AddrPortFrom(t.sourceOf(o.space, p), p.Src.Port())
		t.s.From.Address = p.Src.String()
	}
	c := &connection{from: o, packet: p, name: t.ends.from.short()}
	for c != nil && len(t.connections) < maxConnections {
		c.number = len(t.connections) + 1
		t.connections = append(t.connections, c)
		c = t.follow(c)
	}
}

// addressGiven tells that the caller was asked for by its address, not by a name.
func (t *teller) addressGiven() bool {
	_, err := netip.ParseAddr(t.q.From)
	return err == nil
}

// sourceOf is the address that the kernel chooses for a packet without one.
func (t *traveller) sourceOf(sp *space, p trace.Packet) netip.Addr {
	p.Src = netip.AddrPortFrom(netip.IPv4Unspecified(), p.Src.Port())
	w := trace.Walk{Record: true}
	sp.Send(p, nil, &w)
	for _, s := range w.Steps {
		if a := s.Packet.Src.Addr(); a.IsValid() && !a.IsUnspecified() {
			return a
		}
	}
	if a := w.Packet.Src.Addr(); a.IsValid() && !a.IsUnspecified() {
		return a
	}
	if sp.kind == hostSpace {
		return hostAddress(sp.node)
	}
	return sp.node.ztunnelIP()
}

// follow tells one connection, its answer included, and gives the one that it
// leads to, or nil.
func (t *teller) follow(c *connection) *connection {
	id := fmt.Sprint(c.number)
	c.packet = t.begun(c)
	t.begin(id, "", packetText(c.packet), false)
	leg := len(t.s.Legs) - 1
	t.recording = c.number == 1
	c.arrival = t.carry(c.from, c.packet)
	t.recording = false
	var up *proxyview.Upstream
	if c.arrival.fate == arrived {
		c.original = t.originalOf(c)
		up = t.take(c)
	}
	if c.arrival.fate == inPod && c.tunnel != nil {
		t.takeNative(c)
	}
	t.s.Legs[leg].Title = t.title(c)
	t.opened(c)
	if c.arrival.fate != arrived && c.arrival.fate != inPod {
		c.broken = c.arrival.reason
		t.again(c)
		return nil
	}
	t.answer(c)
	if c.broken != "" || up == nil {
		t.again(c)
		return nil
	}
	return t.next(c, up)
}

// opened tells the namespaces at both ends which sockets there are now.
func (t *teller) opened(c *connection) {
	if c.packet.Protocol != protocolTCP {
		return
	}
	if c.from.in == "" {
		t.table(c.from.space).AddSocket(trace.Socket{Protocol: protocolTCP, Local: c.packet.Src, Remote: c.packet.Dst, Transparent: c.packet.Mark == originalSrcMark, Mark: c.packet.Mark})
	}
	if c.arrival.fate == arrived {
		s := trace.Socket{Protocol: protocolTCP, Local: c.arrival.packet.Dst, Remote: c.arrival.packet.Src}
		if c.proxy != nil {
			s.Transparent, s.Mark = true, c.proxy.AnswerMark
		}
		t.table(c.arrival.space).AddSocket(s)
	}
}

// next is the connection that a ztunnel opens.
func (t *teller) next(c *connection, up *proxyview.Upstream) *connection {
	sp := c.arrival.space
	p := trace.Packet{
		Protocol: protocolTCP, TCPFlags: flagSYN, Dst: up.Addr, Mark: up.Mark,
		Src: netip.AddrPortFrom(up.Source, uint16(defaultPort+1000*c.number+1)),
	}
	if !up.Source.IsValid() {
		p.Src = netip.AddrPortFrom(t.sourceOf(sp, p), p.Src.Port())
	}
	return &connection{from: origin{space: sp}, packet: p, name: sp.label(), hello: up.Hello, tunnel: up.Tunnel}
}

func packetText(p trace.Packet) string {
	name := "TCP"
	switch {
	case p.Protocol == protocolUDP:
		name = "UDP"
	case p.TCPFlags == flagSYN:
		name = "TCP SYN"
	case p.TCPFlags == flagSYN|flagACK:
		name = "TCP SYN-ACK"
	case p.TCPFlags == flagRST|flagACK:
		name = "TCP RST"
	case p.TCPFlags == flagACK:
		name = "TCP ACK"
	}
	return fmt.Sprintf("%s %s → %s", name, p.Src, p.Dst)
}

// title names a leg by its ends.
func (t *teller) title(c *connection) string {
	to := t.arrivalName(c)
	how := ""
	switch {
	case slices.ContainsFunc(c.arrival.through, func(d string) bool { return strings.HasPrefix(d, outDevice) }):
		how = ", captured"
	case slices.ContainsFunc(c.arrival.through, func(d string) bool { return strings.HasPrefix(d, inDevice) }) && c.tunnel != nil:
		how = ", a tunnel"
	case slices.ContainsFunc(c.arrival.through, func(d string) bool { return strings.HasPrefix(d, inDevice) }):
		how = ", plainly, and taken in by the ztunnel"
	case c.tunnel != nil:
		how = ", a tunnel"
	}
	return fmt.Sprintf("%s to %s%s", c.name, to, how)
}

func (t *teller) answerTitle(c *connection) string {
	return fmt.Sprintf("The answer, from %s to %s", t.arrivalName(c), c.name)
}

// arrivalName is where a connection arrived, or else where it was meant to.
func (t *teller) arrivalName(c *connection) string {
	switch c.arrival.fate {
	case arrived:
		if c.arrival.space.kind == podSpace {
			return short(c.arrival.space.pod)
		}
		return c.arrival.space.label()
	case inPod:
		return short(t.m.podName(c.arrival.packet.Dst.Addr()))
	}
	if c.packet.Dst == t.ends.dst {
		return t.ends.to.short()
	}
	return c.packet.Dst.String()
}
