// SPDX-License-Identifier: Apache-2.0

package trace

// track is connection tracking's hook: it finds the packet's connection or begins
// one, which counts only once the packet has got through (confirm).
func (r *run) track() {
	if r.tracked || r.untracked {
		return // seen already: it came back through lo, or NOTRACK
	}
	if !r.s.tracking && r.c.count == 0 {
		return
	}
	h := &r.h
	t := h.tuple()
	n := r.c.byTuple[t]
	if n != nil && h.proto == protoTCP && n.reopens(h.flags, n.reply == t) {
		r.closed = n // a new connection takes the place of one that has ended
		n = nil
	}
	r.seen = true
	switch {
	case n != nil:
		r.entry, r.ct, r.reply = n, *n, n.reply == t // also where both are the same
		if r.advance() {
			r.tracked = true
			if r.reply {
				r.ct.replied = true
			}
		} else {
			r.entry, r.ct, r.reply = nil, conn{}, false
		}
	case r.beginsConnection():
		r.ct = conn{orig: t, reply: t.reversed()}
		if h.proto == protoTCP {
			r.ct.last.kind = kindNone
			r.ct.segment(h.flags, false)
		}
		r.tracked = true
	}
	if r.record {
		r.step(StepTrack)
	}
}

// advance follows a known connection; false where the packet does not fit it.
func (r *run) advance() bool {
	h := &r.h
	switch h.proto {
	case protoTCP:
		if !validFlags(h.flags) || !r.ct.segment(h.flags, r.reply) {
			return false
		}
		// A connection that nobody has answered yet ends with a RST of either side.
		r.killed = h.flags&flagRST != 0 && !r.ct.replied
	case protoICMP:
		return h.icmpType != 8 || !r.reply
	}
	return true
}

// beginsConnection tells whether a packet without a connection may begin one.
func (r *run) beginsConnection() bool {
	h := &r.h
	switch h.proto {
	case protoTCP:
		if !validFlags(h.flags) {
			return false
		}
		next := tcpNone.next(h.flags, false)
		return next == tcpSynSent || next == tcpEstablished && r.s.tcpLoose
	case protoICMP:
		switch h.icmpType {
		case 3, 4, 5, 11, 12:
			r.doubt("an ICMP error belongs to the connection that it quotes; this is not followed")
			return false
		case 8, 13, 15, 17:
			return true
		}
		return false
	}
	return true
}

// stateBits are the states of the packet for -m conntrack; nat adds SNAT and DNAT.
func (r *run) stateBits(nat bool) uint32 {
	var bits uint32
	switch {
	case !r.tracked && r.untracked:
		return stateUntracked
	case !r.tracked:
		return stateInvalid
	case r.established():
		bits = stateEstablished
	default:
		bits = stateNew
	}
	if nat && r.ct.srcNAT {
		bits |= stateSNAT
	}
	if nat && r.ct.dstNAT {
		bits |= stateDNAT
	}
	return bits
}

// established tells that the packet is a reply, or that the connection had one.
// What the very packet on its way changes does not count in its own direction.
func (r *run) established() bool { return r.reply || r.ct.replied }

func (r *run) trackState() TrackState {
	switch {
	case r.untracked:
		return Untracked
	case !r.seen:
		return Untouched
	case !r.tracked:
		return Invalid
	case r.reply:
		return Reply
	case r.ct.replied:
		return Established
	}
	return New
}

// confirm makes a new connection last: its first packet has passed all hooks. One
// whose answers another connection has already is dropped at the last moment.
func (r *run) confirm() {
	if !r.tracked || r.entry != nil || r.ct.confirmed {
		return
	}
	if n := r.c.byTuple[r.ct.reply]; n != nil && n != r.closed && n != r.evicted {
		r.note(StepTrack, "another connection has the same answers, and no other port is left: the packet is dropped")
		r.end(Dropped)
		return
	}
	r.ct.confirmed = true
}

// commit writes what the walk did to the table.
func (r *run) commit() {
	for _, n := range [...]*conn{r.closed, r.evicted} {
		if n != nil {
			r.c.remove(n)
		}
	}
	for _, c := range r.counted {
		r.c.setNth(c, r.c.nth[c]+1)
	}
	switch {
	case !r.tracked:
	case r.killed:
		if r.entry != nil {
			r.c.remove(r.entry)
		}
	case r.entry != nil:
		*r.entry = r.ct
	case r.ct.confirmed:
		n := r.ct
		r.c.insert(&n)
	}
}
