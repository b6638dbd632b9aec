// SPDX-License-Identifier: Apache-2.0

package hosts

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	vnetns "github.com/vishvananda/netns"

	"github.com/ambient22/ambient22/internal/lab/netns"
	"github.com/ambient22/ambient22/internal/lab/topology"
)

// uplink is the device between the nodes, and the pod's end of its veth.
const uplink = "eth0"

// handle opens netlink in a namespace.
func handle(ns string) (*netlink.Handle, error) {
	fd, err := vnetns.GetFromPath(netns.Path(ns))
	if err != nil {
		return nil, fmt.Errorf("opening namespace %s: %w", ns, err)
	}
	defer fd.Close()
	h, err := netlink.NewHandleAt(fd)
	if err != nil {
		return nil, fmt.Errorf("opening netlink in %s: %w", ns, err)
	}
	return h, nil
}

// linkNodes puts the two nodes on one link and tells each where the other's
// pods are.
func (n *Net) linkNodes() error {
	if len(n.Topology.Nodes) != 2 {
		return fmt.Errorf("linking the nodes: the topology has %d, not two", len(n.Topology.Nodes))
	}
	a, b := &n.Topology.Nodes[0], &n.Topology.Nodes[1]
	if err := n.addVeth(a.Host, uplink, b.Host, uplink); err != nil {
		return err
	}
	for _, side := range []struct{ own, other *topology.Node }{{a, b}, {b, a}} {
		if err := n.setUpNode(side.own, side.other); err != nil {
			return fmt.Errorf("setting up %s: %w", side.own.Host, err)
		}
	}
	return nil
}

func (n *Net) setUpNode(own, other *topology.Node) error {
	h, err := handle(n.Namespace(own.Host))
	if err != nil {
		return err
	}
	defer h.Close()
	if err := addAddress(h, uplink, own.Address); err != nil {
		return err
	}
	if err := up(h, uplink); err != nil {
		return err
	}
	return addRoute(h, uplink, &netlink.Route{Dst: ipNet(other.PodCIDR), Gw: other.Address.Addr().AsSlice()})
}

// addVeth makes a veth whose ends stand in two hosts. The end in the first host
// is made there, so that a pod's eth0 is its second device, as in a real pod.
func (n *Net) addVeth(host, name, peerHost, peerName string) error {
	h, err := handle(n.Namespace(host))
	if err != nil {
		return err
	}
	defer h.Close()
	peer, err := vnetns.GetFromPath(netns.Path(n.Namespace(peerHost)))
	if err != nil {
		return fmt.Errorf("opening the namespace of %s: %w", peerHost, err)
	}
	defer peer.Close()
	attrs := netlink.NewLinkAttrs()
	attrs.Name, attrs.MTU = name, n.Topology.MTU
	attrs.TxQLen = 0
	attrs.NumTxQueues, attrs.NumRxQueues = 1, 1
	veth := &netlink.Veth{
		LinkAttrs: attrs, PeerName: peerName, PeerNamespace: netlink.NsFd(int(peer)),
		PeerMTU: uint32(n.Topology.MTU), PeerTxQLen: 0, PeerNumTxQueues: 1, PeerNumRxQueues: 1,
	}
	if err := h.LinkAdd(veth); err != nil {
		return fmt.Errorf("adding the link between %s and %s: %w", host, peerHost, err)
	}
	return nil
}

// linkPod hangs a pod on its node.
func (n *Net) linkPod(p *topology.Pod) error {
	node, ok := n.Topology.Node(p.Node)
	if !ok {
		return fmt.Errorf("linking %s: no node %s", p.Host, p.Node)
	}
	if err := n.addVeth(p.Host, uplink, node.Host, p.Veth); err != nil {
		return err
	}
	if err := n.podEnd(p, node); err != nil {
		return fmt.Errorf("setting up %s: %w", p.Host, err)
	}
	if err := n.nodeEnd(p, node); err != nil {
		return fmt.Errorf("hanging %s on %s: %w", p.Host, node.Host, err)
	}
	return nil
}

// podEnd gives the pod its address, and routes that lead everything through the
// node: the connected route of the /24 would look for neighbours on a link where
// there are none.
func (n *Net) podEnd(p *topology.Pod, node *topology.Node) error {
	h, err := handle(n.Namespace(p.Host))
	if err != nil {
		return err
	}
	defer h.Close()
	if err := addAddress(h, uplink, netip.PrefixFrom(p.Address, node.PodCIDR.Bits())); err != nil {
		return err
	}
	if err := up(h, uplink); err != nil {
		return err
	}
	link, err := h.LinkByName(uplink)
	if err != nil {
		return fmt.Errorf("finding %s: %w", uplink, err)
	}
	connected := &netlink.Route{LinkIndex: link.Attrs().Index, Dst: ipNet(node.PodCIDR), Scope: netlink.SCOPE_LINK}
	if err := h.RouteDel(connected); err != nil {
		return fmt.Errorf("removing the connected route: %w", err)
	}
	gateway, own := net.IP(node.Gateway.AsSlice()), net.IP(p.Address.AsSlice())
	for _, r := range []*netlink.Route{
		{Dst: ipNet(netip.PrefixFrom(node.Gateway, 32)), Scope: netlink.SCOPE_LINK, Src: own},
		{Dst: ipNet(node.PodCIDR), Gw: gateway, Src: own},
		{Gw: gateway},
	} {
		if err := addRoute(h, uplink, r); err != nil {
			return err
		}
	}
	return nil
}

func (n *Net) nodeEnd(p *topology.Pod, node *topology.Node) error {
	h, err := handle(n.Namespace(node.Host))
	if err != nil {
		return err
	}
	defer h.Close()
	if err := addAddress(h, p.Veth, netip.PrefixFrom(node.Gateway, 32)); err != nil {
		return err
	}
	if err := up(h, p.Veth); err != nil {
		return err
	}
	return addRoute(h, p.Veth, &netlink.Route{Dst: ipNet(netip.PrefixFrom(p.Address, 32)), Scope: netlink.SCOPE_LINK})
}

func addAddress(h *netlink.Handle, device string, prefix netip.Prefix) error {
	link, err := h.LinkByName(device)
	if err != nil {
		return fmt.Errorf("finding %s: %w", device, err)
	}
	addr := &netlink.Addr{IPNet: &net.IPNet{
		IP: prefix.Addr().AsSlice(), Mask: net.CIDRMask(prefix.Bits(), 32),
	}}
	if prefix.Bits() < 31 {
		addr.Broadcast = broadcast(prefix)
	}
	if err := h.AddrAdd(link, addr); err != nil {
		return fmt.Errorf("adding %s to %s: %w", prefix, device, err)
	}
	return nil
}

func broadcast(prefix netip.Prefix) net.IP {
	ip := prefix.Addr().As4()
	mask := net.CIDRMask(prefix.Bits(), 32)
	for i := range ip {
		ip[i] |= ^mask[i]
	}
	return net.IP(ip[:])
}

func addRoute(h *netlink.Handle, device string, r *netlink.Route) error {
	link, err := h.LinkByName(device)
	if err != nil {
		return fmt.Errorf("finding %s: %w", device, err)
	}
	r.LinkIndex = link.Attrs().Index
	if err := h.RouteAdd(r); err != nil {
		return fmt.Errorf("adding the route %s: %w", r, err)
	}
	return nil
}

func up(h *netlink.Handle, device string) error {
	link, err := h.LinkByName(device)
	if err != nil {
		return fmt.Errorf("finding %s: %w", device, err)
	}
	if err := h.LinkSetUp(link); err != nil {
		return fmt.Errorf("setting %s up: %w", device, err)
	}
	return nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), 32)}
}
