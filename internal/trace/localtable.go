// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"net/netip"

	"github.com/ambient22/ambient22/internal/dump/iproute"
)

// localRoutes are what the kernel puts into table local for the devices'
// addresses, for a dump that has the addresses and not the table.
func localRoutes(links []*iproute.Link) []*iproute.Route {
	var routes []*iproute.Route
	add := func(typ string, p netip.Prefix, dev string) {
		scope := "link"
		if typ == "local" {
			scope = "host"
		}
		routes = append(routes, &iproute.Route{Type: typ, Dst: p.Masked(), Table: tableLocal, Dev: dev, Scope: scope, Proto: "kernel"})
	}
	for _, l := range links {
		if !l.Up() {
			continue
		}
		for _, a := range l.Addrs {
			own := a.Prefix.Addr()
			if !own.Is4() {
				continue
			}
			add("local", netip.PrefixFrom(own, 32), l.Name)
			if own.IsLoopback() && a.Prefix.Bits() < 32 {
				add("local", a.Prefix, l.Name)
			}
			if a.Broadcast.IsValid() && l.Has("BROADCAST") {
				add("broadcast", netip.PrefixFrom(a.Broadcast, 32), l.Name)
			}
			n, _ := number(own)
			if bits := a.Prefix.Bits(); bits < 31 && (l.Has("BROADCAST") || own.IsLoopback()) {
				add("broadcast", netip.PrefixFrom(addr(n|^maskOf(bits)), 32), l.Name)
			}
		}
	}
	return routes
}

// sourceRoutes are the same for a dump that has neither table local nor addresses: the
// kernel's own route to a device's network says the address that the device has.
func sourceRoutes(routes []*iproute.Route) []*iproute.Route {
	var out []*iproute.Route
	for _, r := range routes {
		if r.Proto == "kernel" && r.Src.Is4() && r.Dev != "" {
			out = append(out, &iproute.Route{Type: "local", Dst: netip.PrefixFrom(r.Src, 32), Table: tableLocal, Dev: r.Dev, Scope: "host", Proto: "kernel"})
		}
	}
	return out
}
