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

// gaps notes what a dump says that it lacks, without files that are no dump's.
func (t *traveller) gaps(n *node) {
	var list []string
	for _, g := range n.dump.Gaps {
		if !strings.Contains(g, ": not read: ") {
			list = append(list, g)
		}
	}
	if len(list) > 0 {
		t.doubt(fmt.Sprintf("The dump of %s is not complete: %s.", n.name(), strings.Join(list, "; ")))
	}
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
	t.doubt(fmt.Sprintf("No dump knows %s. The story begins where its packet comes in at node %s, by %s.", t.ends.from.ip, to.name(), in))
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
		return nil
	}
	t.answer(c)
	if c.broken != "" || up == nil {
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
		t.table(c.from.space).AddSocket(trace.Socket{Protocol: protocolTCP, Local: c.packet.Src, Remote: c.packet.Dst, Transparent: c.packet.Mark == hboneMark, Mark: c.packet.Mark})
	}
	if c.arrival.fate == arrived {
		s := trace.Socket{Protocol: protocolTCP, Local: c.arrival.packet.Dst, Remote: c.arrival.packet.Src}
		if c.proxy != nil {
			s.Transparent, s.Mark = true, c.proxy.AnswerMark
		}
		t.table(c.arrival.space).AddSocket(s)
	}
}

// originalOf is where the connection was sent before the last namespace changed it.
func (t *teller) originalOf(c *connection) netip.AddrPort {
	if f, ok := t.table(c.arrival.space).Flow(c.arrival.entered); ok && !f.IsReply {
		return f.Original.Dst
	}
	return c.arrival.packet.Dst
}

// take is what the socket's owner does with the connection. It gives the
// connection that a ztunnel opens then.
func (t *teller) take(c *connection) *proxyview.Upstream {
	sp := c.arrival.space
	switch {
	case sp.kind != ztunnelSpace:
		t.takePod(c)
		return nil
	case c.packet.Protocol != protocolTCP:
		t.takeDatagram(c)
		return nil
	case sp.node.proxy == nil:
		t.lackProxy(c)
		return nil
	}
	proxy := sp.node.proxy
	if !proxy.Listens(c.arrival.socket) && c.arrival.socket == c.arrival.packet.Dst && t.ends.to.ip == sp.node.ztunnelIP() {
		t.socketStop(c, fmt.Sprintf("It reaches the ztunnel's own pod, port %d.", c.arrival.socket.Port()))
		return nil
	}
	r := proxy.Accept(proxyview.Conn{
		Socket: c.arrival.socket, Remote: c.arrival.packet.Src, Local: c.original,
		Hello: c.hello, Tunnel: c.tunnel,
	})
	c.proxy = r
	for _, s := range r.Steps {
		t.stop(t.proxyStop(sp, s))
	}
	if r.Up == nil {
		c.broken = r.Reason
	}
	if r.End == proxyview.NotModelled {
		t.doubt(r.Reason)
	}
	return r.Up
}

func (t *teller) socketStop(c *connection, text string) {
	t.stop(Stop{Place: c.arrival.space.place(), Kind: "socket", Matched: true, Decisive: true, Text: text})
}

func (t *teller) lackProxy(c *connection) {
	n := c.arrival.space.node
	why := "The dump has no config_dump of it"
	if n.proxyErr != nil {
		why = "Its config_dump can't be read: " + n.proxyErr.Error()
	}
	c.arrival.fate = unclear
	c.arrival.reason = fmt.Sprintf("It reaches port %d in the ztunnel's pod, and there the story ends. %s.", c.arrival.socket.Port(), why)
	t.doubt(fmt.Sprintf("What the ztunnel of %s does with the connection is in its config_dump (127.0.0.1:15000/config_dump?include_eds): %s.", n.name(), strings.ToLower(why[:1])+why[1:]))
	t.socketStop(c, c.arrival.reason)
}

func (t *teller) takeDatagram(c *connection) {
	text := fmt.Sprintf("It reaches port %d in the ztunnel's pod.", c.arrival.socket.Port())
	if c.arrival.socket.Port() == 15053 {
		text = "It reaches port 15053 in the ztunnel's pod, which answers names where DNS is captured."
	}
	t.socketStop(c, text)
}

// takePod is a connection that reached a socket of a pod, or of a node itself.
func (t *teller) takePod(c *connection) {
	sp, own := c.arrival.space, c.arrival.space == c.from.space
	port := c.arrival.socket.Port()
	switch {
	case sp.kind == podSpace && c.tunnel != nil:
		t.takeNative(c)
	case sp.kind == podSpace && (own || port != c.original.Port()) && (port == 15001 || port == 15006 || port == 15008 || port == 15053):
		t.takeSidecar(c, own)
	case sp.kind == podSpace:
		t.socketStop(c, fmt.Sprintf("It arrives in the pod %s at port %d, from %s.", sp.pod, port, c.arrival.packet.Src))
	default:
		t.socketStop(c, fmt.Sprintf("It arrives at a socket of the node itself, port %d, from %s.", port, c.arrival.packet.Src))
	}
}

// takeNative is a tunnel that reaches a pod itself, without a ztunnel in between.
func (t *teller) takeNative(c *connection) {
	pod := t.m.podName(c.arrival.packet.Dst.Addr())
	text := fmt.Sprintf("The tunnel reaches the pod %s itself, at port %d.", pod, c.arrival.socket.Port())
	e := t.m.podAt(c.arrival.packet.Dst.Addr())
	switch cluster := t.cluster(c); {
	case cluster == "virtual_inbound_hbone", c.arrival.space.node == c.from.space.node && !strings.Contains(cluster, "_waypoint_proxy_"):
		// On its own node a ztunnel opens tunnels to a pod only if it ends them.
		t.socketStop(c, text+" It ends tunnels by itself.")
		return
	case strings.Contains(cluster, "_waypoint_proxy_"):
		text += " It is a waypoint: what it does with the request, and where it sends it, is in its own configuration."
		t.doubt(fmt.Sprintf("%s is a waypoint, and no dump here has its configuration. From there a tunnel of its own leads to the pod, which the story of a call from %s to that pod tells.", pod, pod))
		c.lostSight = true
	case e != nil && e.known && e.captured:
		text += " No ztunnel has ended it on the way."
	default:
		text += " No ztunnel has ended it on the way."
		c.lostSight = true
		t.doubt(fmt.Sprintf("Whether something in pod %s ends tunnels on port %d no dump tells; an application doesn't.", pod, c.arrival.socket.Port()))
	}
	t.socketStop(c, text)
	c.broken = text
}

// cluster is the cluster of the ztunnel that a connection belongs to; "" for the
// caller's own.
func (t *teller) cluster(c *connection) string {
	if c.number < 2 {
		return ""
	}
	if before := t.connections[c.number-2]; before.proxy != nil && before.proxy.Up != nil {
		return before.proxy.Up.Cluster
	}
	return ""
}

// takeSidecar is a connection that the pod's own rules lead to a proxy within it:
// another generation of the mesh.
func (t *teller) takeSidecar(c *connection, own bool) {
	direction := "comes in"
	if own {
		direction = "goes out"
	}
	reason := fmt.Sprintf("The pod's own rules lead what %s to port %d within the pod: a proxy beside the application takes it (a sidecar, or in-pod ambient).", direction, c.arrival.socket.Port())
	t.socketStop(c, reason)
	t.doubt(fmt.Sprintf("What the proxy on port %d in pod %s does, no dump here tells. The story of the legacy path ends there.", c.arrival.socket.Port(), c.arrival.space.pod))
	if own {
		c.arrival.fate, c.arrival.reason = unclear, reason
	}
}

// proxyStop is a decision of the proxy as a stop.
func (t *traveller) proxyStop(sp *space, s proxyview.Step) Stop {
	p := sp.place()
	p.Table = "proxy"
	stop := Stop{Place: p, Kind: s.Kind, Matched: true, Decisive: true, Text: s.Text, Why: s.Why, Line: s.Name}
	if s.Line > 0 {
		stop.File, stop.LineNo = sp.file["config_dump"], s.Line
	}
	return stop
}

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
