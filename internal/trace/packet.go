// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"encoding/binary"
	"net/netip"
)

// Protocol numbers that the kernel treats in their own way.
const (
	protoICMP    = 1
	protoTCP     = 6
	protoUDP     = 17
	protoDCCP    = 33
	protoSCTP    = 132
	protoUDPLite = 136
)

// Bits of TCPFlags.
const (
	flagFIN = 0x01
	flagSYN = 0x02
	flagRST = 0x04
	flagPSH = 0x08
	flagACK = 0x10
	flagURG = 0x20
)

// header is a packet as conditions look at it: addresses are numbers, so that a
// mask is one operation.
type header struct {
	src, dst     uint32
	sport, dport uint16
	proto        uint8
	flags, tos   uint8
	icmpType     uint8
	icmpCode     uint8
	mark         uint32
	in, out      string // devices; "" none
}

// tuple is one direction of a connection. For ICMP the ports are the echo's
// identifier (sport) and its type and code (dport).
type tuple struct {
	src, dst     uint32
	sport, dport uint16
	proto        uint8
}

func hasPorts(proto uint8) bool {
	switch proto {
	case protoTCP, protoUDP, protoSCTP, protoDCCP, protoUDPLite:
		return true
	}
	return false
}

// number is an IPv4 address as a number; false for IPv6. The zero Addr is 0.0.0.0.
func number(a netip.Addr) (uint32, bool) {
	if !a.IsValid() {
		return 0, true
	}
	a = a.Unmap()
	if !a.Is4() {
		return 0, false
	}
	b := a.As4()
	return binary.BigEndian.Uint32(b[:]), true
}

func addr(n uint32) netip.Addr {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], n)
	return netip.AddrFrom4(b)
}

func addrPort(n uint32, port uint16) netip.AddrPort { return netip.AddrPortFrom(addr(n), port) }

// maskOf is the mask of a prefix length.
func maskOf(bits int) uint32 {
	if bits <= 0 {
		return 0
	}
	return ^uint32(0) << (32 - min(bits, 32))
}

// The address blocks that routing treats in their own way (RFC 1122).
func isZeronet(a uint32) bool   { return a == 0 } // since Linux 5.3 the rest of 0.0.0.0/8 is like any other
func isLoopback(a uint32) bool  { return a>>24 == 127 }
func isMulticast(a uint32) bool { return a>>28 == 14 }
func isBroadcast(a uint32) bool { return a == ^uint32(0) }

// packetHeader reads p; false where it is not IPv4.
func packetHeader(p Packet) (header, bool) {
	src, ok4 := number(p.Src.Addr())
	dst, ok := number(p.Dst.Addr())
	return header{
		src: src, dst: dst, sport: p.Src.Port(), dport: p.Dst.Port(),
		proto: p.Protocol, flags: p.TCPFlags, tos: p.TOS,
		icmpType: p.ICMPType, icmpCode: p.ICMPCode, mark: p.Mark, in: p.In,
	}, ok && ok4
}

// tuple is how connection tracking sees the packet.
func (h *header) tuple() tuple {
	t := tuple{src: h.src, dst: h.dst, proto: h.proto}
	switch {
	case h.proto == protoICMP:
		t.sport, t.dport = h.sport, uint16(h.icmpType)<<8|uint16(h.icmpCode)
	case hasPorts(h.proto):
		t.sport, t.dport = h.sport, h.dport
	}
	return t
}

// icmpAnswer is the type that answers a type, for those that connections are
// tracked by (RFC 792, RFC 950).
func icmpAnswer(typ uint8) (uint8, bool) {
	switch typ {
	case 8:
		return 0, true
	case 0:
		return 8, true
	case 13, 15, 17:
		return typ + 1, true
	case 14, 16, 18:
		return typ - 1, true
	}
	return 0, false
}

// reversed is the tuple of an answer.
func (t tuple) reversed() tuple {
	r := tuple{src: t.dst, dst: t.src, sport: t.dport, dport: t.sport, proto: t.proto}
	if t.proto == protoICMP {
		typ, _ := icmpAnswer(uint8(t.dport >> 8))
		r.sport, r.dport = t.sport, uint16(typ)<<8|t.dport&0xff
	}
	return r
}
