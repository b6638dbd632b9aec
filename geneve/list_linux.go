// SPDX-License-Identifier: Apache-2.0

package geneve

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/ambient22/ambient22/noderoute/nlbatch"
	"golang.org/x/sys/unix"
)

// skipStats (RTEXT_FILTER_SKIP_STATS) leaves a link's counters out of the
// answer, most of its bytes.
const skipStats = 1 << 3

// List reads the links of the given names, in that order; names that do not
// exist are left out.
func (c *Conn) List(names ...string) ([]Link, error) {
	var b nlbatch.Batch
	for _, name := range names {
		b.Begin(unix.RTM_GETLINK, 0, make([]byte, unix.SizeofIfInfomsg))
		b.String(unix.IFLA_IFNAME, name)
		b.Uint32(unix.IFLA_EXT_MASK, skipStats)
	}
	var links []Link
	failures, err := c.nl.Query(&b, func(_ int, m nlbatch.Message) error {
		links = append(links, readLink(m.Data))
		return nil
	})
	for _, f := range failures {
		if !errors.Is(f.Err, unix.ENODEV) {
			err = errors.Join(err, fmt.Errorf("reading link %s: %w", names[f.Index], f.Err))
		}
	}
	if err != nil {
		return nil, err
	}
	for i := range links {
		if links[i].Addrs, err = c.addresses(links[i].Index); err != nil {
			return nil, fmt.Errorf("reading addresses of %s: %w", links[i].Name, err)
		}
	}
	return links, nil
}

// Links reads all links of the namespace, without their addresses.
func (c *Conn) Links() ([]Link, error) {
	var b nlbatch.Batch
	b.Begin(unix.RTM_GETLINK, 0, make([]byte, unix.SizeofIfInfomsg))
	b.Uint32(unix.IFLA_EXT_MASK, skipStats)
	var links []Link
	err := c.nl.Dump(&b, func() { links = nil }, func(m nlbatch.Message) error {
		links = append(links, readLink(m.Data))
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading links: %w", err)
	}
	return links, nil
}

// addresses reads the IPv4 addresses of one link.
func (c *Conn) addresses(index int) ([]Address, error) {
	var b nlbatch.Batch
	b.Begin(unix.RTM_GETADDR, 0, ifAddrMsg(0, 0, index))
	var out []Address
	err := c.nl.Dump(&b, func() { out = nil }, func(m nlbatch.Message) error {
		if len(m.Data) >= unix.SizeofIfAddrmsg && int(binary.NativeEndian.Uint32(m.Data[4:])) == index {
			out = append(out, readAddress(m.Data))
		}
		return nil
	})
	return out, err
}

// readAddress takes struct ifaddrmsg and its attributes.
func readAddress(p []byte) Address {
	var addr, local, brd netip.Addr
	for a := range nlbatch.Attributes(p[unix.SizeofIfAddrmsg:]) {
		switch a.Type {
		case unix.IFA_ADDRESS:
			addr = a.Addr()
		case unix.IFA_LOCAL:
			local = a.Addr()
		case unix.IFA_BROADCAST:
			brd = a.Addr()
		}
	}
	if !local.IsValid() {
		local = addr
	}
	return Address{Prefix: netip.PrefixFrom(local, int(p[1])), Broadcast: brd}
}

// readLink takes struct ifinfomsg and its attributes.
func readLink(p []byte) Link {
	var l Link
	if len(p) < unix.SizeofIfInfomsg {
		return l
	}
	l.Index = int(int32(binary.NativeEndian.Uint32(p[4:])))
	l.Up = binary.NativeEndian.Uint32(p[8:])&unix.IFF_UP != 0
	for a := range nlbatch.Attributes(p[unix.SizeofIfInfomsg:]) {
		switch a.Type {
		case unix.IFLA_IFNAME:
			l.Name = a.String()
		case unix.IFLA_ADDRESS:
			if len(a.Value) == len(l.MAC) {
				l.MAC = MAC(a.Value)
			}
		case unix.IFLA_MTU:
			l.MTU = int(a.Uint32())
		case unix.IFLA_TXQLEN:
			l.TxQueueLen = a.Uint32()
		case unix.IFLA_LINKINFO:
			readInfo(&l, a.Value)
		}
	}
	return l
}

func readInfo(l *Link, p []byte) {
	var data []byte
	for a := range nlbatch.Attributes(p) {
		switch a.Type {
		case unix.IFLA_INFO_KIND:
			l.Kind = a.String()
		case unix.IFLA_INFO_DATA:
			data = a.Value
		}
	}
	switch l.Kind {
	case Geneve.String():
		readGeneve(l, data)
	case VXLAN.String():
		readVXLAN(l, data)
	}
}

func readGeneve(l *Link, data []byte) {
	for a := range nlbatch.Attributes(data) {
		switch a.Type {
		case unix.IFLA_GENEVE_ID:
			l.VNI = a.Uint32()
		case unix.IFLA_GENEVE_REMOTE, unix.IFLA_GENEVE_REMOTE6:
			l.Remote = a.Addr()
		case unix.IFLA_GENEVE_PORT:
			l.Port = a.Uint16BE()
		case unix.IFLA_GENEVE_COLLECT_METADATA:
			l.External = true
		case unix.IFLA_GENEVE_TTL:
			l.TTL = a.Uint8()
		case unix.IFLA_GENEVE_TTL_INHERIT:
			l.Inherit = a.Uint8() != 0
		case unix.IFLA_GENEVE_UDP_CSUM:
			l.UDPCsum = a.Uint8() != 0
		}
	}
}

func readVXLAN(l *Link, data []byte) {
	for a := range nlbatch.Attributes(data) {
		switch a.Type {
		case unix.IFLA_VXLAN_ID:
			l.VNI = a.Uint32()
		case unix.IFLA_VXLAN_GROUP, unix.IFLA_VXLAN_GROUP6:
			l.Remote = a.Addr()
		case unix.IFLA_VXLAN_PORT:
			l.Port = a.Uint16BE()
		case unix.IFLA_VXLAN_COLLECT_METADATA:
			l.External = a.Uint8() != 0
		case unix.IFLA_VXLAN_TTL:
			l.TTL = a.Uint8()
		}
	}
}

// ifAddrMsg is struct ifaddrmsg.
func ifAddrMsg(bits int, scope uint8, index int) []byte {
	p := make([]byte, unix.SizeofIfAddrmsg)
	p[0], p[1], p[3] = unix.AF_INET, uint8(bits), scope
	binary.NativeEndian.PutUint32(p[4:], uint32(index))
	return p
}
