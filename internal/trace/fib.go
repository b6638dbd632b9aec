// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"net/netip"
	"slices"

	"github.com/ambient22/ambient22/internal/dump/iproute"
)

// The tables that always exist.
const (
	tableDefault = 253
	tableMain    = 254
	tableLocal   = 255
)

// fib is one routing table: for each prefix length that occurs, longest first, the
// routes by their network.
type fib struct {
	id      uint32
	lengths []int
	nets    [33]map[uint32][]*route
}

// route is one route, ready to be used.
type route struct {
	src     *iproute.Route
	typ     routeType
	tos     uint8
	metric  uint32
	scope   uint8
	bits    int
	prefSrc uint32
	dead    bool
	strange string // why it cannot be followed
	hops    []hop
	order   int
}

// hop is one way of a route.
type hop struct {
	dev      string
	via      netip.Addr
	dead     bool
	linkdown bool
	onlink   bool
	unsure   bool // whether the gateway is used depends on what was there before
}

// result is what looking up a destination gave.
type result struct {
	kind  resultKind
	table uint32
	route *route
	hop   int
}

type resultKind uint8

const (
	foundNothing resultKind = iota
	foundRoute
	foundBlackhole
	foundUnreachable
	foundProhibit
	foundUnknown // an open choice: the walk has ended
)

func compileFIBs(routes []*iproute.Route) map[uint32]*fib {
	fibs := map[uint32]*fib{}
	for i, src := range routes {
		if src.IPv6 {
			continue
		}
		f := fibs[src.Table]
		if f == nil {
			f = &fib{id: src.Table}
			fibs[src.Table] = f
		}
		f.add(compileRoute(src, i))
	}
	for _, f := range fibs {
		f.sort()
	}
	return fibs
}

func compileRoute(src *iproute.Route, order int) *route {
	rt := &route{src: src, tos: src.TOS, metric: src.Metric, order: order, bits: src.Dst.Bits()}
	var ok bool
	if rt.typ, ok = routeTypes[src.Type]; !ok {
		rt.strange = "routes of type " + src.Type + " are not modelled"
	}
	rt.scope = scopeOf(src)
	rt.prefSrc, _ = number(src.Src)
	rt.dead = slices.Contains(src.Flags, "dead")
	if len(src.Nexthops) == 0 {
		rt.hops = []hop{newHop(src.Via, src.Dev, src.Flags)}
	}
	for _, n := range src.Nexthops {
		rt.hops = append(rt.hops, newHop(n.Via, n.Dev, n.Flags))
	}
	if src.Dev == "" && len(src.Nexthops) == 0 && rt.typ == typeUnicast {
		rt.strange = "the route names no device: " + src.String()
	}
	return rt
}

func newHop(via netip.Addr, dev string, flags []string) hop {
	has := func(flag string) bool { return slices.Contains(flags, flag) }
	return hop{dev: dev, via: via, dead: has("dead"), linkdown: has("linkdown"), onlink: has("onlink")}
}

// scopeOf is the route's scope; a table's listing leaves out "global".
func scopeOf(src *iproute.Route) uint8 { return scopes[src.Scope] }

func (f *fib) add(rt *route) {
	net, ok := number(rt.src.Dst.Addr())
	if !ok || rt.bits < 0 || rt.bits > 32 {
		return
	}
	net &= maskOf(rt.bits)
	if f.nets[rt.bits] == nil {
		f.nets[rt.bits] = map[uint32][]*route{}
		f.lengths = append(f.lengths, rt.bits)
	}
	f.nets[rt.bits][net] = append(f.nets[rt.bits][net], rt)
}

// sort orders routes of one prefix as the kernel does: a TOS before none, then the
// lower metric.
func (f *fib) sort() {
	slices.SortFunc(f.lengths, func(a, b int) int { return b - a })
	for _, nets := range f.nets {
		for _, routes := range nets {
			if len(routes) < 2 {
				continue
			}
			slices.SortStableFunc(routes, func(a, b *route) int {
				if a.tos != b.tos {
					return int(b.tos) - int(a.tos)
				}
				return int(int64(a.metric) - int64(b.metric))
			})
		}
	}
}

// flow is what a routing decision depends on.
type flow struct {
	src, dst     uint32
	sport, dport uint16
	proto, tos   uint8
	mark         uint32
	uid          uint32 // 0 for what no process sends
	iif, oif     string
	// anyLink passes over ignore_routes_with_linkdown.
	anyLink bool
	// scope leaves out routes that lead further than it.
	scope uint8
}

// lookup finds the best route of a table: the longest prefix whose route fits.
// again tells that the next rule is to be asked (nothing found, or throw).
func (f *fib) lookup(s *Space, fl *flow) (res result, again bool) {
	if f == nil {
		return result{}, true
	}
	for _, bits := range f.lengths {
		for _, rt := range f.nets[bits][fl.dst&maskOf(bits)] {
			if res, ok := rt.use(s, fl, f.id); ok {
				return res, rt.typ == typeThrow
			}
		}
	}
	return result{}, true
}

// merged looks up tables local and main as the one that they are as long as
// nobody has touched the rules: the longest prefix of both, local's first where
// equal.
func merged(s *Space, local, main *fib, fl *flow) (result, bool) {
	for bits := 32; bits >= 0; bits-- {
		for _, f := range [2]*fib{local, main} {
			if f == nil || f.nets[bits] == nil {
				continue
			}
			for _, rt := range f.nets[bits][fl.dst&maskOf(bits)] {
				if res, ok := rt.use(s, fl, f.id); ok {
					return res, rt.typ == typeThrow
				}
			}
		}
	}
	return result{}, true
}

// use tells whether the route is good for the flow, and what follows from it.
func (rt *route) use(s *Space, fl *flow, table uint32) (result, bool) {
	if rt.tos != 0 && rt.tos != fl.tos&0x1c || rt.dead || rt.scope < fl.scope {
		return result{}, false
	}
	res := result{kind: foundRoute, table: table, route: rt}
	switch rt.typ {
	case typeBlackhole:
		res.kind = foundBlackhole
		return res, true
	case typeUnreachable:
		res.kind = foundUnreachable
		return res, true
	case typeProhibit:
		res.kind = foundProhibit
		return res, true
	case typeThrow:
		return res, true
	}
	for i := range rt.hops {
		h := &rt.hops[i]
		if h.dead || h.linkdown && !fl.anyLink && s.ignoresLinkdown(h.dev) || fl.oif != "" && fl.oif != h.dev {
			continue
		}
		res.hop = i
		return res, true
	}
	return result{}, false
}

// ownGateways finds next hops that are addresses of the namespace's own. The
// kernel takes such a route as if it had no gateway (unless it is onlink): the
// destination itself is the neighbour. It looks the gateway up once, when the route
// is made: in the route's table, then as any other address.
func (s *Space) ownGateways() {
	for _, f := range s.fibs {
		for _, nets := range f.nets {
			for _, routes := range nets {
				for _, rt := range routes {
					for i := range rt.hops {
						s.ownGateway(f, &rt.hops[i])
					}
				}
			}
		}
	}
}

func (s *Space) ownGateway(f *fib, h *hop) {
	gateway, ok := number(h.via)
	if !ok || !h.via.IsValid() || h.onlink {
		return
	}
	fl := flow{dst: gateway, iif: loopback, oif: h.dev, scope: scopes["link"], anyLink: true}
	for _, table := range [...]*fib{f, s.fibs[tableLocal], s.fibs[tableMain]} {
		if table == f && f.id == tableMain {
			continue
		}
		res, again := table.lookup(s, &fl)
		if again || res.kind != foundRoute {
			continue
		}
		if res.route.typ == typeLocal {
			h.via = netip.Addr{}
			// A local route that somebody made may be younger than this one.
			h.unsure = res.route.src.Proto != "kernel" && res.route.src.Line != 0
		}
		return
	}
}

// usesDev tells whether one of the route's ways is dev.
func (rt *route) usesDev(dev string) bool {
	return slices.ContainsFunc(rt.hops, func(h hop) bool { return h.dev == dev })
}
