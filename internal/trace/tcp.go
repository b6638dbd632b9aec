// SPDX-License-Identifier: Apache-2.0

package trace

// tcpState is a connection's state as conntrack follows it. Sequence numbers are
// not followed: a packet inside the window is assumed.
type tcpState uint8

const (
	tcpNone tcpState = iota
	tcpSynSent
	tcpSynRecv
	tcpEstablished
	tcpFinWait
	tcpCloseWait
	tcpLastAck
	tcpTimeWait
	tcpClose
	tcpSynSent2
	tcpIgnored // the packet is let through, the state stays
	tcpInvalid // the packet belongs to no connection
)

var tcpNames = [...]string{
	"NONE", "SYN_SENT", "SYN_RECV", "ESTABLISHED", "FIN_WAIT", "CLOSE_WAIT",
	"LAST_ACK", "TIME_WAIT", "CLOSE", "SYN_SENT2",
}

// String is the state as conntrack -L prints it.
func (s tcpState) String() string {
	if s == tcpNone || int(s) >= len(tcpNames) {
		return ""
	}
	return tcpNames[s]
}

func tcpStateNamed(name string) tcpState {
	for i, n := range tcpNames {
		if n == name {
			return tcpState(i)
		}
	}
	return tcpNone
}

// tcpKind is what a segment is about: RST before SYN before FIN before ACK.
type tcpKind uint8

const (
	kindSYN tcpKind = iota
	kindSYNACK
	kindFIN
	kindACK
	kindRST
	kindNone
)

func kindOf(flags uint8) tcpKind {
	switch {
	case flags&flagRST != 0:
		return kindRST
	case flags&flagSYN != 0 && flags&flagACK != 0:
		return kindSYNACK
	case flags&flagSYN != 0:
		return kindSYN
	case flags&flagFIN != 0:
		return kindFIN
	case flags&flagACK != 0:
		return kindACK
	}
	return kindNone
}

// validFlags are the combinations that a TCP sends (PSH, ECE and CWR aside).
func validFlags(flags uint8) bool {
	switch flags & (flagFIN | flagSYN | flagRST | flagACK | flagURG) {
	case flagSYN, flagSYN | flagURG, flagSYN | flagACK, flagRST, flagRST | flagACK,
		flagFIN | flagACK, flagFIN | flagACK | flagURG, flagACK, flagACK | flagURG:
		return true
	}
	return false
}

// The kernel's transitions, in the order of the states from tcpNone to
// tcpSynSent2: for each kind of segment the state that follows.
const (
	oSS = tcpSynSent
	oSR = tcpSynRecv
	oES = tcpEstablished
	oFW = tcpFinWait
	oCW = tcpCloseWait
	oLA = tcpLastAck
	oTW = tcpTimeWait
	oCL = tcpClose
	oS2 = tcpSynSent2
	oIG = tcpIgnored
	oIV = tcpInvalid
)

var tcpOriginal = [6][10]tcpState{
	kindSYN:    {oSS, oSS, oIG, oIG, oIG, oIG, oIG, oSS, oSS, oS2},
	kindSYNACK: {oIV, oIV, oSR, oIV, oIV, oIV, oIV, oIV, oIV, oSR},
	kindFIN:    {oIV, oIV, oFW, oFW, oLA, oLA, oLA, oTW, oCL, oIV},
	kindACK:    {oES, oIV, oES, oES, oCW, oCW, oTW, oTW, oCL, oIV},
	kindRST:    {oIV, oCL, oCL, oCL, oCL, oCL, oCL, oCL, oCL, oCL},
	kindNone:   {oIV, oIV, oIV, oIV, oIV, oIV, oIV, oIV, oIV, oIV},
}

var tcpReply = [6][10]tcpState{
	kindSYN:    {oIV, oS2, oIV, oIV, oIV, oIV, oIV, oSS, oIV, oS2},
	kindSYNACK: {oIV, oSR, oIG, oIG, oIG, oIG, oIG, oIG, oIG, oSR},
	kindFIN:    {oIV, oIV, oFW, oFW, oLA, oLA, oLA, oTW, oCL, oIV},
	kindACK:    {oIV, oIG, oSR, oES, oCW, oCW, oTW, oTW, oCL, oIG},
	kindRST:    {oIV, oCL, oCL, oCL, oCL, oCL, oCL, oCL, oCL, oCL},
	kindNone:   {oIV, oIV, oIV, oIV, oIV, oIV, oIV, oIV, oIV, oIV},
}

// next is the state after a segment.
func (s tcpState) next(flags uint8, reply bool) tcpState {
	if s > tcpSynSent2 {
		return tcpInvalid
	}
	if reply {
		return tcpReply[kindOf(flags)][s]
	}
	return tcpOriginal[kindOf(flags)][s]
}

// tcpLast is what else the kernel remembers of a TCP connection's segments.
type tcpLast struct {
	kind  tcpKind // of the segment before
	reply bool    // its direction
	// closing tells that one side has said that it sends no more.
	closing bool
	// crossed tells that both sides began at the same time.
	crossed bool
}

// reopens tells whether a segment begins a connection anew that has ended.
func (n *conn) reopens(flags uint8, reply bool) bool {
	return validFlags(flags) && n.tcp >= tcpTimeWait && n.tcp.next(flags, reply) == tcpSynSent &&
		(n.last.closing || n.last.reply == reply && n.last.kind == kindRST)
}

// segment takes the connection's state further; false where the segment does not
// fit it. Sequence numbers are taken to be as they should.
func (n *conn) segment(flags uint8, reply bool) bool {
	kind, old := kindOf(flags), n.tcp
	next := old.next(flags, reply)
	before := n.last
	n.last.kind, n.last.reply = kind, reply
	switch {
	case next == tcpInvalid:
		n.last = before
		return false
	case next == tcpIgnored || next == tcpSynSent && old >= tcpTimeWait:
		// The answer to a SYN that was let by tells that the SYN was real.
		if kind != kindSYNACK || before.kind != kindSYN || before.reply == reply {
			return true
		}
		next = tcpSynRecv
	case next == tcpSynSent2:
		n.last.crossed = true
	case next == tcpSynRecv && reply && kind == kindACK && n.last.crossed:
		next = tcpEstablished
	}
	n.tcp = next
	n.last.closing = n.last.closing || next == tcpFinWait && old != next
	return true
}
