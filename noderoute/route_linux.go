// SPDX-License-Identifier: Apache-2.0

package noderoute

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/ambient22/ambient22/noderoute/nlbatch"
	"golang.org/x/sys/unix"
)

// rtaNextHopID (RTA_NH_ID) marks a route over a next hop object.
const rtaNextHopID = 30

// maxNamed is how many refused routes an error names: one reason usually
// refuses all of thousands.
const maxNamed = 5

// rawRoute is a route as the kernel sends it.
type rawRoute struct {
	dst      netip.Prefix
	table    uint32
	typ      uint8
	scope    uint8
	flags    uint32
	via, src netip.Addr
	oif      int
	metric   uint32
	tos      uint8
	odd      bool // several hops, encapsulation, a source prefix, a type of service
}

func readRoute(p []byte) (rawRoute, bool) {
	if len(p) < unix.SizeofRtMsg || p[0] != unix.AF_INET {
		return rawRoute{}, false
	}
	r := rawRoute{
		table: uint32(p[4]), scope: p[6], typ: p[7],
		flags: binary.NativeEndian.Uint32(p[8:]), tos: p[3],
		odd: p[2] != 0 || p[3] != 0,
	}
	dst := netip.IPv4Unspecified()
	for a := range nlbatch.Attributes(p[unix.SizeofRtMsg:]) {
		switch a.Type {
		case unix.RTA_DST:
			dst = a.Addr()
		case unix.RTA_TABLE:
			r.table = a.Uint32()
		case unix.RTA_OIF:
			r.oif = int(a.Uint32())
		case unix.RTA_GATEWAY:
			r.via = a.Addr()
		case unix.RTA_PREFSRC:
			r.src = a.Addr()
		case unix.RTA_PRIORITY:
			r.metric = a.Uint32()
		case unix.RTA_MULTIPATH, unix.RTA_ENCAP, rtaNextHopID, unix.RTA_METRICS, unix.RTA_VIA:
			r.odd = true
		}
	}
	r.dst = netip.PrefixFrom(dst, int(p[1]))
	return r, r.dst.IsValid()
}

// rawRoutes reads one IPv4 routing table.
func (s *session) rawRoutes(table uint32) ([]rawRoute, error) {
	var b nlbatch.Batch
	msg := make([]byte, unix.SizeofRtMsg)
	msg[0] = unix.AF_INET
	b.Begin(unix.RTM_GETROUTE, 0, msg)
	b.Uint32(unix.RTA_TABLE, table)
	var raw []rawRoute
	err := s.route.Dump(&b, func() { raw = nil }, func(m nlbatch.Message) error {
		if r, ok := readRoute(m.Data); ok && r.table == table {
			raw = append(raw, r)
		}
		return nil
	})
	if errors.Is(err, unix.ENOENT) { // no route was ever in this table
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("listing routes of table %d: %w", table, err)
	}
	return raw, nil
}

// listRoutes is rawRoutes with the devices' names.
func (s *session) listRoutes(table uint32) ([]listedRoute, error) {
	raw, err := s.rawRoutes(table)
	if err != nil {
		return nil, err
	}
	names := map[int]string{}
	out := make([]listedRoute, 0, len(raw))
	for _, r := range raw {
		if r.oif != 0 && names[r.oif] == "" {
			name, err := s.name(r.oif)
			if err != nil && !errors.Is(err, unix.ENODEV) {
				return nil, err
			}
			names[r.oif] = name
		}
		out = append(out, r.listed(names[r.oif]))
	}
	return out, nil
}

func (r rawRoute) listed(dev string) listedRoute {
	return listedRoute{
		Route: Route{
			Table: r.table, Local: r.typ == unix.RTN_LOCAL, Dst: r.dst, Via: r.via, Dev: dev,
			Src: r.src, Scope: r.scope, OnLink: r.flags&unix.RTNH_F_ONLINK != 0,
		},
		other:  r.odd || r.metric != 0 || (r.typ != unix.RTN_UNICAST && r.typ != unix.RTN_LOCAL),
		metric: r.metric,
	}
}

// writeRoutes makes route changes in batches. A route that is gone already
// counts as deleted.
func (s *session) writeRoutes(changes []routeChange) error {
	var b nlbatch.Batch
	indexes := map[string]int{}
	var sent []routeChange
	for _, ch := range changes {
		index, ok := indexes[ch.Dev]
		if !ok {
			var err error
			index, err = s.index(ch.Dev)
			if err != nil && !(ch.del && errors.Is(err, unix.ENODEV)) {
				return fmt.Errorf("%s: %w", ch.doing(), err)
			}
			indexes[ch.Dev] = index
		}
		if index == 0 {
			continue // the device took its routes along
		}
		ch.encode(&b, index)
		sent = append(sent, ch)
	}
	if b.Len() == 0 {
		return nil
	}
	s.result.NetlinkWrites += b.Len()
	failures, err := s.route.Send(&b)
	refused := 0
	for _, f := range failures {
		if sent[f.Index].del && errors.Is(f.Err, unix.ESRCH) {
			continue
		}
		if refused++; refused <= maxNamed {
			err = errors.Join(err, fmt.Errorf("%s: %w", sent[f.Index].doing(), f.Err))
		}
	}
	if refused > maxNamed {
		err = errors.Join(err, fmt.Errorf("changing %d more routes: refused as well", refused-maxNamed))
	}
	return err
}

func (c routeChange) doing() string {
	verb := "adding"
	if c.del {
		verb = "deleting"
	}
	return fmt.Sprintf("%s route to %s in table %d", verb, c.Dst, c.Table)
}

func (c routeChange) encode(b *nlbatch.Batch, index int) {
	typ, flags := uint16(unix.RTM_NEWROUTE), uint16(unix.NLM_F_CREATE|unix.NLM_F_REPLACE)
	msg := rtMsg(c.Route)
	if c.del {
		typ, flags = unix.RTM_DELROUTE, 0
		msg[6] = unix.RT_SCOPE_NOWHERE // whatever its scope
		msg[5] = unix.RTPROT_UNSPEC    // whoever made it
	}
	b.Begin(typ, flags, msg)
	dst := c.Dst.Addr().As4()
	if c.Dst.Bits() > 0 {
		b.Bytes(unix.RTA_DST, dst[:])
	}
	b.Uint32(unix.RTA_OIF, uint32(index))
	if c.Via.IsValid() {
		via := c.Via.As4()
		b.Bytes(unix.RTA_GATEWAY, via[:])
	}
	if c.Src.IsValid() {
		src := c.Src.As4()
		b.Bytes(unix.RTA_PREFSRC, src[:])
	}
	if c.metric != 0 {
		b.Uint32(unix.RTA_PRIORITY, c.metric)
	}
	b.Uint32(unix.RTA_TABLE, c.Table)
}

// rtMsg is struct rtmsg. Routes are of protocol "boot", which is what a plain
// `ip route add` leaves and what `ip route` prints nothing for.
func rtMsg(r Route) []byte {
	p := make([]byte, unix.SizeofRtMsg)
	p[0], p[1] = unix.AF_INET, uint8(r.Dst.Bits())
	p[4] = uint8(min(r.Table, unix.RT_TABLE_UNSPEC+255))
	p[5], p[6], p[7] = unix.RTPROT_BOOT, r.Scope, unix.RTN_UNICAST
	if r.Local {
		p[7] = unix.RTN_LOCAL
	}
	if r.OnLink {
		binary.NativeEndian.PutUint32(p[8:], unix.RTNH_F_ONLINK)
	}
	return p
}
