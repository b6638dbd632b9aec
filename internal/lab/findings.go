// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/ambient22/ambient22/internal/lab/app"
	"github.com/ambient22/ambient22/internal/lab/evidence"
)

// The tunnels' network identifiers: istioin and istioout.
const (
	vniInbound  = 1000
	vniOutbound = 1001
)

func (s *scene) findings(call *app.Call, frames map[place][][]byte, counters []evidence.Movement) []Finding {
	return []Finding{
		s.tunnelFinding("Outbound: the caller's TCP inside the tunnel of node A", frames[atTunnelA], vniOutbound,
			s.nodeA.Gateway, s.zA.Address, s.caller.Address, netip.AddrPortFrom(s.vip.Address, s.server.Serve)),
		s.wireFinding(call, frames),
		s.identityFinding(),
		s.tunnelFinding("Inbound: the HBONE connection inside the tunnel of node B", frames[atTunnelB], vniInbound,
			s.nodeB.Gateway, s.zB.Address, s.zA.Address, netip.AddrPortFrom(s.server.Address, hbonePort)),
		s.vipFinding(call, frames[atCaller]),
		s.sourceFinding(call, frames[atServer]),
		countersFinding(counters),
	}
}

// tunnelFinding looks for a connection from an address to a socket address, and
// its answers, in the tunnel between a node and its ztunnel.
func (s *scene) tunnelFinding(title string, frames [][]byte, vni uint32, node, ztunnel, from netip.Addr, to netip.AddrPort) Finding {
	f := Finding{Title: title}
	var there, back bool
	strange := 0
	for _, in := range evidence.Tunnels(frames, s.lab.Tunnel, tunnelPort) {
		f.Details = append(f.Details, in.String())
		switch {
		case in.VNI == vni && in.Outer == node && in.To == ztunnel && in.Flow.From.Addr() == from && in.Flow.To == to:
			there = true
		case in.VNI == vni && in.Outer == ztunnel && in.To == node && in.Flow.To.Addr() == from && in.Flow.From == to:
			back = true
		default:
			strange++
		}
	}
	f.OK = there && back && strange == 0
	f.Text = fmt.Sprintf("Between %s and its ztunnel %s, %s packets (UDP %d) with VNI %d carry the TCP of %s to %s, and its answers.",
		node, ztunnel, kindName(s.lab.Tunnel), tunnelPort, vni, from, to)
	return f
}

func kindName(kind string) string {
	if kind == "vxlan" {
		return "VXLAN (the stand-in for Geneve)"
	}
	return "Geneve"
}

// plainTexts are lines of the request and the answer that nobody between the
// nodes may be able to read.
func plainTexts(call *app.Call) []string {
	texts := []string{"GET / HTTP/1.1", "Host: productpage:9080", app.Title, app.PeerHeader}
	for line := range strings.SplitSeq(call.Body, "\n") {
		if len(line) > 15 {
			texts = append(texts, line)
		}
	}
	return texts
}

func (s *scene) wireFinding(call *app.Call, frames map[place][][]byte) Finding {
	f := Finding{Title: "Between the nodes: TLS 1.3 to port 15008 and nothing else"}
	texts := plainTexts(call)
	w := evidence.ReadWire(frames[atLink], hbonePort, texts)
	// The same search must find the texts where they do pass in the clear.
	control := evidence.Containing(frames[atCaller], texts)
	f.OK = len(w.Connections) > 0 && len(w.Other) == 0 && len(w.Plain) == 0 && len(control) == len(texts)
	for i := range w.Connections {
		c := &w.Connections[i]
		right := c.TLS13() && c.Flow.From.Addr() == s.zA.Address && c.Flow.To.Addr() == s.server.Address &&
			slices.Equal(c.Client.ALPN, []string{"h2"})
		f.OK = f.OK && right
		f.Details = append(f.Details, describeConnection(c))
	}
	for _, o := range w.Other {
		f.Details = append(f.Details, "something else: "+o)
	}
	for _, p := range w.Plain {
		f.Details = append(f.Details, fmt.Sprintf("in the clear: %q", p))
	}
	f.Text = fmt.Sprintf("%d frames passed the link: %d connection(s) from ztunnel %s to %s:%d, and %d frames of neighbour discovery. "+
		"None of %d lines of the request and the answer stands in any of them; on the caller's own device the same search finds %d.",
		w.Frames, len(w.Connections), s.zA.Address, s.server.Address, hbonePort, w.Neighbours, len(texts), len(control))
	return f
}

func describeConnection(c *evidence.Connection) string {
	if c.Err != "" {
		return fmt.Sprintf("%s: %s", c.Flow, c.Err)
	}
	return fmt.Sprintf("%s: the ClientHello offers version %04x only and ALPN %v, the ServerHello chooses %04x; then %d and %d encrypted records",
		c.Flow, c.Client.Versions, c.Client.ALPN, c.Server.Versions, c.Client.Encrypted, c.Server.Encrypted)
}

// vipFinding shows that the caller never sees the pod behind the service.
func (s *scene) vipFinding(call *app.Call, frames [][]byte) Finding {
	vip := netip.AddrPortFrom(s.vip.Address, s.server.Serve)
	f := Finding{Title: "The service's address answers", OK: call.Remote == vip.String()}
	answers := 0
	for _, flow := range evidence.Peers(frames) {
		f.Details = append(f.Details, flow.String())
		switch {
		case flow.From == vip && flow.To.Addr() == s.caller.Address:
			answers++
		case flow.To == vip && flow.From.Addr() == s.caller.Address:
		default:
			f.OK = false
		}
	}
	f.OK = f.OK && answers > 0
	f.Text = fmt.Sprintf("The caller's socket is connected to %s, and every answer on its eth0 comes from there.", call.Remote)
	return f
}

// sourceFinding shows which address the server saw.
func (s *scene) sourceFinding(call *app.Call, frames [][]byte) Finding {
	f := Finding{Title: "What address productpage saw, and why"}
	peer, err := netip.ParseAddrPort(call.Peer)
	f.OK = err == nil && peer.Addr() == s.zA.Address
	server := netip.AddrPortFrom(s.server.Address, s.server.Serve)
	requests := 0
	for _, flow := range evidence.Peers(frames) {
		f.Details = append(f.Details, flow.String())
		if flow.To == server && flow.From.Addr() == s.zA.Address {
			requests++
		}
	}
	f.OK = f.OK && requests > 0
	f.Text = fmt.Sprintf("productpage saw %s: the address of ztunnel A, not that of sleep (%s). ztunnel A opens the HBONE connection from its own "+
		"address, and ztunnel B keeps the source of the connection it accepted (original_src) when it connects to the pod. Who the caller is "+
		"stands in the certificate, not in the address.", call.Peer, s.caller.Address)
	return f
}

func countersFinding(counters []evidence.Movement) Finding {
	f := Finding{Title: "The rules' packet counters", OK: len(counters) > 0}
	moved := 0
	for i := range counters {
		m := &counters[i]
		if m.After > m.Before {
			moved++
		}
		if m.OK() {
			continue
		}
		f.OK = false
		what := fmt.Sprintf("went from %d to %d", m.Before, m.After)
		if m.Lost {
			what = "is not there"
		}
		f.Details = append(f.Details, fmt.Sprintf("%s %s: %s %s; expected to move: %v", m.Host, m.Table, m.Rule, what, m.Moves))
	}
	f.Text = fmt.Sprintf("Of %d rules looked at, %d counted packets of the call and %d did not, as the path wants it.",
		len(counters), moved, len(counters)-moved)
	return f
}
