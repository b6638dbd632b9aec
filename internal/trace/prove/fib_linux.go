// SPDX-License-Identifier: Apache-2.0

package prove

import (
	"encoding/binary"
	"errors"
	"net/netip"

	"golang.org/x/sys/unix"
)

// choice is which route the kernel takes for a packet, or why it takes none.
type choice struct {
	asked   bool
	refusal unix.Errno // EINVAL is for a source it doesn't accept, and for a blackhole
	table   uint32
	dst     netip.Prefix
	kind    uint8
}

// Of linux/rtnetlink.h.
const (
	routeHeader = 12
	fibMatch    = 0x3000 // and the table's number
	tableMain   = 254
	tableLocal  = 255
)

// choose asks which route a packet takes that was seen at the end of PREROUTING.
func (n *netlink) choose(s sighting, tos uint8) (choice, error) {
	body := make([]byte, routeHeader)
	body[0], body[1], body[2], body[3] = unix.AF_INET, 32, 32, tos
	binary.NativeEndian.PutUint32(body[8:], fibMatch)
	src, dst := s.src.Addr().As4(), s.dst.Addr().As4()
	number := func(v uint32) []byte { return binary.NativeEndian.AppendUint32(nil, v) }
	port := func(v uint16) []byte { return binary.BigEndian.AppendUint16(nil, v) }
	body = attribute(body, unix.RTA_DST, dst[:]...)
	body = attribute(body, unix.RTA_SRC, src[:]...)
	body = attribute(body, unix.RTA_IIF, number(uint32(s.in))...)
	body = attribute(body, unix.RTA_MARK, number(s.mark)...)
	body = attribute(body, unix.RTA_IP_PROTO, s.protocol)
	if s.protocol != unix.IPPROTO_ICMP {
		body = attribute(body, unix.RTA_SPORT, port(s.src.Port())...)
		body = attribute(body, unix.RTA_DPORT, port(s.dst.Port())...)
	}
	c := choice{asked: true}
	m, err := n.ask(unix.RTM_GETROUTE, 0, body)
	if errors.As(err, &c.refusal) {
		return c, nil
	}
	if err != nil || len(m.body) < routeHeader {
		return c, err
	}
	c.table, c.kind = uint32(m.body[4]), m.body[7]
	to := netip.IPv4Unspecified()
	attributes(m.body[routeHeader:], func(kind uint16, v []byte) {
		switch kind {
		case unix.RTA_TABLE:
			c.table = binary.NativeEndian.Uint32(v)
		case unix.RTA_DST:
			to, _ = netip.AddrFromSlice(v)
		}
	})
	c.dst = netip.PrefixFrom(to, int(m.body[1]))
	return c, nil
}
