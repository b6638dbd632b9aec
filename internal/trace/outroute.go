// SPDX-License-Identifier: Apache-2.0

package trace

import "net/netip"

// routeOutput is the first routing decision of what a local process sends. It
// chooses the source address where the sender left it open.
func (r *run) routeOutput() bool {
	h := &r.h
	if isMulticast(h.src) || isBroadcast(h.src) || isZeronet(h.src) && h.src != 0 {
		r.note(StepFilter, "the source is no address that a packet can be sent from")
		r.end(Unroutable)
		return false
	}
	if isMulticast(h.dst) || isBroadcast(h.dst) {
		return r.sendToMany()
	}
	if h.dst == 0 { // the sender's own address, one of the device that it is bound to, or 127.0.0.1
		if h.src == 0 && r.pub.OIF != "" {
			h.src, _ = r.s.selectAddr(r.pub.OIF, 0, scopes["host"])
		}
		if h.dst = h.src; h.dst == 0 {
			h.dst = 127<<24 | 1
			h.src = h.dst
		}
		r.public()
		r.out, r.via, r.rt = loopback, netip.Addr{}, nil
		return h.proto != protoTCP || r.findOutput(false)
	}
	chosen := h.src == 0
	if !r.findOutput(true) {
		return false
	}
	// TCP looks again with the address that it has chosen.
	if chosen && h.proto == protoTCP {
		if r.s.addressType(h.src, "") != typeLocal {
			r.note(StepFilter, "the source that the route gives is no address of this namespace")
			r.end(Unroutable)
			return false
		}
		return r.findOutput(false)
	}
	return true
}

// findOutput looks up the way out and sets out, via and, where open, the source.
func (r *run) findOutput(told bool) bool {
	h := &r.h
	fl := h.flow()
	fl.iif, fl.oif = loopback, r.pub.OIF
	fl.uid = r.pub.UID
	if fl.oif != "" && !r.s.device(fl.oif).up {
		r.note(StepFilter, "the device that the sender is bound to is down")
		r.end(Unroutable)
		return false
	}
	res := r.lookup(&fl, told)
	if r.done {
		return false
	}
	if res.kind != foundRoute && fl.oif != "" {
		// Somebody who binds to a device sends to its link whatever the routes say.
		r.out, r.via, r.rt = fl.oif, netip.Addr{}, nil
		return r.chooseSource(0, 253) && r.leavable()
	}
	if !r.usable(res, Unroutable) {
		return false
	}
	if res.route.typ == typeLocal {
		r.out, r.via, r.rt = loopback, netip.Addr{}, res.route
		if h.src == 0 {
			h.src = h.dst
			if res.route.prefSrc != 0 {
				h.src = res.route.prefSrc
			}
			r.public()
		}
		return true
	}
	if !r.take(res, &fl) {
		return false
	}
	if res.route.typ == typeBroadcast {
		r.doubt(doubtBroadcast)
	}
	if !r.chooseSource(res.route.prefSrc, res.route.scope) {
		return false
	}
	return r.leavable()
}

// chooseSource fills in an open source: the route's own, or one of the device's.
func (r *run) chooseSource(preferred uint32, scope uint8) bool {
	h := &r.h
	if h.src != 0 {
		return true
	}
	h.src = preferred
	if h.src == 0 {
		gateway, ok := number(r.via)
		if !ok {
			gateway = 0
		}
		h.src, ok = r.s.selectAddr(r.out, gateway, scope)
		if !ok {
			r.doubt("no address of " + r.out + " is in the dump; the source stays open")
		}
	}
	r.public()
	return true
}

// leavable refuses what the kernel never puts on a link.
func (r *run) leavable() bool {
	d := r.s.device(r.out)
	if isLoopback(r.h.src) && r.out != loopback && !d.conf.routeLocalnet.on() {
		r.note(StepFilter, "the source is in 127.0.0.0/8, and route_localnet is off")
		r.end(Unroutable)
		return false
	}
	return true
}

// sendToMany is for broadcast and multicast: the device is the sender's, or that of
// its address.
func (r *run) sendToMany() bool {
	h := &r.h
	dev := r.pub.OIF
	if dev == "" && h.src != 0 {
		dev = r.s.locals[h.src]
		if dev == "" {
			r.note(StepFilter, "no device has the source address")
			r.end(Unroutable)
			return false
		}
	}
	if dev == "" {
		return r.findOutput(true)
	}
	if isBroadcast(h.dst) {
		r.doubt(doubtBroadcast)
	}
	r.out, r.via, r.rt = dev, netip.Addr{}, nil
	return r.chooseSource(0, 253)
}

const doubtBroadcast = "only a socket with SO_BROADCAST may send to everybody on a link"

// reroute looks for the way out again, because mangle or NAT changed what it
// depends on (ip_route_me_harder). Who sent it does not count any more: ip rules see
// root. Without a way the packet is dropped.
func (r *run) reroute(why string) bool {
	r.note(StepFilter, why)
	h := &r.h
	fl := r.dissected()
	fl.iif, fl.oif = loopback, r.pub.OIF
	if typ := r.s.addressType(h.src, ""); typ != typeLocal && typ != typeUnicast {
		fl.src = 0
	}
	res := r.lookup(&fl, true)
	switch {
	case r.done:
		return false
	case res.kind != foundRoute && fl.oif != "" && r.s.device(fl.oif).up:
		r.out, r.via, r.rt = fl.oif, netip.Addr{}, nil
		return r.leavable()
	case !r.usable(res, Unroutable):
		return false
	case res.route.typ == typeLocal:
		r.out, r.via, r.rt = loopback, netip.Addr{}, res.route
		return true
	}
	return r.take(res, &fl) && r.leavable()
}
