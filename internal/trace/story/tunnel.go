// SPDX-License-Identifier: Apache-2.0

package story

import (
	"fmt"
	"net/netip"

	"github.com/ambient22/ambient22/internal/dump/iproute"
	"github.com/ambient22/ambient22/internal/trace"
)

// encapsulate follows a packet into a tunnel device: the outer packet through this
// namespace and the next, until somebody takes the inner one out.
func (t *traveller) encapsulate(sp *space, link *iproute.Link, inner trace.Packet) (hop, bool) {
	kind := tunnelKind(link)
	t.way = append(t.way, link.Name)
	if !link.Tunnel.Remote.IsValid() {
		reason := fmt.Sprintf("Device %s has no remote address, so the tunnel leads nowhere.", link.Name)
		t.stop(Stop{Place: sp.placeAt(link.Name), Kind: "tunnel", Matched: true, Decisive: true, Text: reason, Line: tunnelLine(link), File: sp.file[kindLinks], LineNo: link.Line})
		return end(arrival{fate: lost, space: sp, packet: inner, device: link.Name, reason: reason})
	}
	remote := netip.AddrPortFrom(link.Tunnel.Remote, tunnelPort(link))
	t.stop(Stop{
		Place: sp.placeAt(link.Name), Kind: "tunnel", Matched: true, Decisive: true,
		Text: fmt.Sprintf("%s is a %s device: the whole packet, its addresses unchanged, goes into a UDP packet to %s with network number %d. The outer packet is sent from here, and begins with the inner one's mark.", link.Name, kind, remote, link.Tunnel.VNI),
		Line: tunnelLine(link), File: sp.file[kindLinks], LineNo: link.Line, Mark: hex(inner.Mark),
	})
	outer := trace.Packet{
		Protocol: protocolUDP, Mark: inner.Mark, Dst: remote,
		Src: netip.AddrPortFrom(netip.IPv4Unspecified(), outerPort),
	}
	if t.circular(sp, link, outer) {
		reason := fmt.Sprintf("The tunnel's own packet to %s would be led into %s again, so the kernel drops it: the route to %s by its veth is missing in the table that the mark leads to.", remote, link.Name, remote.Addr())
		t.stop(Stop{Place: sp.placeAt(link.Name), Kind: "verdict", Matched: true, Decisive: true, Text: reason, Mark: hex(inner.Mark)})
		return end(arrival{fate: lost, space: sp, packet: inner, device: link.Name, reason: reason})
	}
	a := t.travel(origin{space: sp}, outer)
	if a.fate != arrived {
		if a.reason == "" {
			a.reason = fmt.Sprintf("The %s packet does not reach a ztunnel.", kind)
		}
		if a.fate == inPod || a.fate == outside {
			a.fate = unclear
			t.doubt(fmt.Sprintf("The %s packet goes to %s, and the dump of that namespace is not there.", kind, remote))
		}
		return end(a)
	}
	return t.decapsulate(link, a, inner)
}

// circular tells that the first route for a tunnel's packet leads into the tunnel.
func (t *traveller) circular(sp *space, link *iproute.Link, outer trace.Packet) bool {
	w := trace.Walk{Record: true}
	sp.Send(outer, nil, &w)
	for _, s := range w.Steps {
		if s.Kind == trace.StepRoute && s.Route != nil {
			return s.Route.Dev == link.Name
		}
	}
	return false
}

// decapsulate takes the inner packet out where the outer one arrived.
func (t *traveller) decapsulate(from *iproute.Link, outer arrival, inner trace.Packet) (hop, bool) {
	sp := outer.space
	link, why := receiver(sp, from, outer)
	if link == nil {
		t.stop(Stop{Place: sp.place(), Kind: "tunnel", Matched: false, Decisive: true, Text: why})
		return end(arrival{fate: lost, space: sp, packet: outer.packet, reason: why})
	}
	t.stop(Stop{
		Place: sp.placeAt(link.Name), Kind: "tunnel", Matched: true, Decisive: true,
		Text: fmt.Sprintf("The %s packet arrives %s. Its network number is %d, so the packet inside comes out of %s.", tunnelKind(link), sp.within(), link.Tunnel.VNI, link.Name),
		Line: tunnelLine(link), File: sp.file[kindLinks], LineNo: link.Line, Mark: hex(outer.packet.Mark),
	})
	inner.Mark, inner.In = outer.packet.Mark, link.Name
	return hop{space: sp, in: link.Name, packet: inner}, true
}

// receiver is the device that takes the outer packet: of the same kind and number,
// on its port, and for Geneve of the sender's address.
func receiver(sp *space, from *iproute.Link, outer arrival) (*iproute.Link, string) {
	var near *iproute.Link
	for _, l := range sp.ns.Links {
		if l.Tunnel == nil || l.Kind != from.Kind || l.Tunnel.VNI != from.Tunnel.VNI {
			continue
		}
		near = l
		if tunnelPort(l) != outer.packet.Dst.Port() || l.Kind == "geneve" && l.Tunnel.Remote != outer.packet.Src.Addr() {
			continue
		}
		if hasFlags(l) && !hasFlag(l, "UP") {
			return nil, fmt.Sprintf("Device %s %s is down: it takes no packet out of the tunnel.", l.Name, sp.within())
		}
		return l, ""
	}
	if near != nil {
		return nil, fmt.Sprintf("Device %s %s takes only what %s sends to port %d, and this comes from %s to port %d: the packet is dropped.",
			near.Name, sp.within(), near.Tunnel.Remote, tunnelPort(near), outer.packet.Src.Addr(), outer.packet.Dst.Port())
	}
	return nil, fmt.Sprintf("No %s device %s has network number %d: the packet is dropped.", tunnelKind(from), sp.within(), from.Tunnel.VNI)
}

func tunnelKind(l *iproute.Link) string {
	switch l.Kind {
	case "geneve":
		return "Geneve"
	case "vxlan":
		return "VXLAN"
	}
	return l.Kind
}

// tunnelPort is the tunnel's UDP port; ip prints none where it is the default.
func tunnelPort(l *iproute.Link) uint16 {
	switch {
	case l.Tunnel.Port != 0:
		return l.Tunnel.Port
	case l.Kind == "vxlan":
		return 8472
	}
	return 6081
}
