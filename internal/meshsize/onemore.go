// SPDX-License-Identifier: Apache-2.0

package meshsize

import (
	"net/netip"
	"slices"
	"time"

	"github.com/ambient22/ambient22/internal/mesh"
)

// Case is a mesh in which there is one thing more.
type Case struct {
	Name string
	Mesh *mesh.Snapshot
}

// newName is what things are called that are added.
const newName = "one-more"

// OneMore are the meshes that have one pod, service or endpoint more than s, as the
// node's ztunnel would see it. What the mesh gives no occasion for (another node, an
// identity on this node, a service) is left out.
func OneMore(s *mesh.Snapshot, node string) []Case {
	a := newAdder(s, node)
	var cases []Case
	add := func(name string, possible bool, change func(*mesh.Snapshot)) {
		if !possible {
			return
		}
		m := *s
		change(&m)
		m.Sort()
		cases = append(cases, Case{name, &m})
	}
	here, there := a.local != nil, a.otherNode != ""
	add("pod, new identity, on this node", true, a.pod(node, newName))
	add("pod, known identity, on this node", here, a.podLike(a.local, node))
	add("pod, new identity, on another node", there, a.pod(a.otherNode, newName))
	add("pod, known identity, on another node", there && a.any != nil, a.podLike(a.any, a.otherNode))
	add("service, one port, two endpoints", true, a.service)
	add("endpoint of a service", a.servicePort() != nil, a.endpoint)
	return cases
}

// adder knows what a thing that is added can lean on.
type adder struct {
	mesh      *mesh.Snapshot
	node      string
	otherNode string         // "" where the mesh has no other
	local     *mesh.Workload // a pod of the mesh on this node
	any       *mesh.Workload // a pod of the mesh, if possible on another node
	pods      []netip.Addr   // of the mesh, those of other nodes first
	used      map[netip.Addr]bool
}

func newAdder(s *mesh.Snapshot, node string) *adder {
	a := &adder{mesh: s, node: node, used: map[netip.Addr]bool{}}
	for _, n := range s.Nodes {
		a.used[n.InternalIP] = true
		if n.Name != node && a.otherNode == "" {
			a.otherNode = n.Name
		}
	}
	var near []netip.Addr
	for i := range s.Workloads {
		w := &s.Workloads[i]
		a.used[w.IP] = true
		if w.Class != mesh.InMesh || w.HostNetwork {
			continue
		}
		if w.Node != node {
			a.pods = append(a.pods, w.IP)
			if a.any == nil || a.any.Node == node {
				a.any = w
			}
			continue
		}
		near = append(near, w.IP)
		if a.local == nil {
			a.local = w
		}
		if a.any == nil {
			a.any = w
		}
	}
	a.pods = append(a.pods, near...)
	for i := range s.Services {
		a.used[s.Services[i].VIP] = true
		for _, p := range s.Services[i].Ports {
			for _, e := range p.Endpoints {
				a.used[e.IP] = true
			}
		}
	}
	return a
}

// address is one that nothing in the mesh has yet, as near to like as possible.
func (a *adder) address(like netip.Addr) netip.Addr {
	ip := like
	for !ip.IsValid() || a.used[ip] || ip.IsUnspecified() {
		if ip = ip.Next(); !ip.IsValid() {
			ip = netip.AddrFrom4([4]byte{10, 0, 0, 1})
		}
	}
	return ip
}

// podLike adds a pod of the same identity as another.
func (a *adder) podLike(like *mesh.Workload, node string) func(*mesh.Snapshot) {
	if like == nil {
		return nil
	}
	return a.pod(node, like.ServiceAccount)
}

// pod adds a pod of that service account.
func (a *adder) pod(node, account string) func(*mesh.Snapshot) {
	w := mesh.Workload{
		UID: "00000000-0000-4000-8000-000000000000", Name: newName + "-5644bdc767-2dfg7", Namespace: a.namespace(account),
		ServiceAccount: account, Node: node, IP: a.address(a.podAddress(node)), Containers: []string{newName},
		Owner: mesh.Owner{Kind: mesh.OwnerDeployment, Name: newName}, Created: a.newest(), Ready: true, Class: mesh.InMesh,
	}
	return func(m *mesh.Snapshot) { m.Workloads = append(slices.Clone(m.Workloads), w) }
}

// namespace is one that takes part, where possible one that has the account.
func (a *adder) namespace(account string) string {
	for _, w := range []*mesh.Workload{a.local, a.any} {
		if w != nil && w.ServiceAccount == account {
			return w.Namespace
		}
	}
	if a.any != nil {
		return a.any.Namespace
	}
	return "default"
}

// podAddress is where the addresses of a node's pods are.
func (a *adder) podAddress(node string) netip.Addr {
	if n := a.mesh.Node(node); n != nil && n.PodCIDR.IsValid() {
		return n.PodCIDR.Masked().Addr().Next().Next()
	}
	for i := range a.mesh.Workloads {
		if w := &a.mesh.Workloads[i]; w.Node == node && !w.HostNetwork {
			return w.IP
		}
	}
	return netip.Addr{}
}

// newest is a time after that of every pod: a pod that is added is the youngest.
func (a *adder) newest() time.Time {
	var t time.Time
	for i := range a.mesh.Workloads {
		if c := a.mesh.Workloads[i].Created; c.After(t) {
			t = c
		}
	}
	return t.Add(time.Second)
}

func (a *adder) service(m *mesh.Snapshot) {
	var like netip.Addr
	for i := range m.Services {
		if vip := m.Services[i].VIP; vip.IsValid() {
			like = vip
		}
	}
	port := mesh.ServicePort{Name: "http", Number: 80}
	for _, ip := range a.pods[:min(2, len(a.pods))] {
		port.Endpoints = append(port.Endpoints, mesh.Endpoint{IP: ip, Port: 8080})
	}
	slices.SortFunc(port.Endpoints, func(a, b mesh.Endpoint) int { return a.IP.Compare(b.IP) })
	s := mesh.Service{Namespace: a.namespace(""), Name: newName, VIP: a.address(like), Ports: []mesh.ServicePort{port}}
	m.Services = append(slices.Clone(m.Services), s)
}

// place is a port of a service, by its indexes.
type place struct{ service, port int }

// servicePort is the port that gets an endpoint more: the first that has endpoints,
// or else the first of all.
func (a *adder) servicePort() *place {
	var first *place
	for i := range a.mesh.Services {
		for j, p := range a.mesh.Services[i].Ports {
			if len(p.Endpoints) > 0 {
				return &place{i, j}
			}
			if first == nil {
				first = &place{i, j}
			}
		}
	}
	return first
}

// endpoint makes a pod of the mesh an endpoint of a service, or an address outside
// where every pod is one already.
func (a *adder) endpoint(m *mesh.Snapshot) {
	at := a.servicePort()
	m.Services = slices.Clone(m.Services)
	ports := slices.Clone(m.Services[at.service].Ports)
	m.Services[at.service].Ports = ports
	port := &ports[at.port]
	e := mesh.Endpoint{Port: port.Number}
	if len(port.Endpoints) > 0 {
		e.Port = port.Endpoints[0].Port
	}
	e.IP = a.address(netip.Addr{})
	for _, ip := range a.pods {
		if !slices.ContainsFunc(port.Endpoints, func(o mesh.Endpoint) bool { return o.IP == ip }) {
			e.IP = ip
			break
		}
	}
	port.Endpoints = append(slices.Clone(port.Endpoints), e)
	slices.SortFunc(port.Endpoints, func(a, b mesh.Endpoint) int { return a.IP.Compare(b.IP) })
}
