// SPDX-License-Identifier: Apache-2.0

package envoyconfig_test

import (
	"fmt"
	"slices"

	"github.com/ambient22/ambient22/internal/mesh"
)

// benchMesh has pods on one node, each with an identity of its own, and services
// with one port and two pods each on other nodes.
func benchMesh(size benchSize, shared bool) *mesh.Snapshot {
	s := &mesh.Snapshot{TrustDomain: mesh.DefaultTrustDomain}
	for i := range 3 {
		s.Nodes = append(s.Nodes, mesh.Node{Name: fmt.Sprintf("node-%d", i), InternalIP: address(192, i)})
	}
	for i := range size.pods {
		s.Workloads = append(s.Workloads, caller(i))
	}
	for i := range size.services {
		account := "services"
		if !shared {
			account = fmt.Sprintf("service-%d", i)
		}
		http := mesh.ServicePort{Name: "http", Number: 80}
		for j := range 2 {
			w := pod(s.Nodes[1+j].Name, fmt.Sprintf("service-%d-%d", i, j), account, address(11+j, i).String(), i%60)
			s.Workloads = append(s.Workloads, w)
			http.Endpoints = append(http.Endpoints, mesh.Endpoint{IP: w.IP, Port: 8080})
		}
		s.Services = append(s.Services, benchService(i, http))
	}
	s.Sort()
	return s
}

// caller is a pod of the node that is looked at.
func caller(i int) mesh.Workload {
	name := fmt.Sprintf("caller-%d", i)
	return pod("node-0", name, name, address(10, i).String(), i%60)
}

func benchService(i int, port mesh.ServicePort) mesh.Service {
	return mesh.Service{
		Namespace: "default", Name: fmt.Sprintf("service-%d", i), VIP: address(172, i), Ports: []mesh.ServicePort{port},
	}
}

// oneEndpointLess takes one of a service's endpoints away.
func oneEndpointLess(s *mesh.Snapshot) {
	i := len(s.Services) / 2
	s.Services = slices.Clone(s.Services)
	s.Services[i].Ports = slices.Clone(s.Services[i].Ports)
	p := &s.Services[i].Ports[0]
	p.Endpoints = p.Endpoints[:1]
}

// onePodMore adds a pod with an identity of its own to the node.
func onePodMore(s *mesh.Snapshot) {
	s.Workloads = append(slices.Clone(s.Workloads), caller(1000))
	s.Sort()
}

// oneServiceMore adds a service with an endpoint that is known.
func oneServiceMore(s *mesh.Snapshot) {
	port := mesh.ServicePort{Name: "http", Number: 80, Endpoints: s.Services[0].Ports[0].Endpoints[:1]}
	s.Services = append(slices.Clone(s.Services), benchService(len(s.Services), port))
	s.Sort()
}

// onePolicyMore adds a policy that holds for every pod.
func onePolicyMore(s *mesh.Snapshot) {
	s.Policies = append(slices.Clone(s.Policies), mesh.AuthorizationPolicy{
		Namespace: "default", Name: fmt.Sprintf("policy-%d", len(s.Policies)), Action: mesh.Deny,
		Rules: []mesh.Rule{{From: []mesh.Source{{Namespaces: []string{"other"}}}, To: []mesh.Operation{{Ports: []uint16{9090}}}}},
	})
	s.Sort()
}
