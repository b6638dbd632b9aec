// SPDX-License-Identifier: Apache-2.0

package nodediff

import (
	"fmt"
	"net/netip"

	"github.com/ambient22/ambient22/internal/dump"
)

// contradictions are places where lines of the dump cannot all be right.
func (l *legacy) contradictions() []Finding {
	var out []Finding
	for _, name := range questioned() {
		for _, f := range l.w.contradictions(name, dump.HostSpace) {
			if f.File != "" && hasPrefix(f.File, dump.ZtunnelSpace+"/") {
				f.Space = dump.ZtunnelSpace
			}
			if l.options.covers(f.Space) || f.Space == dump.HostSpace {
				out = append(out, f)
			}
		}
	}
	out = append(out, l.gatewayClaims()...)
	for _, s := range []*space{l.host, l.pod} {
		if s != nil {
			out = append(out, s.brokenAddresses()...)
		}
	}
	return out
}

func hasPrefix(s, prefix string) bool { return len(s) >= len(prefix) && s[:len(prefix)] == prefix }

// gatewayClaims holds what the pod says of its node against what the node says.
func (l *legacy) gatewayClaims() []Finding {
	var out []Finding
	host := l.addr(paramHost)
	z := l.addr(paramZtunnel)
	for _, e := range uniqueClaims(l.w.said[paramGateway]) {
		g, err := netip.ParseAddr(e.Says)
		if err != nil || g == host || isStandIn(host) {
			continue
		}
		f := Finding{
			Kind: Contradiction, Space: dump.ZtunnelSpace, Section: Parameters, Place: paramGateway,
			Have: e.Line, File: e.File, Line: e.LineNo,
		}
		own := netip.Prefix{}
		if l.pod != nil {
			own, _ = l.pod.address("eth0")
		}
		switch {
		case own.IsValid() && own.Addr() == g:
			f.Fields = []Field{{paramGateway, addrText(host), g.String()}}
			f.Note = fmt.Sprintf("%s is the pod's own address on eth0; the far end of its tunnels is the node's address on the pod's side", g)
		case l.host != nil && !l.host.excerptLinks():
			if l.nodeHas(g) || g.IsLinkLocalUnicast() {
				continue
			}
			f.Fields = []Field{{paramGateway, addrText(host), g.String()}}
			f.Note = fmt.Sprintf("the pod's tunnels lead to %s, and no device of the node has that address", g)
		case host.IsValid() && z.IsValid() && netip.PrefixFrom(z, 24).Contains(host):
			f.Fields = []Field{{paramGateway, host.String(), g.String()}}
			f.Note = fmt.Sprintf("the node's address in this pod's range is %s", host)
		default:
			continue
		}
		if h := l.w.first(paramHost, addrText(host)); h.Line != "" {
			f.Want = h.Line
		}
		out = append(out, f)
	}
	return out
}

// uniqueClaims keeps the first line that gives each value.
func uniqueClaims(said []Evidence) []Evidence {
	var out []Evidence
	seen := map[string]bool{}
	for _, e := range said {
		if !seen[e.Says] {
			seen[e.Says] = true
			out = append(out, e)
		}
	}
	return out
}

func (l *legacy) nodeHas(ip netip.Addr) bool {
	for _, link := range l.host.Links {
		for _, a := range link.Addrs {
			if a.Prefix.Addr() == ip {
				return true
			}
		}
	}
	return false
}

// brokenAddresses finds broadcast addresses that do not belong to the address they
// stand beside.
func (s *space) brokenAddresses() []Finding {
	var out []Finding
	for _, link := range s.Links {
		for _, a := range link.Addrs {
			if !a.Broadcast.IsValid() || !a.Prefix.Addr().Is4() || a.Prefix.Bits() > 30 {
				continue
			}
			if right := lastAddress(a.Prefix); a.Broadcast != right {
				out = append(out, Finding{
					Kind: Contradiction, Space: s.name, Section: Devices, Place: link.Name, File: s.file(dump.KindLinks), Line: link.Line,
					Have:   fmt.Sprintf("inet %s brd %s", a.Prefix, a.Broadcast),
					Fields: []Field{{"brd", right.String(), a.Broadcast.String()}},
					Note:   fmt.Sprintf("%s is not in the network of %s: one of the two addresses is wrong", a.Broadcast, a.Prefix),
				})
			}
		}
	}
	return out
}

// lastAddress is a network's broadcast address.
func lastAddress(p netip.Prefix) netip.Addr {
	b := p.Addr().As4()
	for i := range b {
		bits := min(max(p.Bits()-8*i, 0), 8)
		b[i] |= byte(0xff >> bits)
	}
	return netip.AddrFrom4(b)
}
