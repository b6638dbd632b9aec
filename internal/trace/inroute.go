// SPDX-License-Identifier: Apache-2.0

package trace

// routeInput decides where a packet goes that came in by a device: to this
// namespace (local true) or on to r.out. It ends the walk where it goes nowhere.
func (r *run) routeInput() (local bool) {
	h, d := &r.h, r.s.device(r.h.in)
	localnet := d.conf.routeLocalnet
	switch {
	case isMulticast(h.dst):
		r.unknown("which multicast groups are joined is not in a dump")
		return false
	case isMulticast(h.src) || isBroadcast(h.src):
		return r.martian("the source is not a host's address")
	case isBroadcast(h.dst) || h.src == 0 && h.dst == 0:
		return r.broadcastInput()
	case isZeronet(h.src):
		return r.martian("the source is 0.0.0.0")
	case isZeronet(h.dst):
		return r.martian("the destination is 0.0.0.0")
	case isLoopback(h.dst) && !localnet.on():
		return r.martian("the destination is in 127.0.0.0/8, and route_localnet is off")
	case isLoopback(h.src) && !isLoopback(h.dst) && !localnet.on():
		return r.martian("the source is in 127.0.0.0/8, and route_localnet is off")
	}
	fl := r.dissected()
	fl.iif = h.in
	res := r.lookup(&fl, true)
	if r.done || !r.usable(res, Unroutable) {
		return false
	}
	switch typ := res.route.typ; {
	case typ == typeLocal:
		return r.validateSource(h.dst, "")
	case typ == typeBroadcast && d.conf.broadcastForwarding.on(): // whether or not it forwards anything else
	case typ == typeBroadcast:
		return r.broadcastInput()
	case !r.forwards(d):
		return false
	case typ != typeUnicast:
		return r.martian("the destination is no host's address by the routes")
	}
	if r.take(res, &fl) {
		r.validateSource(h.dst, r.out)
	}
	return false
}

func (r *run) martian(why string) bool {
	r.note(StepFilter, why)
	r.end(Martian)
	return false
}

// broadcastInput is delivery to everybody on the link, whose source is checked
// without a destination.
func (r *run) broadcastInput() bool {
	return isZeronet(r.h.src) || r.validateSource(0, "")
}

// forwards asks whether the device passes packets on.
func (r *run) forwards(d *device) bool {
	v := d.conf.forwarding
	if v.on() {
		return true
	}
	if v.guessed != "" {
		r.missing(v)
	}
	r.note(StepFilter, "forwarding is off")
	r.end(Unroutable)
	return false
}

// usable ends the walk where a lookup did not find a route to follow.
func (r *run) usable(res result, none Verdict) bool {
	switch res.kind {
	case foundUnknown:
		return false
	case foundNothing:
		r.end(none)
	case foundBlackhole:
		r.end(Dropped)
	case foundUnreachable, foundProhibit:
		r.end(Rejected)
	default:
		if res.route.strange != "" {
			r.unknown(res.route.strange)
			return false
		}
		return true
	}
	return false
}

// take makes the route's way the packet's, choosing where there are several.
func (r *run) take(res result, fl *flow) bool {
	rt := res.route
	alive := r.alive[:0]
	for i, h := range rt.hops {
		if !h.dead && (!h.linkdown || !r.s.ignoresLinkdown(h.dev)) && (fl.oif == "" || fl.oif == h.dev) {
			alive = append(alive, i)
		}
	}
	r.alive = alive
	pick := 0
	if len(alive) > 1 && fl.oif == "" {
		var ok bool
		if pick, ok = r.decide(Choice{Kind: ChoicePath, N: len(alive), Route: rt.src}); !ok {
			return false
		}
	}
	h := &rt.hops[res.hop]
	if len(alive) > pick {
		h = &rt.hops[alive[pick]]
	}
	if h.unsure {
		r.doubt("whether the gateway, an own address, is used depends on when the route was made: " + rt.src.String())
	}
	r.out, r.via, r.rt = h.dev, h.via, rt
	return true
}

// dissected is the packet as routing sees it that it did not make itself. The kernel
// reads protocol and ports only where an ip rule asks for them.
func (r *run) dissected() flow {
	fl := r.h.flow()
	if !r.s.dissects {
		fl.proto, fl.sport, fl.dport = 0, 0, 0
	}
	return fl
}

// flow is the packet as a local process describes it to routing.
func (h *header) flow() flow {
	fl := flow{src: h.src, dst: h.dst, proto: h.proto, tos: h.tos, mark: h.mark}
	if hasPorts(h.proto) {
		fl.sport, fl.dport = h.sport, h.dport
	}
	return fl
}
