// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/ambient22/ambient22/internal/mesh"
)

// lastPodBits is the longest prefix that still has a host address for the node.
const lastPodBits = 30

func (b *builder) addNodes(nodes []*corev1.Node) {
	nodes = inOrder(b, KindNode, nodes)
	b.nodes = make(map[string]bool, len(nodes))
	b.nodeIPs = make(map[netip.Addr]string, len(nodes))
	for _, n := range nodes {
		at := b.about(KindNode, "", n.Name)
		if !at.validName("metadata.name", n.Name, validation.IsDNS1123Subdomain) {
			continue
		}
		node := mesh.Node{Name: n.Name, InternalIP: at.internalIP(n), PodCIDR: at.podCIDR(n)}
		if !node.InternalIP.IsValid() && !node.PodCIDR.IsValid() {
			at.problem("status.addresses", "write its IPv4 InternalIP, or spec.podCIDR", "the node has neither an IPv4 InternalIP nor a pod range, so its address towards pods is unknown")
		}
		b.nodes[n.Name] = true
		b.snapshot.Nodes = append(b.snapshot.Nodes, node)
	}
	b.overlappingRanges()
	if b.options.Node != "" && !b.nodes[b.options.Node] {
		names := make([]string, 0, len(b.nodes))
		for name := range b.nodes {
			names = append(names, name)
		}
		b.about(KindNode, "", b.options.Node).problem("metadata.name", "start with the name of one of them, or add the Node",
			"there is no Node of the name this was started for; there are: %s", list(names))
	}
}

// internalIP is the node's first IPv4 InternalIP, zero where it has none.
func (at subject) internalIP(n *corev1.Node) netip.Addr {
	for i, a := range n.Status.Addresses {
		if a.Type != corev1.NodeInternalIP {
			continue
		}
		field := fmt.Sprintf("status.addresses[%d].address", i)
		ip, err := parseIPv4(a.Address)
		if errors.Is(err, errIPv6) {
			continue // a dual-stack node
		}
		if err != nil {
			at.problem(field, "write the node's IPv4 address", "%q %v", a.Address, err)
			continue
		}
		if other, taken := at.b.nodeIPs[ip]; taken {
			at.problem(field, "give each node its own", "%s is the address of node %s too", ip, other)
			continue
		}
		at.b.nodeIPs[ip] = n.Name
		return ip
	}
	return netip.Addr{}
}

// podCIDR is the node's IPv4 pod range, zero where it has none.
func (at subject) podCIDR(n *corev1.Node) netip.Prefix {
	texts, field := n.Spec.PodCIDRs, "spec.podCIDRs"
	if len(texts) == 0 && n.Spec.PodCIDR != "" {
		texts, field = []string{n.Spec.PodCIDR}, "spec.podCIDR"
	}
	for _, text := range texts {
		prefix, err := netip.ParsePrefix(text)
		switch {
		case err != nil:
			at.problem(field, "write it as 10.4.4.0/24", "%q is not an address range", text)
		case !prefix.Addr().Is4():
			continue // a dual-stack node
		case prefix.Bits() > lastPodBits:
			at.problem(field, "give the node a larger range", "%s has no room for the node's own address", text)
		default:
			return prefix.Masked()
		}
	}
	return netip.Prefix{}
}

// overlappingRanges reports nodes whose pod ranges share addresses. Sorted by
// their first address, a range overlaps a later one only if it overlaps the next.
func (b *builder) overlappingRanges() {
	var nodes []mesh.Node
	for _, n := range b.snapshot.Nodes {
		if n.PodCIDR.IsValid() {
			nodes = append(nodes, n)
		}
	}
	slices.SortFunc(nodes, func(a, b mesh.Node) int {
		return cmp.Or(a.PodCIDR.Addr().Compare(b.PodCIDR.Addr()), cmp.Compare(a.PodCIDR.Bits(), b.PodCIDR.Bits()), cmp.Compare(a.Name, b.Name))
	})
	for i := 1; i < len(nodes); i++ {
		if nodes[i-1].PodCIDR.Overlaps(nodes[i].PodCIDR) {
			b.about(KindNode, "", nodes[i].Name).problem("spec.podCIDR", "give each node its own",
				"%s overlaps %s of node %s", nodes[i].PodCIDR, nodes[i-1].PodCIDR, nodes[i-1].Name)
		}
	}
}

// validName checks a name that becomes a part of resource names and identities.
func (at subject) validName(field, name string, check func(string) []string) bool {
	if wrong := check(name); len(wrong) > 0 {
		at.problem(field, "", "%q is not a valid name: %s", name, wrong[0])
		return false
	}
	return true
}
