// SPDX-License-Identifier: Apache-2.0

package envoyconfig_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/ambient22/ambient22/envoyconfig"
	"github.com/ambient22/ambient22/internal/mesh"
)

// TestIncremental takes one builder through random series of changes. After each,
// what it has made is what a builder makes that knows nothing of what was before,
// it is as consistent as it is vouched for, and nothing that is the same as before
// was made again.
func TestIncremental(t *testing.T) {
	refused := 0
	for seed := range uint64(24) {
		random := rand.New(rand.NewPCG(seed, 23))
		m := meshInMotion{random: random, pods: random.IntN(25), services: random.IntN(12)}
		steps := 20
		if seed == 12 {
			m.pods, m.services, steps = 150, 50, 10 // enough for several chunks
		}
		m.now = randomMesh(random, 1+random.IntN(3), m.pods, m.services)
		options := envoyconfig.Options{
			Node:    "node-0",
			Profile: envoyconfig.Profile(seed % 2), Dialect: envoyconfig.Dialect(seed / 2 % 2),
		}
		b := envoyconfig.NewBuilder(options)
		var before *envoyconfig.Resources
		good, trustDomain := m.now, ""
		for step := range steps {
			options.ProxyID = fmt.Sprintf("ztunnel-%d.istio-system", step/10)
			after, err := b.Update(m.now, options.ProxyID)
			fresh, freshErr := envoyconfig.Build(m.now, options)
			if fmt.Sprint(err) != fmt.Sprint(freshErr) {
				t.Fatalf("seed %d, step %d, %s: error %v, from nothing %v", seed, step, m.what, err, freshErr)
			}
			if err != nil {
				refused++
				m.now = good
			} else {
				good = m.now
				if m.now.TrustDomain != trustDomain {
					before, trustDomain = nil, m.now.TrustDomain
				}
				if err := sameButNew(before, after, fresh); err != nil {
					t.Fatalf("seed %d, step %d, %s: %v", seed, step, m.what, err)
				}
				before = after
			}
			m.move()
		}
	}
	if refused == 0 {
		t.Error("no mesh was refused")
	}
}

// TestOneMore counts what is new of each kind when one thing more is there.
func TestOneMore(t *testing.T) {
	const identities = 11 // ten pods of the node, and the one that all services share
	for name, c := range map[string]struct {
		change func(*mesh.Snapshot)
		want   [4]int // listeners, clusters, endpoints, extensions
	}{
		"nothing":  {func(*mesh.Snapshot) {}, [4]int{}},
		"endpoint": {oneEndpointLess, [4]int{0, 0, identities, 0}},
		"service":  {oneServiceMore, [4]int{1, identities, identities, 0}},
		// All three listeners know it, and one is for its identity alone.
		"pod":    {onePodMore, [4]int{4, 3 + 100, 100, 1}},
		"policy": {onePolicyMore, [4]int{2, 0, 0, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			s := benchMesh(benchSize{10, 100}, true)
			b := envoyconfig.NewBuilder(envoyconfig.Options{Node: "node-0"})
			before := advance(t, b, s)
			c.change(s)
			after := lists(advance(t, b, s))
			var got [4]int
			for k, old := range lists(before) {
				for _, r := range after[k] {
					if !slices.Contains(old, r) {
						got[k]++
					}
				}
			}
			if got != c.want {
				t.Errorf("new are %v, want %v", got, c.want)
			}
		})
	}
}

// sameButNew compares what a builder made with what one makes from nothing, and
// with what it had made before.
func sameButNew(before, after, fresh *envoyconfig.Resources) error {
	if err := same(fresh, after); err != nil {
		return fmt.Errorf("from nothing, it is something else: %w", err)
	}
	if !after.Proven() {
		return fmt.Errorf("it is not vouched for")
	}
	if err := after.Verify(); err != nil {
		return err
	}
	if err := wellFormed(after); err != nil {
		return err
	}
	if before == nil {
		return nil
	}
	old := lists(before)
	for k, list := range lists(after) {
		if err := keptAll(old[k], list); err != nil {
			return err
		}
	}
	return nil
}

func lists(r *envoyconfig.Resources) [4][]*envoyconfig.Resource {
	return [...][]*envoyconfig.Resource{r.Listeners, r.Clusters, r.Endpoints, r.Extensions}
}

// keptAll wants the same resource, and the same list, where nothing is new.
func keptAll(old, list []*envoyconfig.Resource) error {
	had := map[string]*envoyconfig.Resource{}
	for _, r := range old {
		had[r.Name] = r
	}
	for _, r := range list {
		if was := had[r.Name]; was != nil && was != r && was.Version == r.Version {
			return fmt.Errorf("%s was made again", r.Name)
		}
	}
	if slices.Equal(old, list) && len(list) > 0 && &old[0] != &list[0] {
		return fmt.Errorf("a list was made again")
	}
	return nil
}

// meshInMotion is a mesh that something happens to.
type meshInMotion struct {
	random         *rand.Rand
	now            *mesh.Snapshot
	pods, services int // how many there ever were
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
		{"a peer authentication comes", func(s *mesh.Snapshot) {
			s.PeerAuthentications = append(s.PeerAuthentications, randomPeerAuthentication(m.random, m.random.IntN(100)))
		}},
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
	switch m.random.IntN(7) {
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
	switch m.random.IntN(4) {
	case 0:
		s.Services[i].Selector = other.Selector
	case 1:
		s.Services[i].VIP = other.VIP // sometimes that of another service
	case 2:
		s.Services[i].Ports = other.Ports
	case 3:
		s.Services[i].Name = other.Name // sometimes that of another service
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
