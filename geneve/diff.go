// SPDX-License-Identifier: Apache-2.0

package geneve

import (
	"fmt"
	"net/netip"
	"slices"
)

// Op is what one Change does.
type Op uint8

// The operations.
const (
	OpDelete  Op = iota // remove the device
	OpCreate            // make it, with all its parameters, and bring it up
	OpRemote            // point it to another remote, in place
	OpQueue             // set its transmit queue length
	OpMTU               // set its MTU
	OpDelAddr           // take an address off it
	OpAddAddr           // give it its address
	OpUp                // bring it up
	OpMAC               // give it its hardware address
)

// Change is one step towards the devices that should be there.
type Change struct {
	Op     Op
	Device Device // as it should be; only Name for OpDelete
	Index  int    // of the existing link; 0 for one that is made by this row of changes
	Addr   Address
}

// String words the change for people.
func (c Change) String() string {
	switch c.Op {
	case OpDelete:
		return "ip link del " + c.Device.Name
	case OpCreate:
		return "ip link add " + c.Device.String()
	case OpRemote:
		return fmt.Sprintf("ip link set %s remote %s", c.Device.Name, c.Device.Remote)
	case OpQueue:
		return fmt.Sprintf("ip link set %s txqueuelen %d", c.Device.Name, c.Device.TxQueueLen)
	case OpMTU:
		return fmt.Sprintf("ip link set %s mtu %d", c.Device.Name, c.Device.MTU)
	case OpDelAddr:
		return fmt.Sprintf("ip addr del %s dev %s", c.Addr.Prefix, c.Device.Name)
	case OpAddAddr:
		return fmt.Sprintf("ip addr add %s dev %s", c.Addr.Prefix, c.Device.Name)
	case OpUp:
		return fmt.Sprintf("ip link set %s up", c.Device.Name)
	case OpMAC:
		return fmt.Sprintf("ip link set %s address %s", c.Device.Name, c.Device.MAC)
	}
	return fmt.Sprintf("op(%d) %s", c.Op, c.Device.Name)
}

// Diff orders the changes that lead from the links there are to the devices
// that should be. A link whose name is wanted but whose kind is neither Geneve
// nor VXLAN is somebody else's: Foreign names those, Diff leaves them alone.
// Devices that cannot stay go before any is made: tunnels of two kinds cannot
// hold one port at the same time.
func Diff(want []Device, have []Link) []Change {
	var gone, changes []Change
	for _, d := range want {
		i := slices.IndexFunc(have, func(l Link) bool { return l.Name == d.Name })
		switch {
		case i < 0:
			changes = append(changes, Change{Op: OpCreate, Device: d})
		case !have[i].Tunnel():
		case !changeable(d, have[i]):
			gone = append(gone, Change{Op: OpDelete, Device: Device{Name: d.Name}, Index: have[i].Index})
			changes = append(changes, Change{Op: OpCreate, Device: d})
		default:
			changes = append(changes, inPlace(d, have[i])...)
		}
	}
	return append(gone, changes...)
}

// Removal orders the deletion of those links that are tunnels.
func Removal(have []Link) []Change {
	var changes []Change
	for _, l := range have {
		if l.Tunnel() {
			changes = append(changes, Change{Op: OpDelete, Device: Device{Name: l.Name}, Index: l.Index})
		}
	}
	return changes
}

// Foreign returns the links that stand in the way of a wanted device because
// they have its name and another kind.
func Foreign(want []Device, have []Link) []Link {
	var foreign []Link
	for _, l := range have {
		wanted := slices.ContainsFunc(want, func(d Device) bool { return d.Name == l.Name })
		if wanted && !l.Tunnel() {
			foreign = append(foreign, l)
		}
	}
	return foreign
}

// changeable tells whether the kernel can turn the link into the device
// without making it anew: kind, identifier, port, and how checksums are made
// are fixed for life.
func changeable(d Device, l Link) bool {
	return l.Kind == d.Kind.String() && l.VNI == d.VNI && l.Port == d.Port &&
		!l.External && !l.Inherit && !l.UDPCsum
}

func inPlace(d Device, l Link) []Change {
	var changes []Change
	add := func(op Op, a Address) {
		changes = append(changes, Change{Op: op, Device: d, Index: l.Index, Addr: a})
	}
	if l.Remote != d.Remote || l.TTL != 0 {
		add(OpRemote, Address{})
	}
	if d.MAC != (MAC{}) && l.MAC != d.MAC {
		add(OpMAC, Address{})
	}
	if l.TxQueueLen != d.TxQueueLen {
		add(OpQueue, Address{})
	}
	if d.MTU != 0 && l.MTU != d.MTU {
		add(OpMTU, Address{})
	}
	wanted := d.address()
	for _, a := range l.Addrs {
		if a != wanted {
			add(OpDelAddr, a)
		}
	}
	if d.Addr.IsValid() && !slices.Contains(l.Addrs, wanted) {
		add(OpAddAddr, wanted)
	}
	if !l.Up {
		add(OpUp, Address{})
	}
	return changes
}

func (d Device) address() Address {
	a := Address{Prefix: d.Addr}
	if d.Broadcast {
		a.Broadcast = broadcast(d.Addr)
	}
	return a
}

// neighbours are the addresses of a tunnel's network other than its own: the
// far end whose hardware address changes with the remote.
func (d Device) neighbours() []netip.Addr {
	var out []netip.Addr
	if !d.Addr.IsValid() {
		return nil
	}
	last := broadcast(d.Addr)
	for a := d.Addr.Masked().Addr().Next(); a.Less(last); a = a.Next() {
		if a != d.Addr.Addr() {
			out = append(out, a)
		}
	}
	return out
}
