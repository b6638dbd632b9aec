// SPDX-License-Identifier: Apache-2.0

package envoyconfig_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"

	"github.com/ambient22/ambient22/internal/mesh"
)

// one is one of several, at random.
func one[T any](random *rand.Rand, of ...T) T { return of[random.IntN(len(of))] }

// randomMesh has pods of every kind and services of every shape, and policies.
func randomMesh(random *rand.Rand, nodes, pods, services int) *mesh.Snapshot {
	s := &mesh.Snapshot{TrustDomain: "cluster.local"}
	for i := range nodes {
		s.Nodes = append(s.Nodes, mesh.Node{Name: fmt.Sprintf("node-%d", i), InternalIP: address(192, i)})
	}
	for i := range pods {
		s.Workloads = append(s.Workloads, randomPod(random, one(random, s.Nodes...), i))
	}
	for i := range services {
		s.Services = append(s.Services, randomService(random, i, pods))
	}
	for i := range random.IntN(6) {
		s.Policies = append(s.Policies, randomPolicy(random, i))
	}
	for i := range random.IntN(4) {
		s.PeerAuthentications = append(s.PeerAuthentications, randomPeerAuthentication(random, i))
	}
	return s
}

func randomPod(random *rand.Rand, node mesh.Node, i int) mesh.Workload {
	w := pod(node.Name, fmt.Sprintf("pod-%d", i), fmt.Sprintf("sa-%d", random.IntN(5)), address(10, i).String(), random.IntN(3))
	w.Namespace = randomNamespace(random)
	w.Class = one(random, mesh.InMesh, mesh.InMesh, mesh.InMesh, mesh.InMesh, mesh.InMesh, mesh.OptedOut, mesh.Outside, mesh.Waypoint, mesh.Ztunnel)
	w.Labels = randomLabels(random)
	w.Ready, w.Terminating = random.IntN(3) > 0, random.IntN(5) == 0
	if random.IntN(6) == 0 {
		w.Labels[mesh.LabelTunnel] = one(random, mesh.TunnelH2, mesh.TunnelHTTP, "something else")
	}
	if random.IntN(6) == 0 {
		w.HostNetwork, w.IP = true, node.InternalIP
	}
	return w
}

func randomNamespace(random *rand.Rand) string {
	return one(random, "ns-0", "ns-1", mesh.RootNamespace)
}

func randomLabels(random *rand.Rand) map[string]string {
	labels := map[string]string{"app": one(random, "a", "b", "c")}
	if random.IntN(2) == 0 {
		labels["version"] = one(random, "v1", "v2")
	}
	return labels
}

// randomSelector selects some of the pods with random labels, or all.
func randomSelector(random *rand.Rand) map[string]string {
	if random.IntN(3) == 0 {
		return nil
	}
	return randomLabels(random)
}

func randomService(random *rand.Rand, i, pods int) mesh.Service {
	svc := mesh.Service{Namespace: randomNamespace(random), Name: fmt.Sprintf("svc-%d", i), Selector: randomSelector(random)}
	if random.IntN(5) > 0 {
		svc.VIP = address(172, i)
	}
	for n := range random.IntN(4) {
		p := mesh.ServicePort{Name: fmt.Sprintf("port-%d", n), Number: uint16(80 + n)}
		for range random.IntN(5) {
			e := mesh.Endpoint{IP: address(10, random.IntN(pods+5)), Port: one(random, uint16(8080), 8081)}
			if random.IntN(8) == 0 {
				e.IP = address(192, random.IntN(4))
			}
			if !slices.Contains(p.Endpoints, e) {
				p.Endpoints = append(p.Endpoints, e)
			}
		}
		svc.Ports = append(svc.Ports, p)
	}
	return svc
}

func randomPolicy(random *rand.Rand, i int) mesh.AuthorizationPolicy {
	p := mesh.AuthorizationPolicy{
		Namespace: randomNamespace(random), Name: fmt.Sprintf("policy-%d", i), Selector: randomSelector(random),
		Action: one(random, mesh.Allow, mesh.Deny, mesh.Audit), DryRun: random.IntN(5) == 0,
	}
	for range random.IntN(3) {
		p.Rules = append(p.Rules, randomRule(random))
	}
	return p
}

func randomRule(random *rand.Rand) mesh.Rule {
	var r mesh.Rule
	for range random.IntN(3) {
		r.From = append(r.From, randomSource(random))
	}
	for range random.IntN(3) {
		r.To = append(r.To, randomOperation(random))
	}
	if random.IntN(2) == 0 {
		r.WhenCaller = append(r.WhenCaller, randomSource(random))
		r.WhenCalled = append(r.WhenCalled, randomOperation(random), mesh.Operation{
			IPBlocks: []netip.Prefix{netip.PrefixFrom(address(10, 0), 16)}, NotSNI: []string{"*.example.org", "a.b"},
		})
	}
	if random.IntN(6) == 0 {
		r.Unusable = []string{"to[0].operation.methods"}
	}
	return r
}

func randomSource(random *rand.Rand) mesh.Source {
	blocks := []netip.Prefix{netip.PrefixFrom(address(10, 0), 8+random.IntN(25))}
	return one(random,
		mesh.Source{Principals: []string{"cluster.local/ns/ns-0/sa/sa-1", "*"}, NotNamespaces: []string{"ns-1"}},
		mesh.Source{NotPrincipals: []string{"*/sa/sa-1", "cluster.local/ns/ns-0/*"}, IPBlocks: blocks},
		mesh.Source{Namespaces: []string{"ns-*"}, NotIPBlocks: blocks},
		mesh.Source{RemoteIPBlocks: blocks, NotRemoteIPBlocks: blocks},
	)
}

func randomOperation(random *rand.Rand) mesh.Operation {
	return one(random,
		mesh.Operation{Ports: []uint16{80, 8080}},
		mesh.Operation{NotPorts: []uint16{9090}},
		mesh.Operation{Ports: []uint16{8080}, NotPorts: []uint16{8081}},
	)
}

func randomPeerAuthentication(random *rand.Rand, i int) mesh.PeerAuthentication {
	mode := func() mesh.MTLSMode {
		return one(random, mesh.MTLSUnset, mesh.MTLSDisable, mesh.MTLSPermissive, mesh.MTLSStrict)
	}
	return mesh.PeerAuthentication{
		Namespace: randomNamespace(random), Name: fmt.Sprintf("peers-%d", i), Created: at(random.IntN(2)),
		Selector: randomSelector(random), Mode: mode(), Ports: map[uint16]mesh.MTLSMode{8080: mode(), 8081: mode()},
	}
}
