// SPDX-License-Identifier: Apache-2.0

package mesh

import (
	"cmp"
	"slices"
)

// PoliciesOf are the authorization policies that select a workload: those of
// RootNamespace by name, then those of its own namespace by name. It finds them by
// the order that Sort gives.
func (s *Snapshot) PoliciesOf(w *Workload) []*AuthorizationPolicy {
	selected := s.appendPolicies(nil, RootNamespace, w)
	if w.Namespace != RootNamespace {
		selected = s.appendPolicies(selected, w.Namespace, w)
	}
	return selected
}

func (s *Snapshot) appendPolicies(selected []*AuthorizationPolicy, namespace string, w *Workload) []*AuthorizationPolicy {
	first, _ := slices.BinarySearchFunc(s.Policies, namespace, func(p AuthorizationPolicy, n string) int {
		return cmp.Compare(p.Namespace, n)
	})
	for i := first; i < len(s.Policies) && s.Policies[i].Namespace == namespace; i++ {
		if p := &s.Policies[i]; selects(p.Selector, w.Labels) {
			selected = append(selected, p)
		}
	}
	return selected
}

// selects reports whether labels has every label of the selector.
func selects(selector, labels map[string]string) bool {
	for key, value := range selector {
		if got, ok := labels[key]; !ok || got != value {
			return false
		}
	}
	return true
}

// MTLS is a workload's mode of mutual TLS, never MTLSUnset.
type MTLS struct {
	Mode  MTLSMode
	Ports map[uint16]MTLSMode // ports with a mode of their own, none of which is Mode
}

// MTLSOf is how a workload is called: the oldest PeerAuthentication that selects
// it decides; what that leaves unset, the oldest of its namespace without a
// selector; then that of the mesh, which stands in RootNamespace.
func (s *Snapshot) MTLSOf(w *Workload) MTLS {
	var levels [3]*PeerAuthentication // mesh, namespace, workload
	for i := range s.PeerAuthentications {
		p := &s.PeerAuthentications[i]
		level := levelOf(p, w)
		if level < 0 {
			continue
		}
		if best := levels[level]; best == nil || p.Created.Before(best.Created) {
			levels[level] = p
		}
	}
	m := MTLS{Mode: MTLSPermissive}
	for _, p := range levels {
		if p != nil && p.Mode != MTLSUnset {
			m.Mode = p.Mode
		}
	}
	if own := levels[2]; own != nil {
		m.Ports = differing(own.Ports, m.Mode)
	}
	return m
}

// levelOf is 0 where a policy is the mesh's, 1 where it is the workload's
// namespace's, 2 where it selects the workload, and -1 where it is for others.
func levelOf(p *PeerAuthentication, w *Workload) int {
	switch {
	case len(p.Selector) > 0:
		if p.Namespace == w.Namespace && selects(p.Selector, w.Labels) {
			return 2
		}
	case p.Namespace == RootNamespace:
		return 0
	case p.Namespace == w.Namespace:
		return 1
	}
	return -1
}

func differing(ports map[uint16]MTLSMode, mode MTLSMode) map[uint16]MTLSMode {
	var differ map[uint16]MTLSMode
	for port, m := range ports {
		if m == MTLSUnset || m == mode {
			continue
		}
		if differ == nil {
			differ = map[uint16]MTLSMode{}
		}
		differ[port] = m
	}
	return differ
}

func sortPolicies(s *Snapshot) {
	slices.SortFunc(s.Policies, func(a, b AuthorizationPolicy) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	slices.SortFunc(s.PeerAuthentications, func(a, b PeerAuthentication) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
}
