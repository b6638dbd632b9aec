// SPDX-License-Identifier: Apache-2.0

package prove

import (
	"encoding/binary"
	"errors"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/ambient22/ambient22/internal/trace"
)

// Probe is one packet with all that the wire needs beyond what the engine asks for.
type Probe struct {
	trace.Packet
	// Serial is the IP header's identification. Nothing on the way changes it, so
	// that it tells which packet was seen.
	Serial uint16
	// Seq and Ack are TCP's numbers.
	Seq, Ack uint32
}

// sourceless tells that an ordinary socket sends it, whose source the kernel chooses.
func (p Probe) sourceless() bool { return p.Src.Addr().IsUnspecified() && p.In == "" }

const (
	ipHeader  = 20
	tcpHeader = 20
	udpHeader = 8
	icmpEcho  = 8
)

// wire is the packet as it stands on the wire, from the IP header on.
func (p Probe) wire() []byte {
	l4 := p.transport()
	b := make([]byte, ipHeader, ipHeader+len(l4))
	b[0] = 0x45
	b[1] = p.TOS
	binary.BigEndian.PutUint16(b[2:], uint16(ipHeader+len(l4)))
	binary.BigEndian.PutUint16(b[4:], p.Serial)
	b[8] = 64
	b[9] = p.Protocol
	src, dst := p.Src.Addr().As4(), p.Dst.Addr().As4()
	copy(b[12:], src[:])
	copy(b[16:], dst[:])
	binary.BigEndian.PutUint16(b[10:], ^fold(sum(0, b)))
	return append(b, l4...)
}

func (p Probe) transport() []byte {
	switch p.Protocol {
	case unix.IPPROTO_TCP:
		b := make([]byte, tcpHeader)
		binary.BigEndian.PutUint16(b, p.Src.Port())
		binary.BigEndian.PutUint16(b[2:], p.Dst.Port())
		binary.BigEndian.PutUint32(b[4:], p.Seq)
		binary.BigEndian.PutUint32(b[8:], p.Ack)
		b[12] = tcpHeader / 4 << 4
		b[13] = p.TCPFlags
		binary.BigEndian.PutUint16(b[14:], 0x7210)
		binary.BigEndian.PutUint16(b[16:], p.checksum(b))
		return b
	case unix.IPPROTO_UDP:
		b := make([]byte, udpHeader)
		binary.BigEndian.PutUint16(b, p.Src.Port())
		binary.BigEndian.PutUint16(b[2:], p.Dst.Port())
		binary.BigEndian.PutUint16(b[4:], udpHeader)
		binary.BigEndian.PutUint16(b[6:], p.checksum(b))
		return b
	case unix.IPPROTO_ICMP:
		b := make([]byte, icmpEcho)
		b[0] = p.ICMPType
		binary.BigEndian.PutUint16(b[4:], p.Src.Port())
		binary.BigEndian.PutUint16(b[2:], ^fold(sum(0, b)))
		return b
	}
	return make([]byte, 8)
}

// checksum is that of TCP and UDP, over the pseudo header too.
func (p Probe) checksum(l4 []byte) uint16 {
	src, dst := p.Src.Addr().As4(), p.Dst.Addr().As4()
	s := sum(uint32(p.Protocol)+uint32(len(l4)), src[:])
	s = sum(sum(s, dst[:]), l4)
	if c := ^fold(s); c != 0 || p.Protocol != unix.IPPROTO_UDP {
		return c
	}
	return 0xffff
}

func sum(s uint32, b []byte) uint32 {
	for ; len(b) > 1; b = b[2:] {
		s += uint32(b[0])<<8 | uint32(b[1])
	}
	if len(b) == 1 {
		s += uint32(b[0]) << 8
	}
	return s
}

func fold(s uint32) uint16 {
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	return uint16(s)
}

// header is what a sighting shows of a packet.
type header struct {
	serial   uint16
	protocol uint8
	src, dst netip.AddrPort
	icmpType uint8
	icmpCode uint8
}

var errShort = errors.New("reading a packet: it is too short")

// parse reads an IPv4 packet. An ICMP echo's identifier stands for its ports.
func parse(b []byte) (header, error) {
	if len(b) < ipHeader || len(b) < int(b[0]&15)*4+4 {
		return header{}, errShort
	}
	h := header{serial: binary.BigEndian.Uint16(b[4:]), protocol: b[9]}
	src, _ := netip.AddrFromSlice(b[12:16])
	dst, _ := netip.AddrFromSlice(b[16:20])
	l4 := b[int(b[0]&15)*4:]
	var from, to uint16
	switch h.protocol {
	case unix.IPPROTO_TCP, unix.IPPROTO_UDP:
		from, to = binary.BigEndian.Uint16(l4), binary.BigEndian.Uint16(l4[2:])
	case unix.IPPROTO_ICMP:
		h.icmpType, h.icmpCode = l4[0], l4[1]
		if len(l4) >= icmpEcho {
			from = binary.BigEndian.Uint16(l4[4:])
			to = from
		}
	}
	h.src, h.dst = netip.AddrPortFrom(src, from), netip.AddrPortFrom(dst, to)
	return h, nil
}
