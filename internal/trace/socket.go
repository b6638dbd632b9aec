// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"fmt"

	"github.com/ambient22/ambient22/internal/dump/iptsave"
)

// socket finds the local socket at an address and port: with connected, one whose
// other end is the packet's source, else one that listens there, an exact address
// before any.
func (r *run) socket(local uint32, port uint16, connected bool) *Socket {
	var wildcard *Socket
	for _, list := range [2][]Socket{r.c.sockets, r.s.cfg.sockets} {
		for i := range list {
			sk := &list[i]
			if sk.Protocol != r.h.proto || sk.Local.Port() != port || sk.Remote.IsValid() != connected {
				continue
			}
			a, ok := number(sk.Local.Addr())
			switch {
			case !ok && !sk.Local.Addr().IsUnspecified():
			case connected:
				remote, ok := number(sk.Remote.Addr())
				if ok && a == local && remote == r.h.src && sk.Remote.Port() == r.h.sport {
					return sk
				}
			case ok && a == local && a != 0:
				return sk
			case (a == 0 || !ok) && wildcard == nil:
				wildcard = sk
			}
		}
	}
	return wildcard
}

// tproxy gives the packet to a local socket without changing it: one that is
// connected with its source, else one that listens at the rule's address. Without
// a transparent one the packet is dropped.
func (r *run) tproxy(ru *rule) (leaves bool) {
	t := ru.src.Target.(iptsave.TPROXY)
	if r.h.proto != protoTCP && r.h.proto != protoUDP {
		r.note(StepSocket, "TPROXY is for TCP and UDP: the packet is dropped")
		r.end(Dropped)
		return true
	}
	if r.hook != Prerouting {
		r.unknown("TPROXY works in PREROUTING only: " + ru.src.String())
		return true
	}
	on, port, ok := r.tproxyTarget(t)
	if !ok {
		return true
	}
	sk := r.socket(r.h.dst, r.h.dport, true)
	target := addrPort(r.h.dst, r.h.dport)
	if sk == nil {
		sk = r.socket(on, port, false)
		target = addrPort(on, port)
	}
	switch {
	case sk == nil && !r.s.cfg.socketsKnown:
		r.doubt(fmt.Sprintf("which sockets are open is not known; one that listens on %s is taken to be there", target))
	case sk == nil:
		r.note(StepSocket, "no socket listens there: the packet is dropped")
		r.end(Dropped)
		return true
	case !sk.Transparent:
		r.note(StepSocket, "the socket there is not transparent: the packet is dropped")
		r.end(Dropped)
		return true
	}
	before := r.h.mark
	if t.HasMark {
		r.setMark(r.h.mark&^t.Mask ^ t.Value)
	}
	r.taken, r.target = sk, target
	if sk == nil {
		r.taken = &assumedSocket
	}
	if r.record {
		st := r.step(StepSocket)
		st.Rule, st.Matched, st.Mark, st.Socket = ru.src, true, before, target
	}
	return true
}

// assumedSocket stands for a listener that nobody told of.
var assumedSocket = Socket{Transparent: true}

// tproxyTarget is where a rule looks for a listener: an open address is that of
// the device, an open port the packet's.
func (r *run) tproxyTarget(t iptsave.TPROXY) (on uint32, port uint16, ok bool) {
	port = t.Port
	if port == 0 {
		port = r.h.dport
	}
	on, ok = number(t.IP)
	if !ok {
		r.unknown("TPROXY's address is not IPv4")
		return 0, 0, false
	}
	if on == 0 {
		if on, ok = r.s.device(r.h.in).firstAddr(); !ok {
			on = r.h.dst
		}
	}
	return on, port, true
}
