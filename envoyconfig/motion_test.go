// SPDX-License-Identifier: Apache-2.0

package envoyconfig_test

import (
	"math/rand/v2"
	"net/netip"
	"slices"

	"github.com/ambient22/ambient22/internal/mesh"
)

// meshInMotion is a mesh that something happens to.
type meshInMotion struct {
	random         *rand.Rand
	now            *mesh.Snapshot
	pods, services int // how many there ever were
	ztunnel        int // which one is served
	what           string
}

// move makes the next snapshot; the one before stays as it is.
func (m *meshInMotion) move() {
	next := *m.now
	next.Workloads, next.Services = slices.Clone(next.Workloads), slices.Clone(next.Services)
	next.Policies, next.PeerAuthentications = slices.Clone(next.Policies), slices.Clone(next.PeerAuthentications)
	m.now = &next
	moves := []struct {
		what string
		do   func(*mesh.Snapshot)
	}{
		{"nothing", func(*mesh.Snapshot) {}},
		{"a pod comes", m.podComes}, {"a pod comes", m.podComes},
		{"a pod goes", func(s *mesh.Snapshot) { s.Workloads = m.without(s.Workloads) }},
		{"a pod changes", m.podChanges}, {"a pod changes", m.podChanges},
		{"a service comes", m.serviceComes},
		{"a service goes", func(s *mesh.Snapshot) { s.Services = withoutOne(m.random, s.Services) }},
		{"a service changes", m.serviceChanges}, {"endpoints change", m.endpointsChange}, {"endpoints change", m.endpointsChange},
		{"a policy comes", func(s *mesh.Snapshot) { s.Policies = append(s.Policies, randomPolicy(m.random, m.random.IntN(100))) }},
		{"a policy goes", func(s *mesh.Snapshot) { s.Policies = withoutOne(m.random, s.Policies) }},
		{"a policy changes", m.policyChanges}, {"a policy changes", m.policyChanges},
		{"a peer authentication comes", func(s *mesh.Snapshot) {
			s.PeerAuthentications = append(s.PeerAuthentications, randomPeerAuthentication(m.random, m.random.IntN(100)))
		}},
		{"a peer authentication goes", func(s *mesh.Snapshot) { s.PeerAuthentications = withoutOne(m.random, s.PeerAuthentications) }},
		{"a peer authentication changes", m.peerAuthenticationChanges},
		{"a pod is made again", m.podAgain}, {"the oldest pod of an identity goes", m.oldestGoes},
		{"an identity gets a waypoint", m.waypointComes}, {"a waypoint goes", m.waypointGoes},
		{"a node's address changes", m.nodeChanges},
		{"another ztunnel is served", func(*mesh.Snapshot) { m.ztunnel++ }},
		{"everything is in another order", func(s *mesh.Snapshot) { m.shuffle(s) }},
		{"the trust domain changes", m.trustDomainChanges},
		{"an identity with an odd name comes", m.oddIdentityComes},
	}
	move := one(m.random, moves...)
	m.what = move.what
	move.do(&next)
}

func (m *meshInMotion) podComes(s *mesh.Snapshot) {
	s.Workloads = append(s.Workloads, randomPod(m.random, one(m.random, s.Nodes...), m.pods))
	m.pods++
}

func (m *meshInMotion) without(pods []mesh.Workload) []mesh.Workload {
	return withoutOne(m.random, pods)
}

func withoutOne[E any](random *rand.Rand, list []E) []E {
	if len(list) == 0 {
		return list
	}
	i := random.IntN(len(list))
	return slices.Delete(list, i, i+1)
}

// podChanges makes another pod of one, in some respects.
func (m *meshInMotion) podChanges(s *mesh.Snapshot) {
	if len(s.Workloads) == 0 {
		return
	}
	w := &s.Workloads[m.random.IntN(len(s.Workloads))]
	other := randomPod(m.random, one(m.random, s.Nodes...), 0)
	switch m.random.IntN(13) {
	case 0:
		w.Class = other.Class
	case 1:
		w.Labels = other.Labels
	case 2:
		w.ServiceAccount = other.ServiceAccount
	case 3:
		w.Ready, w.Terminating = !w.Ready, other.Terminating
	case 4:
		w.UID += "-again"
	case 5:
		w.Created = other.Created
	case 6:
		w.Namespace = other.Namespace
	case 7:
		w.Name += "-renamed"
	case 8:
		w.Node = other.Node
	case 9:
		w.IP, w.HostNetwork = address(10, m.pods), false
		m.pods++
	case 10:
		w.IP, w.HostNetwork = nodeOf(s, w).InternalIP, true
	case 11:
		w.Owner = mesh.Owner{Kind: one(m.random, mesh.OwnerDeployment, mesh.OwnerJob), Name: "owner"}
	case 12:
		w.Containers = append(slices.Clone(w.Containers), "another")
	}
}

func nodeOf(s *mesh.Snapshot, w *mesh.Workload) mesh.Node { return *s.Node(w.Node) }

// podAgain replaces a pod by one of the same name, as a StatefulSet does.
func (m *meshInMotion) podAgain(s *mesh.Snapshot) {
	if len(s.Workloads) == 0 {
		return
	}
	w := &s.Workloads[m.random.IntN(len(s.Workloads))]
	w.UID, w.Created = w.UID+"-new", at(3)
	if !w.HostNetwork && m.random.IntN(2) == 0 {
		w.IP = address(10, m.pods)
		m.pods++
	}
}

// oldestGoes takes away the pod whose certificate its identity's tunnels present.
func (m *meshInMotion) oldestGoes(s *mesh.Snapshot) {
	if len(s.Workloads) == 0 {
		return
	}
	who := s.Identity(&s.Workloads[m.random.IntN(len(s.Workloads))])
	oldest := -1
	for i := range s.Workloads {
		w := &s.Workloads[i]
		if s.Identity(w) == who && (oldest < 0 || w.Created.Before(s.Workloads[oldest].Created)) {
			oldest = i
		}
	}
	s.Workloads = slices.Delete(s.Workloads, oldest, oldest+1)
}

// waypointComes gives the identity of some pod a waypoint.
func (m *meshInMotion) waypointComes(s *mesh.Snapshot) {
	if len(s.Workloads) == 0 {
		return
	}
	of := s.Workloads[m.random.IntN(len(s.Workloads))]
	m.podComes(s)
	w := &s.Workloads[len(s.Workloads)-1]
	w.Class, w.Namespace, w.ServiceAccount = mesh.Waypoint, of.Namespace, of.ServiceAccount
}

func (m *meshInMotion) waypointGoes(s *mesh.Snapshot) {
	if i := slices.IndexFunc(s.Workloads, func(w mesh.Workload) bool { return w.Class == mesh.Waypoint }); i >= 0 {
		s.Workloads = slices.Delete(s.Workloads, i, i+1)
	}
}

// nodeChanges gives a node another address, and with it the pods on its network.
func (m *meshInMotion) nodeChanges(s *mesh.Snapshot) {
	s.Nodes = slices.Clone(s.Nodes)
	n := &s.Nodes[m.random.IntN(len(s.Nodes))]
	n.InternalIP = address(192, 4+m.pods)
	m.pods++
	for i := range s.Workloads {
		if w := &s.Workloads[i]; w.HostNetwork && w.Node == n.Name {
			w.IP = n.InternalIP
		}
	}
}

// policyChanges edits a policy in one respect.
func (m *meshInMotion) policyChanges(s *mesh.Snapshot) {
	if len(s.Policies) == 0 {
		return
	}
	p := &s.Policies[m.random.IntN(len(s.Policies))]
	other := randomPolicy(m.random, m.random.IntN(100))
	switch m.random.IntN(7) {
	case 0:
		p.DryRun = !p.DryRun
	case 1:
		p.Action = other.Action
	case 2:
		p.Rules = other.Rules
	case 3:
		p.Selector = other.Selector
	case 4:
		p.Name = other.Name
	case 5:
		p.Namespace = other.Namespace
	case 6: // deep inside
		p.Rules = append(slices.Clone(p.Rules), randomRule(m.random))
		r := &p.Rules[m.random.IntN(len(p.Rules))]
		r.To = []mesh.Operation{{Ports: []uint16{uint16(1 + m.random.IntN(9000))}}}
	}
}

func (m *meshInMotion) peerAuthenticationChanges(s *mesh.Snapshot) {
	if len(s.PeerAuthentications) == 0 {
		return
	}
	p := &s.PeerAuthentications[m.random.IntN(len(s.PeerAuthentications))]
	other := randomPeerAuthentication(m.random, m.random.IntN(100))
	switch m.random.IntN(5) {
	case 0:
		p.Mode = other.Mode
	case 1:
		p.Ports = other.Ports
	case 2:
		p.Selector = other.Selector
	case 3:
		p.Namespace = other.Namespace
	case 4:
		p.Created = at(3)
	}
}

func (m *meshInMotion) serviceComes(s *mesh.Snapshot) {
	s.Services = append(s.Services, randomService(m.random, m.services, m.pods))
	m.services++
}

func (m *meshInMotion) serviceChanges(s *mesh.Snapshot) {
	if len(s.Services) == 0 {
		return
	}
	i := m.random.IntN(len(s.Services))
	other := randomService(m.random, m.random.IntN(m.services), m.pods)
	switch m.random.IntN(8) {
	case 0:
		s.Services[i].Selector = other.Selector
	case 1:
		s.Services[i].VIP = other.VIP // sometimes that of another service
	case 2:
		s.Services[i].Ports = other.Ports
	case 3:
		s.Services[i].Name = other.Name // sometimes that of another service
	case 4:
		s.Services[i].Namespace = other.Namespace
	case 5: // headless from now on
		s.Services[i].VIP = netip.Addr{}
	case 6, 7:
		m.portChanges(&s.Services[i])
	}
}

// portChanges renames a port, gives it another number, or swaps the names of two,
// so that each has the endpoints of the other.
func (m *meshInMotion) portChanges(s *mesh.Service) {
	if len(s.Ports) == 0 {
		return
	}
	s.Ports = slices.Clone(s.Ports)
	p := &s.Ports[m.random.IntN(len(s.Ports))]
	switch m.random.IntN(3) {
	case 0:
		p.Name += "-renamed"
	case 1:
		p.Number += 100
	case 2:
		other := &s.Ports[m.random.IntN(len(s.Ports))]
		p.Name, other.Name = other.Name, p.Name
	}
}

func (m *meshInMotion) endpointsChange(s *mesh.Snapshot) {
	if len(s.Services) == 0 {
		return
	}
	svc := &s.Services[m.random.IntN(len(s.Services))]
	svc.Ports = slices.Clone(svc.Ports)
	for i := range svc.Ports {
		p := &svc.Ports[i]
		p.Endpoints = withoutOne(m.random, slices.Clone(p.Endpoints))
	}
}

func (m *meshInMotion) shuffle(s *mesh.Snapshot) {
	for i := range s.Services {
		s.Services[i].Ports = slices.Clone(s.Services[i].Ports)
		for j := range s.Services[i].Ports {
			s.Services[i].Ports[j].Endpoints = slices.Clone(s.Services[i].Ports[j].Endpoints)
		}
	}
	s.Nodes = slices.Clone(s.Nodes)
	shuffle(m.random, s)
}

func (m *meshInMotion) trustDomainChanges(s *mesh.Snapshot) {
	if m.random.IntN(3) == 0 {
		s.TrustDomain = one(m.random, "cluster.local", "example.org")
	}
}

// oddIdentityComes brings names whose order shows what follows them.
func (m *meshInMotion) oddIdentityComes(s *mesh.Snapshot) {
	m.podComes(s)
	w := &s.Workloads[len(s.Workloads)-1]
	w.ServiceAccount = one(m.random, "sa-1-a", "sa-1.a", "sa-10", "sa", "sa-1a")
}
