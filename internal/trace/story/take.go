// SPDX-License-Identifier: Apache-2.0

package story

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/ambient22/ambient22/internal/trace/story/proxyview"
)

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
		t.takeOwn(c)
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
		t.breaks(c, r.Reason)
	}
	if r.End == proxyview.NotModelled {
		t.doubt(r.Reason)
	}
	return r.Up
}

func (t *teller) socketStop(c *connection, text string) {
	t.stop(Stop{Place: c.arrival.space.place(), Kind: "socket", Matched: true, Decisive: true, Text: text})
}

// What the ztunnel serves beside its listeners.
const (
	metricsPort   = 15020
	readinessPort = 15021
)

// takeOwn is a connection to the ztunnel's own pod, at a port of none of its
// listeners.
func (t *teller) takeOwn(c *connection) {
	port := c.arrival.socket.Port()
	text := fmt.Sprintf("It reaches the ztunnel's own pod, port %d.", port)
	switch port {
	case metricsPort:
		text += " That is where metrics are served."
	case readinessPort:
		text += " That is where the ztunnel says whether it is ready."
	default:
		text += " None of the ztunnel's listeners has it there, and whether anything else does, no dump tells: if not, the kernel refuses the call."
	}
	t.socketStop(c, text)
	if port != metricsPort && port != readinessPort {
		c.arrival.fate, c.arrival.reason = unclear, text
	}
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

// hbonePort is the port of the mesh's tunnels. 15088 stands for it where both ends are
// on one node.
const hbonePort = 15008

// takeNative is a tunnel that reaches a pod itself, without a ztunnel in between.
func (t *teller) takeNative(c *connection) {
	pod := t.m.podName(c.arrival.packet.Dst.Addr())
	text := fmt.Sprintf("The tunnel reaches the pod %s itself, at port %d.", pod, c.arrival.socket.Port())
	switch ends, known := t.endsTunnels(c); {
	case ends:
		t.socketStop(c, text+" It ends tunnels by itself.")
		return
	case strings.Contains(t.cluster(c), "_waypoint_proxy_"):
		text += " It is a waypoint: what it does with the request, and where it sends it, is in its own configuration."
		t.doubt(fmt.Sprintf("%s is a waypoint, and no dump here has its configuration. From there a tunnel of its own leads to the pod, which the story of a call from %s to that pod tells.", pod, pod))
		c.lostSight = true
	case known:
		text += fmt.Sprintf(" No ztunnel has ended it on the way, and %s does not speak HBONE itself: the call is refused there.", pod)
	default:
		text += " No ztunnel has ended it on the way."
		c.lostSight = true
		t.doubt(fmt.Sprintf("Whether something in pod %s ends tunnels on port %d no dump tells; an application doesn't.", pod, c.arrival.socket.Port()))
	}
	t.socketStop(c, text)
	t.breaks(c, text)
}

// endsTunnels says whether the pod that a tunnel has reached speaks HBONE itself, as
// far as the configurations of the ztunnels and the node controllers tell. A dump
// does not show what sockets a pod has.
func (t *teller) endsTunnels(c *connection) (ends, known bool) {
	ip, cluster := c.arrival.packet.Dst.Addr(), t.cluster(c)
	if n := t.m.owner(ip); n != nil && n.proxy != nil {
		if ends, known := n.proxy.EndsTunnels(ip); known {
			return ends, true
		}
	}
	switch {
	case strings.Contains(cluster, "_waypoint_proxy_"):
		return false, false
	case cluster == "virtual_inbound_hbone":
		return true, true
	case c.arrival.space.node == c.from.space.node:
		// Tunnels to pods of its own node that it ends itself, a ztunnel opens to
		// another port.
		return c.packet.Dst.Port() == hbonePort, true
	}
	e := t.m.podAt(ip)
	return false, e != nil && e.known && e.captured
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
