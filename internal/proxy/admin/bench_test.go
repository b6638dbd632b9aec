// SPDX-License-Identifier: Apache-2.0

package admin_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"

	"github.com/ambient22/ambient22/envoyconfig"
	"github.com/ambient22/ambient22/internal/mesh"
	"github.com/ambient22/ambient22/internal/proxy/admin"
	"github.com/ambient22/ambient22/internal/proxy/state"
)

// BenchmarkConfigDump prints the whole configuration of a node in a mesh with
// some thousand clusters: identities × services, two endpoints each.
func BenchmarkConfigDump(b *testing.B) {
	const identities, services = 20, 200
	m := &mesh.Snapshot{TrustDomain: mesh.DefaultTrustDomain, Nodes: []mesh.Node{{Name: nodeA, InternalIP: netip.MustParseAddr("10.0.0.1")}}}
	for i := range identities {
		name := fmt.Sprintf("w%03d", i)
		m.Workloads = append(m.Workloads, mesh.Workload{
			UID: name, Namespace: "default", Name: name, ServiceAccount: name, Node: nodeA,
			IP: netip.AddrFrom4([4]byte{10, 4, 0, byte(i + 1)}), Ready: true, Class: mesh.InMesh,
		})
	}
	for i := range services {
		m.Services = append(m.Services, mesh.Service{
			Namespace: "default", Name: fmt.Sprintf("s%03d", i), VIP: netip.AddrFrom4([4]byte{10, 8, 0, byte(i + 1)}),
			Ports: []mesh.ServicePort{{Name: "http", Number: 80, Endpoints: []mesh.Endpoint{
				{IP: netip.MustParseAddr("10.4.0.1"), Port: 80}, {IP: netip.MustParseAddr("10.4.0.2"), Port: 80},
			}}},
		})
	}
	r, err := envoyconfig.Build(m, envoyconfig.Options{Node: nodeA})
	if err != nil {
		b.Fatal(err)
	}
	s := &state.Snapshot{Listeners: accepted(r.Listeners), Clusters: accepted(r.Clusters), Endpoints: accepted(r.Endpoints)}
	h := admin.New(admin.Config{Source: &source{snapshot: s}})
	b.ReportAllocs()
	for b.Loop() {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/config_dump?include_eds", nil))
		if w.Code != http.StatusOK {
			b.Fatal(w.Body.String())
		}
		b.ReportMetric(float64(w.Body.Len()), "bytes")
	}
	b.ReportMetric(float64(len(r.Clusters)), "clusters")
}
