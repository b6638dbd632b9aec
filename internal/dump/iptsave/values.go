// SPDX-License-Identifier: Apache-2.0

package iptsave

import (
	"math"
	"net/netip"
	"strconv"
	"strings"
)

// all is a mask of all bits.
const all = math.MaxUint32

// number reads a mark as printed: hexadecimal with 0x, or decimal.
func number(word string) (uint32, bool) {
	n, err := strconv.ParseUint(word, 0, 32)
	return uint32(n), err == nil
}

// valueMask reads "0x1/0xff" or "0x1".
func valueMask(word string) (value, mask uint32, bare, ok bool) {
	v, m, masked := strings.Cut(word, "/")
	value, ok = number(v)
	if !ok || !masked {
		return value, all, true, ok
	}
	mask, ok = number(m)
	return value, mask, false, ok
}

func appendHex(b []byte, n uint32) []byte {
	return strconv.AppendUint(append(b, "0x"...), uint64(n), 16)
}

// isDecimal tells whether a mark is written as people write it for
// iptables-restore; iptables-save prints hexadecimal digits.
func isDecimal(word string) bool { return !strings.HasPrefix(word, "0x") }

func appendMark(b []byte, mark uint32, inDecimal bool) []byte {
	if inDecimal {
		return appendDecimal(b, mark)
	}
	return appendHex(b, mark)
}

func appendValueMask(b []byte, value, mask uint32, bare, inDecimal bool) []byte {
	b = appendMark(b, value, inDecimal)
	if bare {
		return b
	}
	return appendHex(append(b, '/'), mask)
}

func decimal(word string) (uint32, bool) {
	n, err := strconv.ParseUint(word, 10, 32)
	return uint32(n), err == nil
}

func appendDecimal(b []byte, n uint32) []byte { return strconv.AppendUint(b, uint64(n), 10) }

// portRange reads "80" or "80:90".
func portRange(word string) (PortRange, bool) {
	low, high, isRange := strings.Cut(word, ":")
	l, ok := port(low)
	if !ok || !isRange {
		return PortRange{l, l}, ok
	}
	h, ok := port(high)
	return PortRange{l, h}, ok
}

func port(word string) (uint16, bool) {
	n, err := strconv.ParseUint(word, 10, 16)
	return uint16(n), err == nil
}

func (r PortRange) appendTo(b []byte) []byte {
	b = strconv.AppendUint(b, uint64(r.Low), 10)
	if r.High != r.Low {
		b = strconv.AppendUint(append(b, ':'), uint64(r.High), 10)
	}
	return b
}

// Contains tells whether the port belongs to the range.
func (r PortRange) Contains(port uint16) bool { return r.Low <= port && port <= r.High }

// appendNot puts the "!" of an option in front of its name or behind it.
func appendOption(b []byte, name string, not, after bool) []byte {
	if not && !after {
		b = append(b, "! "...)
	}
	b = append(b, name...)
	if not && after {
		b = append(b, " !"...)
	}
	return append(b, ' ')
}

// address reads an address with its mask in any of the printed forms.
func address(word string) (s Source, ok bool) {
	host, mask, masked := strings.Cut(word, "/")
	addr, err := netip.ParseAddr(host)
	if err != nil || addr.Zone() != "" {
		return s, false
	}
	s.Addr = addr
	if !masked {
		s.Bare = true
		s.Prefix = netip.PrefixFrom(addr, addr.BitLen())
		return s, true
	}
	if bits, err := strconv.ParseUint(mask, 10, 8); err == nil {
		s.Prefix = netip.PrefixFrom(addr, int(bits))
		return s, s.Prefix.IsValid()
	}
	s.Mask, err = netip.ParseAddr(mask)
	if err != nil || s.Mask.BitLen() != addr.BitLen() {
		return s, false
	}
	s.Prefix = netip.PrefixFrom(addr, maskBits(s.Mask))
	return s, true
}

// maskBits is the length of the prefix that a mask stands for, -1 where it stands
// for none.
func maskBits(mask netip.Addr) int {
	bits, ended := 0, false
	for _, octet := range mask.AsSlice() {
		for bit := 7; bit >= 0; bit-- {
			switch set := octet&(1<<bit) != 0; {
			case set && ended:
				return -1
			case set:
				bits++
			default:
				ended = true
			}
		}
	}
	return bits
}

func (s Source) appendAddress(b []byte) []byte {
	b = s.address().AppendTo(b)
	switch {
	case s.Mask.IsValid():
		return s.Mask.AppendTo(append(b, '/'))
	case s.Bare:
		return b
	}
	return strconv.AppendInt(append(b, '/'), int64(s.Prefix.Bits()), 10)
}

// address is the address also where somebody who built the condition gave only
// the prefix.
func (s Source) address() netip.Addr {
	if s.Addr.IsValid() {
		return s.Addr
	}
	return s.Prefix.Addr()
}

// Contains tells whether the condition, without its "!", holds for an address.
func (s Source) Contains(addr netip.Addr) bool {
	if s.Mask.IsValid() && !s.Prefix.IsValid() {
		return maskedEqual(addr, s.Addr, s.Mask)
	}
	return s.Prefix.Contains(addr)
}

// Contains tells whether the condition, without its "!", holds for an address.
func (d Destination) Contains(addr netip.Addr) bool { return Source(d).Contains(addr) }

func maskedEqual(a, b, mask netip.Addr) bool {
	if a.BitLen() != b.BitLen() || a.BitLen() != mask.BitLen() {
		return false
	}
	x, y, m := a.As16(), b.As16(), mask.As16()
	for i := range m {
		if (x[i]^y[i])&m[i] != 0 && i >= 16-mask.BitLen()/8 {
			return false
		}
	}
	return true
}

// protocolNumber is the number of a protocol as /etc/protocols and iptables name it.
func protocolNumber(name string) (uint8, bool) {
	switch name {
	case "tcp":
		return 6, true
	case "udp":
		return 17, true
	case "icmp":
		return 1, true
	case "ipv6-icmp", "icmpv6":
		return 58, true
	case "all":
		return 0, true
	case "igmp":
		return 2, true
	case "ipencap", "ipip":
		return 4, true
	case "gre":
		return 47, true
	case "esp":
		return 50, true
	case "ah":
		return 51, true
	case "ospf":
		return 89, true
	case "vrrp":
		return 112, true
	case "dccp":
		return 33, true
	case "sctp":
		return 132, true
	case "udplite":
		return 136, true
	case "ipv6-mh", "mh", "mobility-header":
		return 135, true
	case "ipv6":
		return 41, true
	case "pim":
		return 103, true
	case "l2tp":
		return 115, true
	}
	n, err := strconv.ParseUint(name, 10, 8)
	return uint8(n), err == nil
}
