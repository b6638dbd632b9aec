// SPDX-License-Identifier: Apache-2.0

package prove

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/ambient22/ambient22/internal/dump/conntrack"
)

// connection is what connection tracking remembers of one.
type connection struct {
	original, reply conntrack.Tuple
	mark            uint32
}

// Of linux/netfilter/nfnetlink_conntrack.h.
const (
	trackGet      = unix.NFNL_SUBSYS_CTNETLINK<<8 | 1
	trackOriginal = 1
	trackReply    = 2
	trackMark     = 8
	tupleIP       = 1
	tupleProto    = 2
	tupleSrc      = 1
	tupleDst      = 2
	protoNumber   = 1
	protoSrcPort  = 2
	protoDstPort  = 3
	protoICMPID   = 4
	protoICMPType = 5
	protoICMPCode = 6
)

// connection asks for that of a packet as it arrived; false where there is none.
func (n *netlink) connection(p Probe) (connection, bool, error) {
	m, err := n.ask(trackGet, 0, attribute([]byte{unix.AF_INET, 0, 0, 0}, trackOriginal|unix.NLA_F_NESTED, tuple(p)...))
	if errors.Is(err, unix.ENOENT) {
		return connection{}, false, nil
	}
	if err != nil {
		return connection{}, false, fmt.Errorf("asking for a connection: %w", err)
	}
	var c connection
	attributes(m.body[netfilterHeader:], func(kind uint16, v []byte) {
		switch kind {
		case trackOriginal:
			c.original = readTuple(v)
		case trackReply:
			c.reply = readTuple(v)
		case trackMark:
			c.mark = binary.BigEndian.Uint32(v)
		}
	})
	return c, true, nil
}

func tuple(p Probe) []byte {
	src, dst := p.Src.Addr().As4(), p.Dst.Addr().As4()
	port := func(n uint16) []byte { return binary.BigEndian.AppendUint16(nil, n) }
	ip := attribute(attribute(nil, tupleSrc, src[:]...), tupleDst, dst[:]...)
	proto := attribute(nil, protoNumber, p.Protocol)
	switch p.Protocol {
	case unix.IPPROTO_ICMP:
		proto = attribute(proto, protoICMPID, port(p.Src.Port())...)
		proto = attribute(proto, protoICMPType, p.ICMPType)
		proto = attribute(proto, protoICMPCode, p.ICMPCode)
	default:
		proto = attribute(proto, protoSrcPort, port(p.Src.Port())...)
		proto = attribute(proto, protoDstPort, port(p.Dst.Port())...)
	}
	return attribute(attribute(nil, tupleIP|unix.NLA_F_NESTED, ip...), tupleProto|unix.NLA_F_NESTED, proto...)
}

// readTuple reads one. An ICMP echo's identifier stands as the source's port, its
// type and code as the destination's, as connection tracking has it.
func readTuple(b []byte) conntrack.Tuple {
	var src, dst netip.Addr
	var from, to uint16
	attributes(b, func(kind uint16, inner []byte) {
		attributes(inner, func(field uint16, v []byte) {
			switch {
			case kind == tupleIP && field == tupleSrc:
				src, _ = netip.AddrFromSlice(v)
			case kind == tupleIP && field == tupleDst:
				dst, _ = netip.AddrFromSlice(v)
			case kind == tupleProto && field == protoSrcPort:
				from = binary.BigEndian.Uint16(v)
			case kind == tupleProto && field == protoDstPort:
				to = binary.BigEndian.Uint16(v)
			case kind == tupleProto && field == protoICMPID:
				from = binary.BigEndian.Uint16(v)
			case kind == tupleProto && field == protoICMPType:
				to |= uint16(v[0]) << 8
			case kind == tupleProto && field == protoICMPCode:
				to |= uint16(v[0])
			}
		})
	})
	return conntrack.Tuple{Src: netip.AddrPortFrom(src, from), Dst: netip.AddrPortFrom(dst, to)}
}
