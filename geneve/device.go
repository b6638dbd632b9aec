// SPDX-License-Identifier: Apache-2.0

package geneve

import (
	"fmt"
	"net"
	"net/netip"
)

// Kind is the encapsulation of a tunnel device.
type Kind uint8

const (
	// Geneve (RFC 8926) is what the data path is made of.
	Geneve Kind = iota
	// VXLAN (RFC 7348) stands in for Geneve on kernels built without it, with
	// the same network identifiers, addresses and UDP port. It is never chosen
	// without being asked for.
	VXLAN
)

// String is the name that the kernel, iproute2 and this project's flags use.
func (k Kind) String() string {
	switch k {
	case Geneve:
		return "geneve"
	case VXLAN:
		return "vxlan"
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// ParseKind reads "geneve" or "vxlan".
func ParseKind(s string) (Kind, error) {
	switch s {
	case "geneve":
		return Geneve, nil
	case "vxlan":
		return VXLAN, nil
	}
	return 0, fmt.Errorf("parsing tunnel kind %q: it is geneve or vxlan", s)
}

const (
	// DefaultPort is the UDP port of Geneve (RFC 8926, section 3.3). The
	// stand-in uses it too, so that the rule that lets outer packets pass is
	// the same.
	DefaultPort = 6081

	// DefaultTxQueueLen is the kernel's own transmit queue length. iproute2
	// prints it as "qlen 1000"; a device with length 0 prints nothing.
	DefaultTxQueueLen = 1000

	// Overhead is what the outer IPv4, UDP, Geneve (without options) and inner
	// Ethernet headers take: 20+8+8+14 bytes. VXLAN's take the same.
	Overhead = 50
)

// Device is a tunnel device as it should be.
type Device struct {
	Name string
	Kind Kind
	VNI  uint32
	// Remote is the other end's IPv4 address; it may change in place.
	Remote netip.Addr
	// Port is the UDP destination port.
	Port uint16
	// Addr is the device's own address with the length of its network; a device
	// that only hears has none.
	Addr netip.Prefix
	// Broadcast puts the network's broadcast address beside Addr.
	Broadcast bool
	// TxQueueLen is the transmit queue length in packets.
	TxQueueLen uint32
	// MAC is the device's hardware address; the zero MAC leaves it to the kernel.
	MAC MAC
	// Far is the hardware address of the other end, for a device that must not
	// ask for it; the zero MAC has it ask.
	Far MAC
	// MTU in bytes; 0 leaves it to the kernel, which knows better for Geneve:
	// it takes Overhead off the MTU of the device that leads to Remote. For
	// VXLAN it does so only if the tunnel is bound to a device, and a bound
	// tunnel dies with it, so the stand-in's MTU is set.
	MTU int
}

// String words the device as iproute2 would create it.
func (d Device) String() string {
	s := fmt.Sprintf("%s %s id %d remote %s dstport %d", d.Name, d.Kind, d.VNI, d.Remote, d.Port)
	if d.Addr.IsValid() {
		s += fmt.Sprintf(" addr %s", d.Addr)
	}
	if d.Broadcast {
		s += fmt.Sprintf(" brd %s", broadcast(d.Addr))
	}
	s += fmt.Sprintf(" txqueuelen %d", d.TxQueueLen)
	if d.MTU != 0 {
		s += fmt.Sprintf(" mtu %d", d.MTU)
	}
	return s
}

// MAC is an Ethernet address.
type MAC [6]byte

// MACOf is a hardware address of one's own making for a device with this address.
func MACOf(ip netip.Addr) MAC {
	b := ip.As4()
	return MAC{2, 0, b[0], b[1], b[2], b[3]} // 2: locally administered
}

// String writes it as iproute2 does.
func (m MAC) String() string { return net.HardwareAddr(m[:]).String() }

// broadcast is the last address of an IPv4 network.
func broadcast(p netip.Prefix) netip.Addr {
	a := p.Addr().As4()
	for i := range a {
		bits := min(max(p.Bits()-8*i, 0), 8)
		a[i] |= byte(0xff >> bits)
	}
	return netip.AddrFrom4(a)
}

// Address is an IPv4 address on a device.
type Address struct {
	Prefix    netip.Prefix
	Broadcast netip.Addr // the zero Addr where none is set
}

// Link is a device as the kernel has it.
type Link struct {
	Name       string
	Index      int
	Kind       string // "geneve", "vxlan", "veth", ...; empty for hardware
	Up         bool
	MTU        int
	TxQueueLen uint32
	Addrs      []Address // IPv4
	MAC        MAC

	// Of tunnels only.
	VNI      uint32
	Remote   netip.Addr
	Port     uint16
	External bool  // takes identifier and remote from each packet's metadata
	TTL      uint8 // 0 is "auto"
	Inherit  bool  // takes the time to live from the inner packet
	UDPCsum  bool
}

// Tunnel tells whether the link is of a kind this package makes.
func (l *Link) Tunnel() bool { return l.Kind == Geneve.String() || l.Kind == VXLAN.String() }
