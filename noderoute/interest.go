// SPDX-License-Identifier: Apache-2.0

package noderoute

import (
	"net/netip"
	"sync"
)

// interest is what the data path depends on and others may change: addresses
// whose routes matter, and devices. It only tells which events are worth a check;
// what is there is read from the kernel each time.
type interest struct {
	mu      sync.Mutex
	host    netip.Addr
	ztunnel netip.Addr
	addrs   map[netip.Addr]string // of the ztunnel and the pods; with the veth, where there is one
	veths   map[string]bool
}

// replace starts anew with these addresses of pods, the ztunnel's among them. Their
// devices come later.
func (i *interest) replace(host, ztunnel netip.Addr, addrs []netip.Addr) {
	i.mu.Lock()
	defer i.mu.Unlock()
	veths := i.addrs
	i.host, i.ztunnel = host, ztunnel
	i.addrs, i.veths = make(map[netip.Addr]string, len(addrs)), make(map[string]bool, len(addrs))
	for _, a := range addrs {
		i.put(a, veths[a])
	}
}

// change is replace for pods that come and go.
func (i *interest) change(add, remove []Pod) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, p := range remove {
		delete(i.veths, i.addrs[p.IP])
		delete(i.addrs, p.IP)
	}
	for _, p := range add {
		i.put(p.IP, i.addrs[p.IP])
	}
}

// devices notes over which devices the addresses are reached.
func (i *interest) devices(hops map[netip.Addr]Hop) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for a, hop := range hops {
		if _, known := i.addrs[a]; known && hop.own() {
			i.put(a, hop.Dev)
		}
	}
}

func (i *interest) put(a netip.Addr, veth string) {
	if i.addrs == nil {
		i.addrs, i.veths = map[netip.Addr]string{}, map[string]bool{}
	}
	i.addrs[a] = veth
	if veth != "" {
		i.veths[veth] = true
	}
}

// forget is for a node without a data path: no event matters.
func (i *interest) forget() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.host, i.ztunnel, i.addrs, i.veths = netip.Addr{}, netip.Addr{}, nil, nil
}

// any tells whether the node has a data path at all.
func (i *interest) any() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return len(i.addrs) > 0
}

// device tells whether a device is one of ours, or a veth of the ztunnel or a pod.
func (i *interest) device(name string) bool {
	if name == DeviceInbound || name == DeviceOutbound || isSlotDevice(name) {
		return true
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.veths[name]
}

// target tells whether an address is the ztunnel's or a pod's.
func (i *interest) target(a netip.Addr) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	_, known := i.addrs[a]
	return known
}

// address tells whether the data path needs an address of the node's.
func (i *interest) address(a netip.Addr) bool {
	if a == inboundHostAddr().Addr() || a == outboundHostAddr().Addr() {
		return true
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	return a == i.host
}

// unannounced are the settings of the data path whose changes the kernel tells
// nobody, without values.
func (i *interest) unannounced() []Sysctl {
	i.mu.Lock()
	defer i.mu.Unlock()
	settings := []Sysctl{{Device: DeviceInbound, Key: acceptLocal}, {Device: DeviceOutbound, Key: acceptLocal}}
	if veth := i.addrs[i.ztunnel]; veth != "" {
		settings = append(settings, Sysctl{Device: veth, Key: acceptLocal})
	}
	return settings
}

const acceptLocal = "accept_local"

// ownWork is what tells this Node's own doings from others': the netlink ports of
// the latest calls, which events name, and what calls have written since it was
// asked last.
type ownWork struct {
	mu    sync.Mutex
	ports []uint32
	wrote Kinds
}

// remembered is how many ports are kept. An event is read within milliseconds,
// and a call opens two.
const remembered = 64

func (o *ownWork) add(ports ...uint32) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ports = append(o.ports, ports...)
	if more := len(o.ports) - remembered; more > 0 {
		o.ports = append(o.ports[:0], o.ports[more:]...)
	}
}

func (o *ownWork) has(port uint32) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, p := range o.ports {
		if p == port {
			return true
		}
	}
	return false
}

// note adds to what was written. A call does so when it is done.
func (o *ownWork) note(kinds Kinds) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.wrote |= kinds
}

// take is what was written since it was called last.
func (o *ownWork) take() Kinds {
	o.mu.Lock()
	defer o.mu.Unlock()
	kinds := o.wrote
	o.wrote = 0
	return kinds
}
