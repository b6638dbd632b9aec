// SPDX-License-Identifier: Apache-2.0

package envoyconfig

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"github.com/ambient22/ambient22/internal/mesh"
)

// view is the mesh as the ztunnel of one node needs it, in stable order.
type view struct {
	snapshot *mesh.Snapshot
	node     string

	captured     []*mesh.Workload // pods of this node that have inbound chains, by address
	sources      []*mesh.Workload // who may be behind a source address, by address
	callers      []caller         // identities of this node, by name
	identities   []string         // identities of the whole mesh, by name
	destinations []destination    // pods that can be called by address, by address
	services     []*mesh.Service  // by namespace and name
	virtual      []*mesh.Service  // those of them with an address and ports to match
	secrets      []SecretName     // by name

	ways  map[netip.Addr]way
	named map[account]string // identities already spelled out

	meshWide, local map[string]bool     // identities already listed
	heard           map[netip.Addr]bool // source addresses already listed
}

// caller is an identity that has pods on this node.
type caller struct {
	identity string // SPIFFE URI
	secret   string // the certificate its tunnels present
}

// destination is an address that pods call directly.
type destination struct {
	ip  netip.Addr
	way way
}

// way is how the ztunnel reaches an address.
type way int

const (
	wayPlain       way = iota // no tunnel: nobody would terminate it
	wayTunnel                 // another node's ztunnel terminates it
	wayLocalTunnel            // this ztunnel terminates it
)

type account struct{ namespace, name string }

// newView sorts out the snapshot for one node. It refuses what would give two
// resources one name, which a source must not let through.
func newView(s *mesh.Snapshot, node string) (*view, error) {
	if s.Node(node) == nil {
		return nil, fmt.Errorf("node %q is not in the mesh", node)
	}
	v := &view{
		snapshot: s, node: node, ways: map[netip.Addr]way{}, named: map[account]string{},
		meshWide: map[string]bool{}, local: map[string]bool{}, heard: map[netip.Addr]bool{},
	}
	if err := v.addServices(); err != nil {
		return nil, err
	}
	if err := v.addWorkloads(); err != nil {
		return nil, err
	}
	if err := v.addDestinations(); err != nil {
		return nil, err
	}
	return v, nil
}

func (v *view) addServices() error {
	owners := map[netip.Addr]*mesh.Service{}
	for i := range v.snapshot.Services {
		s := sorted(v.snapshot.Services[i])
		v.services = append(v.services, s)
		if !s.VIP.IsValid() || len(s.Ports) == 0 {
			continue
		}
		if other := owners[s.VIP]; other != nil {
			return fmt.Errorf("services %s and %s have one address, %s", other.Hostname(), s.Hostname(), s.VIP)
		}
		owners[s.VIP] = s
		v.virtual = append(v.virtual, s)
	}
	byName := func(a, b *mesh.Service) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	}
	slices.SortFunc(v.services, byName)
	slices.SortFunc(v.virtual, byName)
	return nil
}

// sorted is a service with its ports in order.
func sorted(s mesh.Service) *mesh.Service {
	s.Ports = slices.SortedFunc(slices.Values(s.Ports), func(a, b mesh.ServicePort) int {
		return cmp.Or(cmp.Compare(a.Number, b.Number), cmp.Compare(a.Name, b.Name))
	})
	return &s
}

// addWorkloads goes through the pods of the mesh from the oldest to the youngest,
// because where several could stand for one thing the oldest does.
func (v *view) addWorkloads() error {
	owners := map[netip.Addr]*mesh.Workload{}
	for _, w := range byAge(v.snapshot.Workloads) {
		switch {
		case w.Class == mesh.InMesh:
			v.addIdentity(w)
		case w.Class != mesh.OptedOut:
			continue // has no entry anywhere
		}
		if w.HostNetwork {
			v.addHostNetwork(w)
			continue
		}
		if other := owners[w.IP]; other != nil {
			return fmt.Errorf("pods %s/%s and %s/%s have one address, %s", other.Namespace, other.Name, w.Namespace, w.Name, w.IP)
		}
		owners[w.IP] = w
		v.addPod(w)
	}
	byAddress := func(a, b *mesh.Workload) int { return a.IP.Compare(b.IP) }
	slices.SortFunc(v.captured, byAddress)
	slices.SortFunc(v.sources, byAddress)
	slices.SortFunc(v.callers, func(a, b caller) int { return cmp.Compare(a.identity, b.identity) })
	slices.Sort(v.identities)
	slices.SortFunc(v.secrets, func(a, b SecretName) int { return cmp.Compare(a.Name, b.Name) })
	return nil
}

func byAge(workloads []mesh.Workload) []*mesh.Workload {
	all := make([]*mesh.Workload, len(workloads))
	for i := range workloads {
		all[i] = &workloads[i]
	}
	slices.SortFunc(all, func(a, b *mesh.Workload) int {
		return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.Namespace, b.Namespace),
			cmp.Compare(a.Name, b.Name), cmp.Compare(a.UID, b.UID))
	})
	return all
}

// addIdentity notes whose certificates this node needs, and which it presents:
// the oldest pod's of that identity.
func (v *view) addIdentity(w *mesh.Workload) {
	identity := v.identity(w)
	if !v.meshWide[identity] {
		v.meshWide[identity] = true
		v.identities = append(v.identities, identity)
	}
	if w.Node != v.node {
		return
	}
	secret := v.snapshot.SecretName(w)
	if !v.local[identity] {
		v.local[identity] = true
		v.callers = append(v.callers, caller{identity: identity, secret: secret})
		v.secrets = append(v.secrets, SecretName{Name: identity, Identity: identity})
	}
	v.secrets = append(v.secrets, SecretName{Name: secret, Identity: identity})
}

// addHostNetwork adds a pod that shares its node's address. The node does not
// capture it, so nobody would end a tunnel to it, but it does stand among the
// sources (listing 09).
func (v *view) addHostNetwork(w *mesh.Workload) {
	v.ways[w.IP] = wayPlain
	if w.Class == mesh.InMesh && w.Node == v.node && !v.heard[w.IP] {
		v.heard[w.IP] = true
		v.sources = append(v.sources, w)
	}
}

// addPod adds a pod with an address of its own.
func (v *view) addPod(w *mesh.Workload) {
	switch {
	case w.Class == mesh.OptedOut:
		v.ways[w.IP] = wayPlain
	case w.Node == v.node:
		v.ways[w.IP] = wayLocalTunnel
		v.captured = append(v.captured, w)
		v.sources = append(v.sources, w)
	default:
		v.ways[w.IP] = wayTunnel
	}
}

func (v *view) addDestinations() error {
	for _, s := range v.virtual {
		if _, taken := v.ways[s.VIP]; taken {
			return fmt.Errorf("service %s has the address of a pod, %s", s.Hostname(), s.VIP)
		}
	}
	v.destinations = make([]destination, 0, len(v.ways))
	for ip, way := range v.ways {
		v.destinations = append(v.destinations, destination{ip: ip, way: way})
	}
	slices.SortFunc(v.destinations, func(a, b destination) int { return a.ip.Compare(b.ip) })
	return nil
}

// wayTo is how to reach an address; what is not a pod of the mesh is reached
// plainly.
func (v *view) wayTo(ip netip.Addr) way { return v.ways[ip] }

// identity is the workload's SPIFFE URI.
func (v *view) identity(w *mesh.Workload) string {
	key := account{w.Namespace, w.ServiceAccount}
	identity, ok := v.named[key]
	if !ok {
		identity = v.snapshot.Identity(w).String()
		v.named[key] = identity
	}
	return identity
}
