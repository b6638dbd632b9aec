// SPDX-License-Identifier: Apache-2.0

package envoyconfig_test

import (
	"net/netip"
	"time"

	"github.com/ambient22/ambient22/internal/mesh"
)

// The article's two nodes.
const (
	nodeA = "gke-jimmy-cluster-default-pool-d5041909-d10i"
	nodeB = "gke-jimmy-cluster-default-pool-d5041909-c1da"
)

func at(minute int) time.Time { return time.Date(2022, 11, 8, 6, minute, 0, 0, time.UTC) }

// articleMesh is the article's mesh with just sleep and productpage, as the golden
// files have it.
func articleMesh() *mesh.Snapshot {
	return &mesh.Snapshot{
		TrustDomain: mesh.DefaultTrustDomain,
		Nodes: []mesh.Node{
			{Name: nodeB, InternalIP: netip.MustParseAddr("10.168.15.224"), PodCIDR: netip.MustParsePrefix("10.4.3.0/24")},
			{Name: nodeA, InternalIP: netip.MustParseAddr("10.168.15.222"), PodCIDR: netip.MustParsePrefix("10.4.4.0/24")},
		},
		Workloads: []mesh.Workload{
			{
				UID: "a1111111-0000-4000-8000-000000000001", Namespace: "default", Name: "productpage-v1-5586c4d4ff-qxz9f",
				ServiceAccount: "bookinfo-productpage", Node: nodeB, IP: netip.MustParseAddr("10.4.3.20"),
				Labels:     map[string]string{"app": "productpage", "version": "v1"},
				Containers: []string{"productpage"}, Owner: mesh.Owner{Kind: mesh.OwnerDeployment, Name: "productpage-v1"},
				Created: at(2), Ready: true, Class: mesh.InMesh,
			},
			{
				UID: "85c8c34e-7ae3-4d29-9582-0819e2b10c69", Namespace: "default", Name: "sleep-5644bdc767-2dfg7",
				ServiceAccount: "sleep", Node: nodeA, IP: netip.MustParseAddr("10.4.4.19"),
				Labels:     map[string]string{"app": "sleep"},
				Containers: []string{"sleep"}, Owner: mesh.Owner{Kind: mesh.OwnerDeployment, Name: "sleep"},
				Created: at(1), Ready: true, Class: mesh.InMesh,
			},
			{
				UID: "a1111111-0000-4000-8000-000000000002", Namespace: "istio-system", Name: "ztunnel-rts54",
				ServiceAccount: "ztunnel", Node: nodeA, IP: netip.MustParseAddr("10.4.4.18"),
				Labels:     map[string]string{"app": "ztunnel"},
				Containers: []string{"istio-proxy"}, Owner: mesh.Owner{Kind: mesh.OwnerDeployment, Name: "ztunnel"},
				Created: at(0), Ready: true, Class: mesh.Ztunnel, NotEnrolled: "it is the ztunnel itself",
			},
			{
				UID: "a1111111-0000-4000-8000-000000000003", Namespace: "istio-system", Name: "ztunnel-z4qmh",
				ServiceAccount: "ztunnel", Node: nodeB, IP: netip.MustParseAddr("10.4.3.14"),
				Labels:     map[string]string{"app": "ztunnel"},
				Containers: []string{"istio-proxy"}, Owner: mesh.Owner{Kind: mesh.OwnerDeployment, Name: "ztunnel"},
				Created: at(0), Ready: true, Class: mesh.Ztunnel, NotEnrolled: "it is the ztunnel itself",
			},
		},
		Services: []mesh.Service{
			service("default", "productpage", "10.8.14.226", port("http", 9080, "10.4.3.20:9080")),
			service("default", "sleep", "10.8.4.10", port("http", 80, "10.4.4.19:80")),
		},
	}
}

func service(namespace, name, vip string, ports ...mesh.ServicePort) mesh.Service {
	s := mesh.Service{Namespace: namespace, Name: name, Ports: ports}
	if vip != "" {
		s.VIP = netip.MustParseAddr(vip)
	}
	return s
}

func port(name string, number uint16, endpoints ...string) mesh.ServicePort {
	p := mesh.ServicePort{Name: name, Number: number}
	for _, e := range endpoints {
		address := netip.MustParseAddrPort(e)
		p.Endpoints = append(p.Endpoints, mesh.Endpoint{IP: address.Addr(), Port: address.Port()})
	}
	return p
}
