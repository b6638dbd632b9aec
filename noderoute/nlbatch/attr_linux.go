// SPDX-License-Identifier: Apache-2.0

package nlbatch

import (
	"encoding/binary"
	"iter"
	"net/netip"
	"strings"

	"golang.org/x/sys/unix"
)

// Attr is one attribute of an answer. Its flag bits are cut from Type.
type Attr struct {
	Type  uint16
	Value []byte
}

// Attributes walks a row of attributes and stops at the first damaged one.
func Attributes(p []byte) iter.Seq[Attr] {
	return func(yield func(Attr) bool) {
		for len(p) >= unix.SizeofRtAttr {
			size := int(binary.NativeEndian.Uint16(p))
			if size < unix.SizeofRtAttr || size > len(p) {
				return
			}
			typ := binary.NativeEndian.Uint16(p[2:]) &^ (unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER)
			if !yield(Attr{Type: typ, Value: p[unix.SizeofRtAttr:size]}) {
				return
			}
			p = p[min(align(size), len(p)):]
		}
	}
}

// String is the value up to its first zero byte.
func (a Attr) String() string {
	s := string(a.Value)
	if i := strings.IndexByte(s, 0); i >= 0 {
		return s[:i]
	}
	return s
}

// Uint8 is the first byte, 0 where there is none.
func (a Attr) Uint8() uint8 {
	if len(a.Value) < 1 {
		return 0
	}
	return a.Value[0]
}

// Uint32 is the value in the machine's byte order, 0 where it is too short.
func (a Attr) Uint32() uint32 {
	if len(a.Value) < 4 {
		return 0
	}
	return binary.NativeEndian.Uint32(a.Value)
}

// Uint16BE is the value in network byte order, 0 where it is too short.
func (a Attr) Uint16BE() uint16 {
	if len(a.Value) < 2 {
		return 0
	}
	return binary.BigEndian.Uint16(a.Value)
}

// Uint32BE is the value in network byte order, 0 where it is too short.
func (a Attr) Uint32BE() uint32 {
	if len(a.Value) < 4 {
		return 0
	}
	return binary.BigEndian.Uint32(a.Value)
}

// Addr is the value as an IP address, the zero Addr where it is none.
func (a Attr) Addr() netip.Addr {
	addr, _ := netip.AddrFromSlice(a.Value)
	return addr
}
