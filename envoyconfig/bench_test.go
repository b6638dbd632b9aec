// SPDX-License-Identifier: Apache-2.0

package envoyconfig_test

import (
	"fmt"
	"testing"

	"github.com/ambient22/ambient22/envoyconfig"
	"github.com/ambient22/ambient22/internal/mesh"
)

// BenchmarkBuild measures one complete build for one node.
func BenchmarkBuild(b *testing.B) {
	for _, size := range []struct{ pods, services int }{{10, 100}, {50, 500}, {100, 1000}} {
		b.Run(fmt.Sprintf("%d/%d", size.pods, size.services), func(b *testing.B) {
			s := largeMesh(size.pods, size.services, false)
			options := envoyconfig.Options{Node: "node-0", ProxyID: "ztunnel-x.istio-system"}
			var r *envoyconfig.Resources
			b.ReportAllocs()
			for b.Loop() {
				r = nil
				var err error
				r, err = envoyconfig.Build(s, options)
				if err != nil {
					b.Fatal(err)
				}
			}
			for name, kind := range map[string][]*envoyconfig.Resource{"L": r.Listeners, "C": r.Clusters, "E": r.Endpoints} {
				n := 0
				for _, x := range kind {
					n += x.Wire.Len()
				}
				b.ReportMetric(float64(n)/1e6, name+"MB")
			}
		})
	}
}

// largeMesh has pods on one node, each with an identity of its own, and services
// with one port and two pods each on others.
func largeMesh(pods, services int, own bool) *mesh.Snapshot {
	s := &mesh.Snapshot{TrustDomain: mesh.DefaultTrustDomain}
	for i := range 3 {
		s.Nodes = append(s.Nodes, mesh.Node{Name: fmt.Sprintf("node-%d", i), InternalIP: address(192, i)})
	}
	for i := range pods {
		s.Workloads = append(s.Workloads, pod("node-0", fmt.Sprintf("caller-%d", i), fmt.Sprintf("caller-%d", i), address(10, i).String(), i%60))
	}
	for i := range services {
		account := "services"
		if own {
			account = fmt.Sprintf("service-%d", i)
		}
		http := mesh.ServicePort{Name: "http", Number: 80}
		for j := range 2 {
			w := pod(s.Nodes[1+j].Name, fmt.Sprintf("service-%d-%d", i, j), account, address(11+j, i).String(), i%60)
			s.Workloads = append(s.Workloads, w)
			http.Endpoints = append(http.Endpoints, mesh.Endpoint{IP: w.IP, Port: 8080})
		}
		s.Services = append(s.Services, mesh.Service{Namespace: "default", Name: fmt.Sprintf("service-%d", i), VIP: address(172, i), Ports: []mesh.ServicePort{http}})
	}
	s.Sort()
	return s
}
