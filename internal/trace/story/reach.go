// SPDX-License-Identifier: Apache-2.0

package story

import (
	"net/netip"
	"slices"
)

// Reach is what a call may touch: the addresses between which its packets go,
// whatever a ztunnel or a service chooses.
type Reach struct {
	Protocol uint8
	// From are the caller's addresses, To is what it calls.
	From []netip.Addr
	To   netip.AddrPort
	// Near are the caller's addresses and those of the ztunnels, which call in its
	// place.
	Near []netip.Addr
	// Far are the destination and, of a service, its endpoints.
	Far   []netip.Addr
	Ports []uint16 // on the far side, without those of the mesh
}

// Reach is what a query's call may touch.
func (m *Mesh) Reach(q Query) (*Reach, error) {
	e, err := m.resolve(q)
	if err != nil {
		return nil, err
	}
	r := &Reach{Protocol: e.protocol, From: []netip.Addr{e.from.ip}, To: e.dst, Far: []netip.Addr{e.dst.Addr()}, Ports: []uint16{e.dst.Port()}}
	for _, n := range m.nodes {
		if z := n.ztunnelIP(); z.IsValid() {
			r.Near = append(r.Near, z)
		}
		if e.from.kind == nodeEntity && n.name() == e.from.node && n.host != nil {
			for _, l := range n.host.ns.Links {
				for _, a := range l.Addrs {
					r.From = append(r.From, a.Prefix.Addr())
				}
			}
		}
	}
	for _, s := range e.to.services {
		for _, a := range s.endpoints {
			r.Far, r.Ports = append(r.Far, a.Addr()), append(r.Ports, a.Port())
		}
	}
	if e.to.kind == serviceEntity && len(e.to.services) == 0 {
		// Nobody told the endpoints: it may be any pod.
		for _, p := range m.names {
			if p.kind == podEntity && p.ip.IsValid() {
				r.Far = append(r.Far, p.ip)
			}
		}
	}
	r.From = distinct(r.From)
	r.Near, r.Far = distinct(append(r.Near, r.From...)), distinct(r.Far)
	slices.Sort(r.Ports)
	r.Ports = slices.Compact(r.Ports)
	return r, nil
}

// distinct is the list in order, each once, without what no packet between hosts has.
func distinct(list []netip.Addr) []netip.Addr {
	list = slices.DeleteFunc(list, func(a netip.Addr) bool { return !a.Is4() || a.IsLoopback() })
	slices.SortFunc(list, netip.Addr.Compare)
	return slices.Compact(list)
}
