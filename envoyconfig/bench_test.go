// SPDX-License-Identifier: Apache-2.0

package envoyconfig_test

import (
	"fmt"
	"testing"

	"github.com/ambient22/ambient22/envoyconfig"
	"github.com/ambient22/ambient22/internal/mesh"
)

// BenchmarkBuild measures one complete build for one node of ten. The services
// have two ports and five endpoints each, all in the mesh.
func BenchmarkBuild(b *testing.B) {
	for _, size := range []struct{ accounts, services int }{{10, 50}, {30, 300}} {
		b.Run(fmt.Sprintf("accounts=%d/services=%d", size.accounts, size.services), func(b *testing.B) {
			s := largeMesh(size.accounts, size.services)
			options := envoyconfig.Options{Node: "node-0", ProxyID: "ztunnel-x.istio-system"}
			var bytes, count int
			b.ReportAllocs()
			for b.Loop() {
				r, err := envoyconfig.Build(s, options)
				if err != nil {
					b.Fatal(err)
				}
				bytes, count = weigh(r)
			}
			b.ReportMetric(float64(count), "resources")
			b.ReportMetric(float64(bytes)/(1<<20), "MiB")
		})
	}
}

func weigh(r *envoyconfig.Resources) (bytes, count int) {
	for _, kind := range [][]*envoyconfig.Resource{r.Listeners, r.Clusters, r.Endpoints, r.Extensions} {
		count += len(kind)
		for _, resource := range kind {
			bytes += resource.Wire.Len()
		}
	}
	return bytes, count
}

func largeMesh(accounts, services int) *mesh.Snapshot {
	const nodes, replicas = 10, 5
	s := &mesh.Snapshot{TrustDomain: mesh.DefaultTrustDomain}
	for i := range nodes {
		s.Nodes = append(s.Nodes, mesh.Node{Name: fmt.Sprintf("node-%d", i), InternalIP: address(192, i)})
	}
	for i := range services {
		http := mesh.ServicePort{Name: "http", Number: 80}
		metrics := mesh.ServicePort{Name: "metrics", Number: 9090}
		for j := range replicas {
			n := i*replicas + j
			w := pod(s.Nodes[n%nodes].Name, fmt.Sprintf("pod-%d", n), fmt.Sprintf("account-%d", i%accounts), address(10, n).String(), n%60)
			s.Workloads = append(s.Workloads, w)
			http.Endpoints = append(http.Endpoints, mesh.Endpoint{IP: w.IP, Port: 8080})
			metrics.Endpoints = append(metrics.Endpoints, mesh.Endpoint{IP: w.IP, Port: 9090})
		}
		s.Services = append(s.Services, mesh.Service{
			Namespace: "default", Name: fmt.Sprintf("service-%d", i), VIP: address(172, i),
			Ports: []mesh.ServicePort{http, metrics},
		})
	}
	return s
}
