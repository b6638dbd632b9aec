// SPDX-License-Identifier: Apache-2.0

package collect

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/ambient22/ambient22/internal/dump"
)

// neighbours are the network namespaces at the other ends of the node's veths,
// with the pods' addresses that the node routes there.
type neighbours struct {
	// byID are the namespaces by the number that the node's namespace has for each.
	byID map[int]*namespace
	// devices are the node's veths, with the number of the namespace behind each.
	devices map[string]int
	// routes are the pods' addresses with the device that the node routes each to.
	routes map[netip.Addr]string
	// captured are the pods' addresses that the node routes into the tunnel.
	captured map[netip.Addr]bool
	// ztunnels are the remote ends of the node's tunnel devices.
	ztunnels []netip.Addr
}

// namespace is a network namespace that is open.
type namespace struct {
	file  *os.File
	addrs []netip.Addr
}

// The names of the node's tunnel devices.
var tunnelDevices = [...]string{"istioout", "istioin"}

// findNeighbours looks from the calling thread's namespace, which is the node's.
func findNeighbours() (*neighbours, error) {
	n := &neighbours{
		byID: map[int]*namespace{}, devices: map[string]int{}, routes: map[netip.Addr]string{}, captured: map[netip.Addr]bool{},
	}
	links, err := netlink.LinkList()
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return nil, fmt.Errorf("listing the node's devices: %w", err)
	}
	names := map[int]string{}
	for _, l := range links {
		names[l.Attrs().Index] = l.Attrs().Name
		if _, ok := l.(*netlink.Veth); ok && l.Attrs().NetNsID >= 0 {
			n.devices[l.Attrs().Name] = l.Attrs().NetNsID
		}
		if remote := remoteOf(l); remote.IsValid() {
			n.ztunnels = append(n.ztunnels, remote)
		}
	}
	if err := n.readRoutes(names); err != nil {
		return nil, err
	}
	return n, n.open()
}

// remoteOf is where one of our tunnel devices sends to.
func remoteOf(l netlink.Link) netip.Addr {
	if !slices.Contains(tunnelDevices[:], l.Attrs().Name) {
		return netip.Addr{}
	}
	var ip net.IP
	switch l := l.(type) {
	case *netlink.Geneve:
		ip = l.Remote
	case *netlink.Vxlan:
		ip = l.Group
	}
	addr, _ := netip.AddrFromSlice(ip)
	return addr.Unmap()
}

// readRoutes finds the pods: each has a route of its own to its address.
func (n *neighbours) readRoutes(names map[int]string) error {
	filter := &netlink.Route{Table: unix.RT_TABLE_UNSPEC}
	routes, err := netlink.RouteListFiltered(netlink.FAMILY_V4, filter, netlink.RT_FILTER_TABLE)
	if err != nil && !errors.Is(err, netlink.ErrDumpInterrupted) {
		return fmt.Errorf("listing the node's routes: %w", err)
	}
	for _, r := range routes {
		if r.Dst == nil || r.Type != unix.RTN_UNICAST {
			continue
		}
		if ones, bits := r.Dst.Mask.Size(); ones != bits {
			continue
		}
		addr, ok := netip.AddrFromSlice(r.Dst.IP)
		addr = addr.Unmap()
		device := names[r.LinkIndex]
		switch _, veth := n.devices[device]; {
		case !ok:
		case veth:
			n.routes[addr] = device
		case device == "istioin" && r.Gw != nil:
			n.captured[addr] = true
		}
	}
	return nil
}

// places are where namespaces have names: of processes, of ip netns, of Docker.
var places = [...]string{"/proc/[0-9]*/ns/net", "/run/netns/*", "/var/run/netns/*", "/run/docker/netns/*", "/var/run/docker/netns/*"}

// open opens every namespace that a veth leads to, and reads its addresses.
func (n *neighbours) open() error {
	wanted := map[int]bool{}
	for _, id := range n.devices {
		wanted[id] = true
	}
	seen := map[uint64]bool{}
	for _, pattern := range places {
		files, err := filepath.Glob(pattern)
		if err != nil {
			return fmt.Errorf("looking for network namespaces: %w", err)
		}
		for _, path := range files {
			if len(n.byID) == len(wanted) {
				return nil
			}
			n.tryOpen(path, wanted, seen)
		}
	}
	return nil
}

// tryOpen passes over what is gone, no namespace, or not a neighbour.
func (n *neighbours) tryOpen(path string, wanted map[int]bool, seen map[uint64]bool) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil || seen[st.Ino] {
		return
	}
	seen[st.Ino] = true
	f, err := os.Open(path)
	if err != nil {
		return
	}
	id, err := netlink.GetNetNsIdByFd(int(f.Fd()))
	if err != nil || !wanted[id] || n.byID[id] != nil {
		f.Close()
		return
	}
	n.byID[id] = &namespace{file: f, addrs: addresses(f)}
}

// addresses are a namespace's own, without those of lo. Where they can't be read
// there are none: the route to a pod says the same.
func addresses(f *os.File) []netip.Addr {
	var all []netip.Addr
	// Another thread moves there and reads.
	s := &space{fd: int(f.Fd())}
	err := s.inside(func() error {
		list, err := netlink.AddrList(nil, netlink.FAMILY_V4)
		for _, a := range list {
			if addr, ok := netip.AddrFromSlice(a.IP); ok && !addr.Unmap().IsLoopback() {
				all = append(all, addr.Unmap())
			}
		}
		return err
	})
	if err != nil {
		return nil
	}
	return all
}

func (n *neighbours) close() {
	for _, ns := range n.byID {
		ns.file.Close()
	}
}

// neighbour is a pod on this node.
type neighbour struct {
	name     string // "NAMESPACE/NAME", or its address
	addr     netip.Addr
	device   string // the node's device that leads there; "" where none is known
	captured bool
	*namespace
}

func (p *neighbour) fd() int { return int(p.file.Fd()) }

// unreached says why the namespace is not open.
func (p *neighbour) unreached() string {
	if p.device == "" {
		return fmt.Sprintf("no veth of this node leads to %s", p.addr)
	}
	return fmt.Sprintf("the network namespace behind %s is not to be seen from here, neither as a process's in /proc nor by a name in /run/netns: in a container that takes hostPID", p.device)
}

// at is what stands at an address.
func (n *neighbours) at(addr netip.Addr) *neighbour {
	p := &neighbour{name: addr.String(), addr: addr, captured: n.captured[addr]}
	if device, ok := n.routes[addr]; ok {
		p.device, p.namespace = device, n.byID[n.devices[device]]
		return p
	}
	// Behind a bridge pods have no routes of their own.
	for device, id := range n.devices {
		if ns := n.byID[id]; ns != nil && slices.Contains(ns.addrs, addr) {
			p.device, p.namespace = device, ns
		}
	}
	return p
}

// ztunnel is the pod that the tunnel devices lead to, or where there are none the
// one that the node controller calls so.
func (n *neighbours) ztunnel(known *dump.Workloads) (*neighbour, error) {
	remotes := slices.Clone(n.ztunnels)
	if len(remotes) == 0 && known != nil {
		for _, p := range known.Pods {
			if p.Node == known.Node && strings.HasPrefix(p.Name, "ztunnel-") {
				remotes = append(remotes, p.IP)
			}
		}
	}
	if len(remotes) == 0 {
		return nil, errors.New("the node has no device istioout or istioin that leads to one")
	}
	p := n.at(remotes[0])
	if p.namespace == nil {
		return nil, fmt.Errorf("%s: %s", p.addr, p.unreached())
	}
	return p, nil
}

// pods are the pods beside the active ztunnel, the captured ones first.
func (n *neighbours) pods(ztunnel *neighbour, known *dump.Workloads) []*neighbour {
	names := map[netip.Addr]string{}
	if known != nil {
		for _, p := range known.Pods {
			if p.Node == known.Node && !p.HostNetwork {
				names[p.IP] = p.Namespace + "/" + p.Name
			}
		}
	}
	addrs := map[netip.Addr]bool{}
	for addr := range n.routes {
		addrs[addr] = true
	}
	for addr := range n.captured {
		addrs[addr] = true
	}
	for addr := range names {
		addrs[addr] = true
	}
	var pods []*neighbour
	for addr := range addrs {
		if ztunnel != nil && addr == ztunnel.addr {
			continue
		}
		p := n.at(addr)
		p.name = cmp.Or(names[addr], p.name)
		pods = append(pods, p)
	}
	slices.SortFunc(pods, func(a, b *neighbour) int {
		if a.captured != b.captured {
			if a.captured {
				return -1
			}
			return 1
		}
		return a.addr.Compare(b.addr)
	})
	return pods
}
