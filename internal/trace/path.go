// SPDX-License-Identifier: Apache-2.0

package trace

import "net/netip"

// receive is the way of a packet that comes in by r.h.in.
func (r *run) receive() {
	r.checkDevice()
	if !r.done {
		r.incoming()
	}
}

func (r *run) checkDevice() {
	d := r.s.devices[r.h.in]
	switch {
	case d == nil && len(r.s.ns.Links) > 0:
		r.doubt("the device " + r.h.in + " is not in the dump")
	case d == nil:
	case !d.up:
		r.note(StepFilter, "the device is down")
		r.end(Dropped)
	case d.link != nil && d.link.Master != "":
		r.checkMaster(d.link.Master)
	}
}

// checkMaster tells of devices that belong to another: a bridge's port gives its
// packets to the bridge, and a VRF has tables of its own.
func (r *run) checkMaster(name string) {
	if m := r.s.devices[name]; m != nil && m.link != nil && (m.link.Kind == "bridge" || m.link.Kind == "vrf") {
		r.doubt(r.h.in + " belongs to the " + m.link.Kind + " " + name + ", which is not followed")
	}
}

// incoming goes from PREROUTING on.
func (r *run) incoming() {
	if !r.runHook(Prerouting, "") {
		return
	}
	local := r.looped
	if !r.looped {
		local = r.routeInput()
	}
	switch {
	case r.done:
	case local:
		r.input()
	default:
		r.forward()
	}
}

// input is delivery to this namespace.
func (r *run) input() {
	r.out, r.via = "", netip.Addr{}
	if !r.runHook(Input, "") {
		return
	}
	r.end(Delivered)
}

func (r *run) forward() {
	if r.taken != nil {
		r.note(StepSocket, "TPROXY gave the packet to a socket, but the route leads on: forwarding drops it")
		r.end(Dropped)
		return
	}
	if !r.runHook(Forward, r.out) {
		return
	}
	if r.isLoopback(r.out) {
		r.note(StepFilter, "the route leads through lo: the packet circles until its TTL is used up")
		r.end(Dropped)
		return
	}
	r.leave()
}

// leave passes POSTROUTING and hands the packet to its device.
func (r *run) leave() {
	if !r.runHook(Postrouting, r.out) {
		return
	}
	if r.record {
		st := r.step(StepOut)
		st.Out, st.Via = r.out, r.via
	}
	if d := r.s.devices[r.out]; d != nil && !d.up {
		r.note(StepFilter, "the device is down")
		r.end(Dropped)
		return
	}
	if r.isLoopback(r.out) {
		r.comeBack()
		return
	}
	if isLoopback(r.h.src) {
		r.doubt("the source is in 127.0.0.0/8: a neighbour that is not known yet cannot be asked for with it")
	}
	r.end(Sent)
}

func (r *run) isLoopback(dev string) bool {
	if d := r.s.devices[dev]; d != nil && d.link != nil {
		return d.link.Has("LOOPBACK")
	}
	return dev == loopback
}

// comeBack lets a packet that was sent through lo come in by it. It keeps its mark,
// its connection and its route, but not its socket.
func (r *run) comeBack() {
	r.h.in, r.pub.In = r.out, r.out
	r.local, r.looped = false, true
	r.incoming()
}

// send is the way of a packet that a local process sends.
func (r *run) send() {
	r.local = true
	if !r.routeOutput() {
		return
	}
	if r.runHook(Output, r.out) {
		r.leave()
	}
}
