// SPDX-License-Identifier: Apache-2.0

package trace

// manip says which end of a connection a hook's NAT changes.
type manip bool

const (
	manipDst manip = false // PREROUTING, OUTPUT
	manipSrc manip = true  // INPUT, POSTROUTING
)

func (h Hook) manip() manip { return h == Input || h == Postrouting }

// natHook is the nat table's place in a hook: the rules for a connection's first
// packet, then the change that they decided on, for every packet.
func (r *run) natHook(st *stage) {
	if !r.tracked {
		return // INVALID and untracked packets pass by
	}
	m := r.hook.manip()
	if !r.reply && !r.ct.replied && !r.natDone(m) {
		r.runTable(st)
		if r.done {
			return
		}
		if !r.natDone(m) && r.s.hasNAT {
			r.bind(m, natRange{})
		}
	} else if r.masqueradeMoved(m) {
		r.killed = true
		r.note(StepNAT, "the device changed that MASQUERADE took its address from: the connection is dropped")
		r.end(Dropped)
		return
	}
	r.manipulate(m)
}

func (r *run) natDone(m manip) bool {
	if m == manipSrc {
		return r.ct.srcDone
	}
	return r.ct.dstDone
}

func (r *run) masqueradeMoved(m manip) bool {
	return r.hook == Postrouting && !r.reply && r.ct.masqOut != "" && r.ct.masqOut != r.out
}

// natRange is what a NAT rule allows; nothing for a binding that keeps all.
type natRange struct {
	setAddr, setPort bool
	addr             uint32
	low, high        uint16
}

// bind decides a connection's NAT of one kind. A binding that would give two
// connections the same answers takes another port.
func (r *run) bind(m manip, g natRange) {
	current := r.ct.reply.reversed()
	next := current
	if m == manipSrc {
		next = r.newSource(current, g)
		r.ct.srcDone = true
	} else {
		if g.setAddr {
			next.dst = g.addr
		}
		if g.setPort && hasPorts(next.proto) && (next.dport < g.low || next.dport > g.high) {
			next.dport = g.low
		}
		r.ct.dstDone = true
	}
	if next == current {
		return
	}
	r.ct.reply = next.reversed()
	if m == manipSrc {
		r.ct.srcNAT = true
	} else {
		r.ct.dstNAT = true
	}
}

func (r *run) newSource(current tuple, g natRange) tuple {
	next := current
	if g.setAddr {
		next.src = g.addr
	}
	ports := hasPorts(next.proto) || next.proto == protoICMP
	if g.setPort && ports && (next.sport < g.low || next.sport > g.high) {
		next.sport = g.low
		if g.low != g.high {
			r.doubt("NAT draws the source port; the lowest is shown")
		}
	}
	if !ports || !r.answersTaken(next) {
		return next
	}
	low, high := portClass(current.sport)
	if g.setPort {
		low, high = g.low, g.high
	}
	for port := int(low); port <= int(high); port++ {
		next.sport = uint16(port)
		if high-low < evictRange && r.evicts(next) {
			r.doubt("a connection that has ended has the same answers: the new one takes its place, if TCP's numbers have gone on")
			return next
		}
		if !r.answersTaken(next) {
			r.doubt("another connection has the same answers: NAT draws another source port; the lowest free one is shown")
			return next
		}
	}
	return next
}

// answersTaken tells whether another connection owns the answers to a tuple.
func (r *run) answersTaken(t tuple) bool {
	n := r.c.byTuple[t.reversed()]
	return n != nil && n != r.entry && n != r.closed && n != r.evicted
}

// evictRange is how few ports must be left before the kernel makes room among
// connections that have ended.
const evictRange = 32

// evicts makes room for a new TCP connection where one that has ended, and whose
// source was changed, too, has the same answers.
func (r *run) evicts(t tuple) bool {
	n := r.c.byTuple[t.reversed()]
	if n == nil || n == r.entry || t.proto != protoTCP || r.ct.tcp != tcpSynSent ||
		n.reply != t.reversed() || !n.srcNAT || n.tcp != tcpTimeWait && n.tcp != tcpClose {
		return false
	}
	r.evicted = n
	return true
}

// portClass is the class of source ports that a changed one stays in.
func portClass(port uint16) (low, high uint16) {
	switch {
	case port < 512:
		return 1, 511
	case port < 1024:
		return 600, 1023
	}
	return 1024, 65535
}

// manipulate changes the packet as its connection's NAT says.
func (r *run) manipulate(m manip) {
	source := m == manipSrc
	// A reply's source is undone where the destination was changed, and the other
	// way about.
	active := r.ct.dstNAT
	if source != r.reply {
		active = r.ct.srcNAT
	}
	if !active {
		return
	}
	other := r.ct.reply
	if r.reply {
		other = r.ct.orig
	}
	want, h := other.reversed(), &r.h
	before := *h
	switch {
	case source:
		h.src = want.src
	default:
		h.dst = want.dst
	}
	switch {
	case h.proto == protoICMP: // one identifier stands for both ends
		if h.dport == h.sport {
			h.dport = want.sport
		}
		h.sport = want.sport
	case !hasPorts(h.proto):
	case source:
		h.sport = want.sport
	default:
		h.dport = want.dport
	}
	if before == *h {
		return
	}
	r.public()
	if r.record {
		st := r.step(StepNAT)
		st.Note = natNotes[0]
		if source {
			st.Note = natNotes[1]
		}
		st.Matched = true
	}
}

var natNotes = [2]string{"destination", "source"}

// natTo carries out a NAT rule. false: the rule drops the packet.
func (r *run) natTo(ru *rule) bool {
	n, m := ru.nat, r.hook.manip()
	if n.strange || (n.kind == "SNAT" || n.kind == "MASQUERADE") != (m == manipSrc) && n.kind != "NETMAP" {
		r.unknown("the rule's NAT is not understood here: " + ru.src.String())
		return false
	}
	if n.kind == "MASQUERADE" && r.h.src == 0 {
		return true
	}
	g, ok := r.allowed(ru, m)
	if !ok {
		return false
	}
	switch {
	case n.random && m == manipSrc:
		r.doubt("NAT draws the source port (--random); it is shown unchanged")
	case n.random && g.low != g.high:
		r.doubt("NAT draws the destination port (--random); it is shown as without")
	}
	r.bind(m, g)
	return true
}

// allowed is the range that a NAT rule leaves to the packet's connection; false where
// the walk ends, or stays open.
func (r *run) allowed(ru *rule, m manip) (g natRange, ok bool) {
	n := ru.nat
	if n.lowPort != 0 {
		g.setPort, g.low, g.high = true, n.lowPort, n.hiPort
	}
	switch n.kind {
	case "MASQUERADE":
		gateway, ok := number(r.via)
		if !ok || gateway == 0 {
			gateway = r.h.dst
		}
		g.setAddr = true
		if g.addr, ok = r.s.selectAddr(r.out, gateway, 0); !ok {
			return g, r.noAddress(r.out)
		}
		r.ct.masqOut = r.out
	case "REDIRECT":
		g.setAddr, g.addr = true, 127<<24|1
		if r.hook == Prerouting {
			if g.addr, ok = r.s.device(r.h.in).firstAddr(); !ok {
				return g, r.noAddress(r.h.in)
			}
		}
	case "NETMAP":
		old := r.h.dst
		if m == manipSrc {
			old = r.h.src
		}
		g.setAddr, g.addr = true, old&^n.mask|n.net&n.mask
	default:
		g.setAddr, g.addr = n.hasAddr, n.low
		if n.high > n.low {
			pick, ok := r.decide(Choice{Kind: ChoiceRange, N: int(min(n.high-n.low, 1<<16)) + 1, Rule: ru.src})
			if !ok {
				return g, false
			}
			g.addr += uint32(pick)
		}
	}
	return g, true
}

// noAddress drops a packet for which a device has no address, unless the dump
// simply does not have the device's addresses.
func (r *run) noAddress(dev string) bool {
	if d := r.s.devices[dev]; d == nil || d.link == nil {
		r.unknown("the addresses of " + dev + " are not in the dump")
		return false
	}
	r.note(StepNAT, "the device has no address for the NAT: the packet is dropped")
	r.end(Dropped)
	return false
}
