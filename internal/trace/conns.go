// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"slices"

	"github.com/ambient22/ambient22/internal/dump/conntrack"
)

// Conns is a namespace's connection table: what one packet leaves behind for the
// next. It is not for several goroutines at once.
type Conns struct {
	byTuple map[tuple]*conn
	count   int
	sockets []Socket
	nth     map[*cond]uint32
}

// conn is one tracked connection.
type conn struct {
	orig, reply tuple // as they arrive
	mark        uint32
	tcp         tcpState
	last        tcpLast
	replied     bool
	// srcDone and dstDone tell that NAT of that kind was decided on, srcNAT and
	// dstNAT that it changes something.
	srcDone, dstDone bool
	srcNAT, dstNAT   bool
	confirmed        bool
	masqOut          string // the device that MASQUERADE chose its address from
}

// NewConns is an empty table, or one that begins with a dump's connections.
func NewConns(seed ...*conntrack.Conn) *Conns {
	c := &Conns{byTuple: make(map[tuple]*conn, 2*len(seed))}
	for _, s := range seed {
		c.seed(s)
	}
	return c
}

func (c *Conns) seed(s *conntrack.Conn) {
	orig, ok1 := seedTuple(s.Protocol, s.Original)
	reply, ok2 := seedTuple(s.Protocol, s.Reply)
	// Another zone's connections are found only by packets that a rule puts there.
	if !ok1 || !ok2 || s.Zone != 0 {
		return
	}
	n := &conn{
		orig: orig, reply: reply, mark: s.Mark, replied: !s.Unreplied, confirmed: true,
		srcDone: true, dstDone: true, tcp: tcpStateNamed(s.State),
	}
	// What led to its state is not in a dump: the usual is taken.
	n.last.closing = n.tcp == tcpTimeWait
	n.last.kind = kindNone
	if n.tcp == tcpClose {
		n.last.kind = kindRST
	}
	back := orig.reversed()
	n.srcNAT = back.dst != reply.dst || back.dport != reply.dport
	n.dstNAT = back.src != reply.src || back.sport != reply.sport
	c.insert(n)
}

func seedTuple(proto uint8, t conntrack.Tuple) (tuple, bool) {
	src, ok1 := number(t.Src.Addr())
	dst, ok2 := number(t.Dst.Addr())
	if t.ICMP != nil {
		id, kind := t.ICMP.ID, uint16(t.ICMP.Type)<<8|uint16(t.ICMP.Code)
		return tuple{src: src, dst: dst, sport: id, dport: kind, proto: proto}, ok1 && ok2
	}
	return tuple{src: src, dst: dst, sport: t.Src.Port(), dport: t.Dst.Port(), proto: proto}, ok1 && ok2
}

func (c *Conns) insert(n *conn) {
	c.byTuple[n.orig] = n
	c.byTuple[n.reply] = n
	c.count++
}

func (c *Conns) remove(n *conn) {
	if c.byTuple[n.orig] != n {
		return
	}
	delete(c.byTuple, n.orig)
	delete(c.byTuple, n.reply)
	c.count--
}

// AddSocket tells of a socket that the story opened meanwhile: the connection
// that a listener accepted, or one that a process began.
func (c *Conns) AddSocket(s Socket) { c.sockets = append(c.sockets, s) }

// Flow is what the table knows of a packet's connection.
type Flow struct {
	// Original and Reply are the tuples as they arrive.
	Original, Reply conntrack.Tuple
	Protocol        uint8
	Mark            uint32
	// IsReply tells that the packet asked about goes in the reply's direction.
	IsReply bool
	// Replied tells that a packet was seen in the reply's direction.
	Replied bool
	State   string // of TCP, as conntrack -L prints it
}

// Flow finds the connection of a packet as it arrives; false where there is none.
func (c *Conns) Flow(p Packet) (Flow, bool) {
	h, ok := packetHeader(p)
	if !ok {
		return Flow{}, false
	}
	t := h.tuple()
	n := c.byTuple[t]
	if n == nil {
		return Flow{}, false
	}
	return Flow{
		Original: publicTuple(n.orig), Reply: publicTuple(n.reply), Protocol: n.orig.proto, Mark: n.mark,
		IsReply: n.reply == t, Replied: n.replied, State: n.tcp.String(),
	}, true
}

func publicTuple(t tuple) conntrack.Tuple {
	return conntrack.Tuple{Src: addrPort(t.src, t.sport), Dst: addrPort(t.dst, t.dport)}
}

// Len is how many connections there are.
func (c *Conns) Len() int { return c.count }

// Clone is a copy that goes its own way.
func (c *Conns) Clone() *Conns {
	other := &Conns{byTuple: make(map[tuple]*conn, len(c.byTuple)), sockets: slices.Clone(c.sockets)}
	for t, n := range c.byTuple {
		if t == n.orig {
			twin := *n
			other.insert(&twin)
		}
	}
	for k, v := range c.nth {
		other.setNth(k, v)
	}
	return other
}

func (c *Conns) setNth(k *cond, v uint32) {
	if c.nth == nil {
		c.nth = map[*cond]uint32{}
	}
	c.nth[k] = v
}

func (c *Conns) clear() {
	clear(c.byTuple)
	clear(c.nth)
	c.count = 0
}
