// SPDX-License-Identifier: Apache-2.0

package admin_test

import (
	"net/netip"
	"testing"
	"time"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"

	"github.com/ambient22/ambient22/envoyconfig"
	"github.com/ambient22/ambient22/internal/mesh"
	"github.com/ambient22/ambient22/internal/proxy/bootstrap"
	"github.com/ambient22/ambient22/internal/proxy/state"
)

// source is a proxy whose state is set by the test.
type source struct {
	snapshot *state.Snapshot
	ready    bool
}

func (s *source) State() *state.Snapshot { return s.snapshot }
func (s *source) Ready() bool            { return s.ready }

// updated is when every resource of a test came: a time that Envoy's form cuts
// to milliseconds.
func updated() time.Time {
	return time.Date(2022, time.November, 11, 7, 33, 10, 485_999_999, time.UTC)
}

const (
	nodeA = "gke-jimmy-cluster-default-pool-d5041909-d10i"
	nodeB = "gke-jimmy-cluster-default-pool-d5041909-c1da"
)

// articleMesh is the article's two nodes, its two services and their pods, and
// the neighbours of sleep that listing 09 shows.
func articleMesh() *mesh.Snapshot {
	ip := netip.MustParseAddr
	pod := func(name, account, node, address, uid string) mesh.Workload {
		return mesh.Workload{
			UID: uid, Namespace: "default", Name: name, ServiceAccount: account, Node: node, IP: ip(address),
			Containers: []string{account}, Owner: mesh.Owner{Name: account}, Ready: true, Class: mesh.InMesh,
			Created: updated(),
		}
	}
	hostPod := pod("agent", "agent", nodeA, "10.168.15.222", "uid-agent")
	hostPod.HostNetwork = true
	productpage := pod("productpage-v1-5586c4d4ff-qxz9f", "bookinfo-productpage", nodeB, "10.4.3.20", "uid-productpage")
	productpage.Labels = map[string]string{"app": "productpage"}
	return &mesh.Snapshot{
		TrustDomain: mesh.DefaultTrustDomain,
		Nodes: []mesh.Node{
			{Name: nodeB, InternalIP: ip("10.168.15.224")},
			{Name: nodeA, InternalIP: ip("10.168.15.222")},
		},
		Workloads: []mesh.Workload{
			hostPod,
			pod("neighbour-a", "neighbour", nodeA, "10.4.4.7", "uid-7"),
			pod("neighbour-b", "neighbour", nodeA, "10.4.4.11", "uid-11"),
			productpage,
			pod("sleep-5644bdc767-2dfg7", "sleep", nodeA, "10.4.4.19", "85c8c34e-7ae3-4d29-9582-0819e2b10c69"),
		},
		Services: []mesh.Service{
			{Namespace: "default", Name: "productpage", VIP: ip("10.8.14.226"), Ports: []mesh.ServicePort{
				{Name: "http", Number: 9080, Endpoints: []mesh.Endpoint{{IP: ip("10.4.3.20"), Port: 9080}}},
			}},
		},
		Policies: []mesh.AuthorizationPolicy{{
			Namespace: "default", Name: "productpage-viewer", Selector: productpage.Labels, Action: mesh.Allow,
			Rules: []mesh.Rule{{From: []mesh.Source{{Principals: []string{"cluster.local/ns/default/sa/sleep"}}}}},
		}},
	}
}

// articleState is a ztunnel of the article that took all that it was served.
func articleState(t *testing.T, node string) *state.Snapshot {
	t.Helper()
	r, err := envoyconfig.Build(articleMesh(), envoyconfig.Options{Node: node, ProxyID: "ztunnel.istio-system"})
	if err != nil {
		t.Fatal(err)
	}
	return &state.Snapshot{
		Bootstrap:  articleBootstrap(t, node),
		Started:    updated(),
		Listeners:  accepted(r.Listeners),
		Clusters:   accepted(r.Clusters),
		Endpoints:  accepted(r.Endpoints),
		Extensions: accepted(r.Extensions),
	}
}

func accepted(resources []*envoyconfig.Resource) state.Kind {
	kind := state.Kind{Version: "v1"}
	for _, r := range resources {
		kind.Resources = append(kind.Resources, state.Resource{
			Name:   r.Name,
			Active: &state.Accepted{Version: r.Version, Updated: updated(), Body: r.Body()},
		})
	}
	return kind
}

func articleBootstrap(t *testing.T, node string) *bootstrapv3.Bootstrap {
	t.Helper()
	o := bootstrap.Default()
	o.PodName, o.PodNamespace = "ztunnel-rts54", "istio-system"
	o.PodIP, o.NodeName = netip.MustParseAddr("10.4.4.18"), node
	b, err := bootstrap.Build(o)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
