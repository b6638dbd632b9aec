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
	virtual      []virtual        // those of them with an address and ports to match
	waypoints    []waypoint       // identities that have a waypoint, by name
	secrets      []SecretName     // by name
	crossed      []string         // identities whose server waypoint a connection may take, by name
	direct       bool             // connections to some destination take no server waypoint

	called  map[netip.Addr]*destination   // destinations by address
	tunnels map[netip.Addr]tunnelPort     // addresses behind services
	pods    map[netip.Addr]*mesh.Workload // pods of the mesh, the oldest where several share an address; empty without waypoints
	named   map[account]string            // identities already spelled out

	represented     map[string]bool     // identities that have a waypoint
	meshWide, local map[string]bool     // identities already listed
	heard           map[netip.Addr]bool // source addresses already listed
}

// caller is an identity that has pods on this node.
type caller struct {
	identity string // SPIFFE URI
	secret   string // the certificate its tunnels present
	waypoint bool   // it has one, which takes what it sends
}

// destination is an address that pods call directly.
type destination struct {
	ip       netip.Addr
	direct   hopKind // how to reach it where no waypoint stands in between
	waypoint string  // the identity whose server waypoint stands in front, "" for none
}

// virtual is a service with an address of its own.
type virtual struct {
	*mesh.Service
	waypoint string // the identity whose server waypoint stands in front, "" for none
}

type account struct{ namespace, name string }

// newView sorts out the snapshot for one node. It refuses what would give two
// resources one name, which a source must not let through.
func newView(s *mesh.Snapshot, node string) (*view, error) {
	if s.Node(node) == nil {
		return nil, fmt.Errorf("node %q is not in the mesh", node)
	}
	v := &view{
		snapshot: inOrder(s), node: node, named: map[account]string{},
		called:  make(map[netip.Addr]*destination, len(s.Workloads)),
		tunnels: make(map[netip.Addr]tunnelPort, len(s.Workloads)),
		pods:    map[netip.Addr]*mesh.Workload{}, represented: map[string]bool{},
		meshWide: map[string]bool{}, local: map[string]bool{}, heard: map[netip.Addr]bool{},
	}
	workloads := byAge(s.Workloads)
	v.addWaypoints(workloads)
	v.addTunnels(workloads)
	if err := v.addWorkloads(workloads); err != nil {
		return nil, err
	}
	if err := v.addServices(workloads); err != nil {
		return nil, err
	}
	if err := v.addDestinations(); err != nil {
		return nil, err
	}
	v.addCrossed()
	return v, nil
}

// inOrder is the snapshot with its policies in the order in which they are asked.
func inOrder(s *mesh.Snapshot) *mesh.Snapshot {
	ordered := mesh.Snapshot{
		Policies:            slices.Clone(s.Policies),
		PeerAuthentications: slices.Clone(s.PeerAuthentications),
	}
	ordered.Sort()
	all := *s
	all.Policies, all.PeerAuthentications = ordered.Policies, ordered.PeerAuthentications
	return &all
}

func (v *view) addServices(workloads []*mesh.Workload) error {
	owners := make(map[netip.Addr]*mesh.Service, len(v.snapshot.Services))
	behind := v.behindWaypoints(workloads)
	for i := range v.snapshot.Services {
		s := sorted(&v.snapshot.Services[i])
		v.services = append(v.services, s)
		if !s.VIP.IsValid() || len(s.Ports) == 0 {
			continue
		}
		if other := owners[s.VIP]; other != nil {
			return fmt.Errorf("services %s and %s have one address, %s", other.Hostname(), s.Hostname(), s.VIP)
		}
		owners[s.VIP] = s
		v.virtual = append(v.virtual, virtual{Service: s, waypoint: v.serviceWaypoint(s, behind)})
	}
	byName := func(a, b *mesh.Service) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	}
	slices.SortFunc(v.services, byName)
	slices.SortFunc(v.virtual, func(a, b virtual) int { return byName(a.Service, b.Service) })
	return nil
}

// sorted is a service with its ports in order.
func sorted(s *mesh.Service) *mesh.Service {
	order := func(a, b mesh.ServicePort) int {
		return cmp.Or(cmp.Compare(a.Number, b.Number), cmp.Compare(a.Name, b.Name))
	}
	if slices.IsSortedFunc(s.Ports, order) {
		return s
	}
	other := *s
	other.Ports = slices.SortedFunc(slices.Values(s.Ports), order)
	return &other
}

// addWorkloads goes through the pods of the mesh from the oldest to the youngest,
// because where several could stand for one thing the oldest does.
func (v *view) addWorkloads(workloads []*mesh.Workload) error {
	owners := make(map[netip.Addr]*mesh.Workload, len(workloads))
	for _, w := range workloads {
		switch {
		case w.Class == mesh.InMesh:
			v.addIdentity(w)
			if len(v.represented) > 0 && v.pods[w.IP] == nil {
				v.pods[w.IP] = w
			}
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
	slices.SortFunc(all, compareAge)
	return all
}

// compareAge puts the older pod first.
func compareAge(a, b *mesh.Workload) int {
	return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.Namespace, b.Namespace),
		cmp.Compare(a.Name, b.Name), cmp.Compare(a.UID, b.UID))
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
		v.callers = append(v.callers, caller{identity: identity, secret: secret, waypoint: v.represented[identity]})
		v.secrets = append(v.secrets, SecretName{Name: identity, Identity: identity})
	}
	v.secrets = append(v.secrets, SecretName{Name: secret, Identity: identity})
}

// addHostNetwork adds a pod that shares its node's address. The node does not
// capture it, so nobody would end a tunnel to it, but it does stand among the
// sources (listing 09).
func (v *view) addHostNetwork(w *mesh.Workload) {
	v.addDestination(w, hopPlain)
	if w.Class == mesh.InMesh && w.Node == v.node && !v.heard[w.IP] {
		v.heard[w.IP] = true
		v.sources = append(v.sources, w)
	}
}

// addPod adds a pod with an address of its own.
func (v *view) addPod(w *mesh.Workload) {
	switch {
	case w.Class == mesh.OptedOut:
		v.addDestination(w, hopPlain)
	case w.Node == v.node:
		v.addDestination(w, hopLocalTunnel)
		v.captured = append(v.captured, w)
		v.sources = append(v.sources, w)
	default:
		v.addDestination(w, hopTunnel)
	}
}

// addDestination notes how a pod is called by its address. Of several pods with
// one address it is the oldest that is called.
func (v *view) addDestination(w *mesh.Workload, direct hopKind) {
	if v.called[w.IP] != nil {
		return
	}
	d := &destination{ip: w.IP, direct: direct}
	if identity := v.identity(w); v.represented[identity] {
		d.waypoint = identity
	}
	v.called[w.IP] = d
}

func (v *view) addDestinations() error {
	for _, s := range v.virtual {
		if v.called[s.VIP] != nil {
			return fmt.Errorf("service %s has the address of a pod, %s", s.Hostname(), s.VIP)
		}
	}
	v.destinations = make([]destination, 0, len(v.called))
	for _, d := range v.called {
		v.destinations = append(v.destinations, *d)
	}
	slices.SortFunc(v.destinations, func(a, b destination) int { return a.ip.Compare(b.ip) })
	return nil
}

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
