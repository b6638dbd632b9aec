// SPDX-License-Identifier: Apache-2.0

package live

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// Protocol numbers of IPv4 (RFC 790).
const (
	protoICMP = 1
	protoTCP  = 6
	protoUDP  = 17
)

// TCP flags (RFC 9293 section 3.1).
const (
	flagFIN = 0x01
	flagSYN = 0x02
	flagRST = 0x04
	flagPSH = 0x08
	flagACK = 0x10
)

// Header is what the tracer reads of a packet.
type Header struct {
	Protocol uint8
	Src, Dst netip.AddrPort
	TTL, TOS uint8
	Length   int // of the IP packet, in bytes
	ID       uint16
	Seq, Ack uint32 // TCP
	Flags    uint8
}

// Tuple is a packet's protocol and addresses.
type Tuple struct {
	Protocol uint8
	Src, Dst netip.AddrPort
}

// Tuple is the header's.
func (h *Header) Tuple() Tuple { return Tuple{h.Protocol, h.Src, h.Dst} }

// Reverse is the tuple of the answers, where nothing translates addresses.
func (t Tuple) Reverse() Tuple { return Tuple{t.Protocol, t.Dst, t.Src} }

func (t Tuple) String() string {
	return fmt.Sprintf("%s %s → %s", protocolName(t.Protocol), t.Src, t.Dst)
}

// key tells one packet from another in whatever is seen of it: no translation of
// addresses changes it.
type key struct {
	protocol, flags uint8
	id, length      uint16
	seq, ack        uint32
}

func (h *Header) key() key {
	if h.Protocol == protoUDP {
		return key{protocol: h.Protocol, id: h.ID, length: uint16(h.Length)}
	}
	return key{protocol: h.Protocol, flags: h.Flags, id: h.ID, seq: h.Seq, ack: h.Ack}
}

// Opens reports whether the packet is a connection's first.
func (h *Header) Opens() bool { return h.Protocol == protoTCP && h.Flags&(flagSYN|flagACK) == flagSYN }

// String is the packet in one line: "TCP SYN 10.4.4.19:40000 → 10.8.14.226:9080".
func (h *Header) String() string {
	name := protocolName(h.Protocol)
	if h.Protocol == protoTCP {
		name += " " + flagNames(h.Flags)
	}
	return fmt.Sprintf("%s %s → %s", name, h.Src, h.Dst)
}

func protocolName(p uint8) string {
	switch p {
	case protoTCP:
		return "TCP"
	case protoUDP:
		return "UDP"
	case protoICMP:
		return "ICMP"
	}
	return fmt.Sprintf("protocol %d", p)
}

func flagNames(flags uint8) string {
	var names []string
	for _, f := range []struct {
		bit  uint8
		name string
	}{{flagSYN, "SYN"}, {flagFIN, "FIN"}, {flagRST, "RST"}, {flagPSH, "PSH"}, {flagACK, "ACK"}} {
		if flags&f.bit != 0 {
			names = append(names, f.name)
		}
	}
	return strings.Join(names, "+")
}

// errNotIPv4 says that a packet is of another family, or cut off.
var errNotIPv4 = errors.New("not a whole IPv4 header")

const (
	ipv4Header = 20
	udpHeader  = 8
)

// parseIPv4 reads a packet from its IPv4 header on and returns what follows the
// IPv4 header. Of later fragments the ports are zero.
func parseIPv4(b []byte) (*Header, []byte, error) {
	if len(b) < ipv4Header || b[0]>>4 != 4 {
		return nil, nil, errNotIPv4
	}
	size := int(b[0]&0xf) * 4
	if size < ipv4Header || len(b) < size {
		return nil, nil, errNotIPv4
	}
	h := &Header{
		TOS: b[1], Length: int(binary.BigEndian.Uint16(b[2:])), ID: binary.BigEndian.Uint16(b[4:]),
		TTL: b[8], Protocol: b[9],
		Src: netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[12:16])), 0),
		Dst: netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[16:20])), 0),
	}
	if binary.BigEndian.Uint16(b[6:])&0x1fff == 0 {
		h.transport(b[size:])
	}
	return h, b[size:], nil
}

// transport adds what a TCP or UDP header says.
func (h *Header) transport(b []byte) {
	if len(b) < 4 || h.Protocol != protoTCP && h.Protocol != protoUDP {
		return
	}
	h.Src = netip.AddrPortFrom(h.Src.Addr(), binary.BigEndian.Uint16(b))
	h.Dst = netip.AddrPortFrom(h.Dst.Addr(), binary.BigEndian.Uint16(b[2:]))
	if h.Protocol == protoTCP && len(b) >= 14 {
		h.Seq, h.Ack, h.Flags = binary.BigEndian.Uint32(b[4:]), binary.BigEndian.Uint32(b[8:]), b[13]&0x3f
	}
}

const etherTypeIPv4 = 0x0800

// parseFrame reads a packet from its Ethernet header on.
func parseFrame(b []byte) (*Header, []byte, error) {
	if len(b) < 14 || binary.BigEndian.Uint16(b[12:]) != etherTypeIPv4 {
		return nil, nil, errNotIPv4
	}
	return parseIPv4(b[14:])
}

// Tunnelled is what a Geneve (RFC 8926) or VXLAN (RFC 7348) packet carries.
type Tunnelled struct {
	VNI   uint32
	Inner Header
}

// parseTunnel reads a UDP payload, with the UDP header in front, as a tunnel's.
// The two formats differ in the first byte: VXLAN's has the flag that the VNI is
// valid, Geneve's the version and the length of the options.
func parseTunnel(b []byte) *Tunnelled {
	if len(b) < udpHeader+8 {
		return nil
	}
	t := b[udpHeader:]
	inner := t[8:]
	switch {
	case t[0] == 0x08: // VXLAN, I flag
	case t[0]>>6 == 0 && binary.BigEndian.Uint16(t[2:]) == 0x6558: // Ethernet in Geneve
		options := int(t[0]&0x3f) * 4
		if len(inner) < options {
			return nil
		}
		inner = inner[options:]
	default:
		return nil
	}
	h, _, err := parseFrame(inner)
	if err != nil {
		return nil
	}
	return &Tunnelled{VNI: binary.BigEndian.Uint32(t[4:]) >> 8, Inner: *h}
}
