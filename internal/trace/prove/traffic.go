// SPDX-License-Identifier: Apache-2.0

package prove

import (
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/ambient22/ambient22/internal/trace"
)

// TCP's flags.
const (
	fin = 1 << iota
	syn
	rst
	_
	ack
)

// The sequence numbers of all connections: who began one, and who answers.
const (
	beginSeq  = 1000
	answerSeq = 5000
)

// traffic makes the packets of a world, one behind the other: each may be about an
// earlier one.
type traffic struct {
	*scene
	left    int // packets still to come
	serial  uint16
	history []exchange
}

// exchange is an earlier packet and where it came to.
type exchange struct {
	probe Probe
	// answered tells that the packet goes from the one who answers.
	answered bool
	// end is the packet as it left or was delivered; out is the device it left by,
	// "" where it was delivered. ended is false where it was lost.
	ended bool
	end   trace.Packet
	out   string
}

// next is the next packet, false where the world has seen enough. after has to
// follow it.
func (t *traffic) next() (Probe, bool) {
	if t.left--; t.left < 0 {
		return Probe{}, false
	}
	t.serial++
	e := t.draw()
	e.probe.Serial = t.serial
	e.probe.Length = len(e.probe.wire())
	t.history = append(t.history, e)
	return e.probe, true
}

// after tells how it went with the last packet.
func (t *traffic) after(ended bool, end trace.Packet, out string) {
	e := &t.history[len(t.history)-1]
	e.end, e.out, e.ended = end, out, ended
}

func (t *traffic) draw() exchange {
	if n := len(t.history); n > 0 && !t.chance(3) {
		e := t.history[max(0, n-1-t.IntN(12))]
		switch {
		case e.ended && t.answerable(e) && t.chance(2):
			return t.answer(e)
		case t.chance(3) && !(e.probe.sourceless() && e.probe.Protocol == unix.IPPROTO_TCP):
			return t.again(e)
		}
	}
	return t.fresh()
}

// answerable leaves out what was for everybody, and what came from nowhere: a process
// that sends to 0.0.0.0 has its own address put in, and a raw socket hasn't.
func (t *traffic) answerable(e exchange) bool {
	cast := slices.Contains(t.casts, e.end.Dst.Addr()) || slices.Contains(t.casts, e.end.Src.Addr())
	return !cast && !e.end.Src.Addr().IsUnspecified()
}

// answer is a packet from where an earlier one came to.
func (t *traffic) answer(e exchange) exchange {
	p := Probe{Packet: trace.Packet{Protocol: e.end.Protocol, Src: e.end.Dst, Dst: e.end.Src}}
	if e.out != "" {
		p.In = e.out
	} else {
		t.local(&p)
	}
	if t.chance(20) && e.out != "" {
		p.In = t.dev()
	}
	switch p.Protocol {
	case unix.IPPROTO_TCP:
		p.TCPFlags = weighted(t.dice, []weight[uint8]{{6, ack}, {1, fin | ack}, {1, rst}, {1, rst | ack}})
		if e.probe.TCPFlags&(syn|ack) == syn && !t.chance(10) {
			p.TCPFlags = syn | ack
		}
	case unix.IPPROTO_ICMP:
		if e.probe.ICMPType == 8 {
			p.ICMPType = 0
		} else {
			p.ICMPType = 8
		}
	}
	return t.numbered(exchange{probe: p, answered: !e.answered})
}

// again is a further packet of an earlier one's direction.
func (t *traffic) again(e exchange) exchange {
	p := e.probe
	if p.Protocol == unix.IPPROTO_TCP && t.chance(2) {
		p.TCPFlags = weighted(t.dice, []weight[uint8]{{6, ack}, {1, fin | ack}, {1, rst}, {1, syn}})
	}
	return t.numbered(exchange{probe: p, answered: e.answered})
}

// fresh is a packet about nothing that was before.
func (t *traffic) fresh() exchange {
	p := Probe{Packet: trace.Packet{
		Protocol: weighted(t.dice, []weight[uint8]{{6, unix.IPPROTO_TCP}, {3, unix.IPPROTO_UDP}, {1, unix.IPPROTO_ICMP}}),
	}}
	src, dst := t.host(), t.host()
	if t.chance(3) && len(t.own) > 0 {
		dst = pick(t.dice, t.own...)
	}
	if t.chance(3) {
		t.local(&p)
		if len(t.own) > 0 && !t.chance(4) {
			src = pick(t.dice, t.own...)
		}
	} else {
		p.In = t.dev()
		if dev := t.behind[src]; dev != "" && !t.chance(5) {
			p.In = dev
		}
		if t.chance(8) {
			p.Mark = t.mark().value
		}
	}
	if t.chance(20) {
		// A process that sends to 0.0.0.0 has its own address put in; a raw socket hasn't.
		if odd := pick(t.dice, t.odd...); p.In != "" || !odd.IsUnspecified() {
			dst = odd
		}
	}
	if t.chance(20) && p.In != "" {
		src = pick(t.dice, t.odd...)
	}
	if t.chance(30) && p.In != "" {
		dst = pick(t.dice, t.casts...)
	}
	if t.chance(12) {
		p.TOS = 0x10
	}
	from, to := uint16(t.between(32768, 60999)), t.port()
	if t.chance(6) {
		from = t.port()
	}
	switch p.Protocol {
	case unix.IPPROTO_TCP:
		p.TCPFlags = weighted(t.dice, []weight[uint8]{{40, syn}, {4, ack}, {2, syn | ack}, {1, rst}, {1, fin | ack}, {1, 0}, {1, syn | fin}})
	case unix.IPPROTO_ICMP:
		p.ICMPType = weighted(t.dice, []weight[uint8]{{8, 8}, {1, 0}})
		to = from
	}
	if p.In == "" && t.chance(3) && p.Protocol != unix.IPPROTO_ICMP {
		src, from = netip.IPv4Unspecified(), uint16(t.between(32768, 60999))
		if p.Protocol == unix.IPPROTO_TCP {
			p.TCPFlags = syn
		}
		if t.chance(20) {
			dst = src
		}
	}
	p.Src, p.Dst = netip.AddrPortFrom(src, from), netip.AddrPortFrom(dst, to)
	return t.numbered(exchange{probe: p})
}

// local makes it a packet that a process of the namespace sends.
func (t *traffic) local(p *Probe) {
	p.GID = probeGIDs + uint32(t.IntN(2))
	p.UID = pick(t.dice, uint32(0), 0, 1337, 1500)
	if t.chance(3) {
		p.Mark = t.mark().value
	}
	if t.chance(10) {
		p.OIF = t.dev()
	}
}

// numbered gives it the sequence numbers of its direction.
func (t *traffic) numbered(e exchange) exchange {
	p := &e.probe
	if p.Protocol != unix.IPPROTO_TCP {
		return e
	}
	seq, acked := uint32(beginSeq), uint32(answerSeq)
	if e.answered {
		seq, acked = acked, seq
	}
	p.Seq, p.Ack = seq+1, 0
	if p.TCPFlags&syn != 0 {
		p.Seq = seq
	}
	if p.TCPFlags&ack != 0 {
		p.Ack = acked + 1
	}
	return e
}
