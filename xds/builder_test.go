// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/ambient22/ambient22/envoyconfig"
	"github.com/ambient22/ambient22/internal/mesh"
)

// TestProxyFollowsABuilder changes a mesh again and again, some times faster than
// the proxy reads, and serves what a builder makes of each change. Whatever the
// changes were, the proxy ends up with what a fresh build gives.
func TestProxyFollowsABuilder(t *testing.T) {
	for _, protocol := range []string{"delta", "sotw"} {
		for seed := range uint64(3) {
			t.Run(fmt.Sprintf("%s/%d", protocol, seed), func(t *testing.T) {
				t.Parallel()
				followBuilder(t, protocol, rand.New(rand.NewPCG(seed, 22)))
			})
		}
	}
}

func followBuilder(t *testing.T, protocol string, random *rand.Rand) {
	s := start(t)
	options := envoyconfig.Options{Node: "node", ProxyID: "ztunnel.istio-system"}
	builder := envoyconfig.NewBuilder(options)
	m := flatMesh(6, 8, 0)
	set := func() {
		t.Helper()
		r, err := builder.Update(m, options.ProxyID)
		if err != nil {
			t.Fatal(err)
		}
		if !r.Proven() {
			t.Fatal("the server would check each resource")
		}
		if err := s.Set(r); err != nil {
			t.Fatal(err)
		}
	}
	set()
	var p follower = &deltaFollower{held: newHeld(t)}
	version := func(r *envoyconfig.Resource) string { return r.Version }
	if protocol == "sotw" {
		p = &sotwFollower{held: newHeld(t)}
		version = func(r *envoyconfig.Resource) string { return packedVersion(r.Body().Value) }
	}
	p.connect(s)
	for range 25 {
		for range 1 + random.IntN(4) {
			m = changeMesh(random, m)
			set()
			for range random.IntN(3) {
				p.poll()
			}
		}
		if random.IntN(8) == 0 {
			p.connect(s)
		}
		fresh, err := envoyconfig.Build(m, options)
		if err != nil {
			t.Fatal(err)
		}
		want := [3]map[string]string{{}, {}, {}}
		for k := range want {
			for _, r := range resourcesOf(fresh, kind(k)) {
				want[k][r.Name] = version(r)
			}
		}
		for !p.state().answered || !p.state().equal(want) {
			if !p.wait() {
				t.Fatalf("the proxy has\n%v\nand should have\n%v", p.state().versions, want)
			}
		}
	}
}

// changeMesh is the mesh with one thing changed.
func changeMesh(random *rand.Rand, old *mesh.Snapshot) *mesh.Snapshot {
	m := *old
	m.Workloads, m.Services = slices.Clone(m.Workloads), slices.Clone(m.Services)
	address := func(first int) netip.Addr {
		return netip.AddrFrom4([4]byte{byte(first), 1, byte(random.IntN(256)), byte(random.IntN(256))})
	}
	name := fmt.Sprintf("new-%06d", random.IntN(1_000_000))
	switch s := random.IntN(len(m.Services)); random.IntN(6) {
	case 0: // a pod comes, often with an identity of its own
		m.Workloads = append(m.Workloads, mesh.Workload{
			UID: name, Namespace: "default", Name: name, ServiceAccount: name[:len(name)-random.IntN(2)*3],
			Node: m.Nodes[random.IntN(2)].Name, IP: address(10), Ready: true, Class: mesh.InMesh,
		})
	case 1: // one goes
		if n := len(m.Workloads); n > 2 {
			i := random.IntN(n)
			m.Workloads = slices.Delete(m.Workloads, i, i+1)
		}
	case 2: // a service comes
		m.Services = append(m.Services, mesh.Service{
			Namespace: "default", Name: name, VIP: address(172),
			Ports: []mesh.ServicePort{{Name: "http", Number: 80}, {Name: "metrics", Number: 9090}},
		})
	case 3: // one goes
		if len(m.Services) > 2 {
			m.Services = slices.Delete(m.Services, s, s+1)
		}
	default: // a service's endpoints change
		ports := slices.Clone(m.Services[s].Ports)
		ports[0].Endpoints = nil
		for _, w := range m.Workloads {
			if random.IntN(3) == 0 {
				ports[0].Endpoints = append(ports[0].Endpoints, mesh.Endpoint{IP: w.IP, Port: 8080})
			}
		}
		m.Services[s].Ports = ports
	}
	return &m
}
