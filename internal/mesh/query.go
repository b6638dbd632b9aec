// SPDX-License-Identifier: Apache-2.0

package mesh

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
)

// Node finds a node by name, nil where the mesh has none of that name.
func (s *Snapshot) Node(name string) *Node {
	for i := range s.Nodes {
		if s.Nodes[i].Name == name {
			return &s.Nodes[i]
		}
	}
	return nil
}

// ActiveZtunnel is the ztunnel that a node's traffic goes through: the newest of
// its pods app=ztunnel that are ready, nil where none is. One that is being
// deleted is taken only while there is no other.
func (s *Snapshot) ActiveZtunnel(node string) *Workload {
	var active *Workload
	for i := range s.Workloads {
		w := &s.Workloads[i]
		if w.Class != Ztunnel || w.Node != node || !w.Ready || w.HostNetwork {
			continue
		}
		if active == nil || newerZtunnel(w, active) {
			active = w
		}
	}
	return active
}

// HasZtunnel reports whether a node has any ztunnel, ready or not.
func (s *Snapshot) HasZtunnel(node string) bool {
	return slices.ContainsFunc(s.Workloads, func(w Workload) bool {
		return w.Class == Ztunnel && w.Node == node && !w.HostNetwork
	})
}

// OtherZtunnels are the addresses of a node's ztunnels besides the active one, the
// newest first: those that were active may still have connections. They are there
// until their pods are gone, ready or not.
func (s *Snapshot) OtherZtunnels(node string) []netip.Addr {
	active := s.ActiveZtunnel(node)
	var others []*Workload
	for i := range s.Workloads {
		w := &s.Workloads[i]
		if w.Class == Ztunnel && w.Node == node && !w.HostNetwork && w != active {
			others = append(others, w)
		}
	}
	slices.SortFunc(others, func(a, b *Workload) int {
		if newerZtunnel(a, b) {
			return -1
		}
		return 1
	})
	var addrs []netip.Addr
	for _, w := range others {
		addrs = append(addrs, w.IP)
	}
	return addrs
}

// ProxyID is the node's active ztunnel as workload metadata names it, <pod
// name>.<namespace>, and empty where none is active.
func (s *Snapshot) ProxyID(node string) string {
	if z := s.ActiveZtunnel(node); z != nil {
		return z.Name + "." + z.Namespace
	}
	return ""
}

func newerZtunnel(a, b *Workload) bool {
	if a.Terminating != b.Terminating {
		return b.Terminating
	}
	order := cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.Name, b.Name), cmp.Compare(a.UID, b.UID))
	return order > 0
}

// HostIP is the address that a node has towards its pods: the first one of its pod
// range, where container networks put the gateway of the pods' default route. A
// node without a pod range answers with its InternalIP.
func (s *Snapshot) HostIP(node string) (netip.Addr, error) {
	n := s.Node(node)
	if n == nil {
		return netip.Addr{}, fmt.Errorf("finding the pod-side address of node %q: the mesh has no such node", node)
	}
	if n.PodCIDR.IsValid() {
		return n.PodCIDR.Masked().Addr().Next(), nil
	}
	if !n.InternalIP.IsValid() {
		return netip.Addr{}, fmt.Errorf("finding the pod-side address of node %q: it has neither a pod range nor an InternalIP", node)
	}
	return n.InternalIP, nil
}
