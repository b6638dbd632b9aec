// SPDX-License-Identifier: Apache-2.0

package geneve

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/ambient22/ambient22/noderoute/nlbatch"
	"golang.org/x/sys/unix"
)

var (
	// ErrUnsupported says that the kernel lacks this kind of tunnel.
	ErrUnsupported = errors.New("the kernel has no such tunnel device")
	// ErrInUse says that a device with the same identifier, remote and port, or
	// one that takes all of that port's packets, exists under another name.
	ErrInUse = errors.New("another tunnel device holds this identifier or port")
)

// Conn lists and changes links in the network namespace of the thread that
// opened it. It is not safe for concurrent use.
type Conn struct {
	nl *nlbatch.Conn
	// Writes counts the netlink messages sent that change something.
	Writes int
}

// Dial opens a connection.
func Dial() (*Conn, error) {
	nl, err := nlbatch.Dial(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, err
	}
	return &Conn{nl: nl}, nil
}

// Close closes the connection.
func (c *Conn) Close() error { return c.nl.Close() }

// Port is the number by which the kernel's events name what this connection
// changed.
func (c *Conn) Port() uint32 { return c.nl.Port() }

// Apply makes the changes in order and stops at the first that fails.
func (c *Conn) Apply(changes []Change) error {
	for _, ch := range changes {
		if err := c.apply(ch); err != nil {
			return fmt.Errorf("%s: %w", doing(ch), err)
		}
	}
	return nil
}

func doing(ch Change) string {
	switch ch.Op {
	case OpDelete:
		return "deleting device " + ch.Device.Name
	case OpCreate:
		return fmt.Sprintf("creating %s device %s", ch.Device.Kind, ch.Device.Name)
	case OpRemote:
		return fmt.Sprintf("pointing device %s to %s", ch.Device.Name, ch.Device.Remote)
	}
	return "changing device " + ch.Device.Name
}

func (c *Conn) apply(ch Change) error {
	switch ch.Op {
	case OpDelete:
		err := c.one(func(b *nlbatch.Batch) {
			b.Begin(unix.RTM_DELLINK, 0, ifInfoMsg(ch.Index, 0, 0))
		})
		return ignoring(err, unix.ENODEV)
	case OpCreate:
		return c.create(ch.Device)
	case OpRemote:
		return c.remote(ch.Device, ch.Index)
	case OpDelAddr, OpAddAddr:
		return c.address(ch.Op, ch.Addr, ch.Index)
	case OpUp:
		err := c.one(func(b *nlbatch.Batch) {
			b.Begin(unix.RTM_NEWLINK, 0, ifInfoMsg(ch.Index, unix.IFF_UP, unix.IFF_UP))
		})
		if err != nil {
			return err
		}
		return c.neighbours(ch.Device, ch.Index)
	}
	return c.one(func(b *nlbatch.Batch) {
		switch ch.Op {
		case OpMAC:
			b.Begin(unix.RTM_NEWLINK, 0, ifInfoMsg(ch.Index, 0, 0))
			b.Bytes(unix.IFLA_ADDRESS, ch.Device.MAC[:])
		case OpQueue:
			b.Begin(unix.RTM_NEWLINK, 0, ifInfoMsg(ch.Index, 0, 0))
			b.Uint32(unix.IFLA_TXQLEN, ch.Device.TxQueueLen)
		case OpMTU:
			b.Begin(unix.RTM_NEWLINK, 0, ifInfoMsg(ch.Index, 0, 0))
			b.Uint32(unix.IFLA_MTU, uint32(ch.Device.MTU))
		}
	})
}

func (c *Conn) create(d Device) error {
	err := c.one(func(b *nlbatch.Batch) {
		b.Begin(unix.RTM_NEWLINK, unix.NLM_F_CREATE|unix.NLM_F_EXCL, ifInfoMsg(0, unix.IFF_UP, unix.IFF_UP))
		b.String(unix.IFLA_IFNAME, d.Name)
		b.Uint32(unix.IFLA_TXQLEN, d.TxQueueLen)
		if d.MTU != 0 {
			b.Uint32(unix.IFLA_MTU, uint32(d.MTU))
		}
		if d.MAC != (MAC{}) {
			b.Bytes(unix.IFLA_ADDRESS, d.MAC[:])
		}
		linkInfo(b, d, true)
	})
	switch {
	case errors.Is(err, unix.EOPNOTSUPP):
		return fmt.Errorf("%w: %w", ErrUnsupported, err)
	case errors.Is(err, unix.EEXIST), errors.Is(err, unix.EADDRINUSE), errors.Is(err, unix.EBUSY):
		return fmt.Errorf("%w: %w", ErrInUse, err)
	case err != nil:
		return err
	}
	if !d.Addr.IsValid() {
		return nil
	}
	links, err := c.List(d.Name)
	if err != nil {
		return err
	}
	if len(links) == 0 {
		return unix.ENODEV
	}
	if err := c.address(OpAddAddr, d.address(), links[0].Index); err != nil {
		return err
	}
	return c.neighbours(d, links[0].Index)
}

// linkInfo nests the kind and its parameters. A change in place may not even
// mention what is fixed for life.
func linkInfo(b *nlbatch.Batch, d Device, create bool) {
	remote := d.Remote.As4()
	b.Open(unix.IFLA_LINKINFO)
	b.String(unix.IFLA_INFO_KIND, d.Kind.String())
	b.Open(unix.IFLA_INFO_DATA)
	switch d.Kind {
	case Geneve:
		b.Uint32(unix.IFLA_GENEVE_ID, d.VNI)
		b.Bytes(unix.IFLA_GENEVE_REMOTE, remote[:])
		b.Uint8(unix.IFLA_GENEVE_TTL, 0) // "auto": the route's, not the inner packet's
		if create {
			b.Uint8(unix.IFLA_GENEVE_UDP_CSUM, 0)
			b.Uint16BE(unix.IFLA_GENEVE_PORT, d.Port)
			b.Uint8(unix.IFLA_GENEVE_UDP_ZERO_CSUM6_RX, 1)
		}
	case VXLAN:
		b.Uint32(unix.IFLA_VXLAN_ID, d.VNI)
		b.Bytes(unix.IFLA_VXLAN_GROUP, remote[:])
		b.Uint8(unix.IFLA_VXLAN_TTL, 0)
		if create {
			b.Uint16BE(unix.IFLA_VXLAN_PORT, d.Port)
			// Everything goes to the one remote, as with Geneve; nothing is
			// learned from packets, so nothing stale is left when it moves.
			b.Uint8(unix.IFLA_VXLAN_LEARNING, 0)
		}
	}
	b.Close()
	b.Close()
}

// remote points a tunnel elsewhere and forgets the far end's hardware address:
// the new far end may have another, and packets to the old one would be dropped
// until the kernel noticed by itself. Both is one message to the kernel, so that
// hardly a packet comes in between.
func (c *Conn) remote(d Device, index int) error {
	var b nlbatch.Batch
	b.Begin(unix.RTM_NEWLINK, 0, ifInfoMsg(index, 0, 0))
	linkInfo(&b, d, false)
	if d.Far == (MAC{}) {
		for _, n := range d.neighbours() {
			b.Begin(unix.RTM_DELNEIGH, 0, ndMsg(index, 0))
			ip := n.As4()
			b.Bytes(unix.NDA_DST, ip[:])
		}
	}
	c.Writes += b.Len()
	failures, err := c.nl.Send(&b)
	for _, f := range failures {
		if f.Index == 0 || !errors.Is(f.Err, unix.ENOENT) {
			err = errors.Join(err, f.Err)
		}
	}
	return err
}

// neighbours puts down the far end's hardware address for good, where it is known.
func (c *Conn) neighbours(d Device, index int) error {
	if d.Far == (MAC{}) {
		return nil
	}
	return c.one(func(b *nlbatch.Batch) {
		for _, n := range d.neighbours() {
			b.Begin(unix.RTM_NEWNEIGH, unix.NLM_F_CREATE|unix.NLM_F_REPLACE, ndMsg(index, unix.NUD_PERMANENT))
			ip := n.As4()
			b.Bytes(unix.NDA_DST, ip[:])
			b.Bytes(unix.NDA_LLADDR, d.Far[:])
		}
	})
}

// ndMsg is struct ndmsg.
func ndMsg(index int, state uint16) []byte {
	p := make([]byte, unix.SizeofNdMsg)
	p[0] = unix.AF_INET
	binary.NativeEndian.PutUint32(p[4:], uint32(index))
	binary.NativeEndian.PutUint16(p[8:], state)
	return p
}

func (c *Conn) address(op Op, a Address, index int) error {
	typ, flags := uint16(unix.RTM_DELADDR), uint16(0)
	if op == OpAddAddr {
		typ, flags = unix.RTM_NEWADDR, unix.NLM_F_CREATE|unix.NLM_F_EXCL
	}
	return c.one(func(b *nlbatch.Batch) {
		b.Begin(typ, flags, ifAddrMsg(a.Prefix.Bits(), unix.RT_SCOPE_UNIVERSE, index))
		ip := a.Prefix.Addr().As4()
		b.Bytes(unix.IFA_LOCAL, ip[:])
		b.Bytes(unix.IFA_ADDRESS, ip[:])
		if op == OpAddAddr && a.Broadcast.IsValid() {
			brd := a.Broadcast.As4()
			b.Bytes(unix.IFA_BROADCAST, brd[:])
		}
	})
}

func (c *Conn) one(build func(*nlbatch.Batch)) error {
	var b nlbatch.Batch
	build(&b)
	c.Writes += b.Len()
	failures, err := c.nl.Send(&b)
	if len(failures) > 0 {
		return failures[0].Err
	}
	return err
}

func ignoring(err error, errno unix.Errno) error {
	if errors.Is(err, errno) {
		return nil
	}
	return err
}

// ifInfoMsg is struct ifinfomsg.
func ifInfoMsg(index int, flags, change uint32) []byte {
	p := make([]byte, unix.SizeofIfInfomsg)
	binary.NativeEndian.PutUint32(p[4:], uint32(index))
	binary.NativeEndian.PutUint32(p[8:], flags)
	binary.NativeEndian.PutUint32(p[12:], change)
	return p
}
