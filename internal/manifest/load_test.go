// SPDX-License-Identifier: Apache-2.0

package manifest_test

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ambient22/ambient22/internal/kube"
	"github.com/ambient22/ambient22/internal/manifest"
	"github.com/ambient22/ambient22/internal/mesh"
)

const (
	nodeA = "gke-jimmy-cluster-default-pool-d5041909-d10i"
	nodeB = "gke-jimmy-cluster-default-pool-d5041909-c1da"
)

// TestLoad reads both formats, several documents in a file, a List, and a
// subfolder.
func TestLoad(t *testing.T) {
	got, err := manifest.Load("testdata/two-pods", manifest.Options{Node: nodeA})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(twoPods(), got, cmp.Comparer(sameIP), cmp.Comparer(samePrefix)); diff != "" {
		t.Errorf("the snapshot differs (-want +got):\n%s", diff)
	}
}

func sameIP(a, b netip.Addr) bool { return a == b }

func samePrefix(a, b netip.Prefix) bool { return a == b }

func at(clock string) time.Time {
	t, err := time.Parse("15:04:05", clock)
	if err != nil {
		panic(err)
	}
	return t.AddDate(2022, 10, 7)
}

func twoPods() *mesh.Snapshot {
	ip := netip.MustParseAddr
	http := func(number uint16, address string) []mesh.ServicePort {
		return []mesh.ServicePort{{Name: "http", Number: number, Endpoints: []mesh.Endpoint{{IP: ip(address), Port: number}}}}
	}
	const isZtunnel = "it is a ztunnel (label app=ztunnel)"
	ztunnelLabels := map[string]string{"app": "ztunnel", "controller-revision-hash": "6c9fd67d8b", "pod-template-generation": "1"}
	return &mesh.Snapshot{
		TrustDomain: "cluster.local",
		Nodes: []mesh.Node{
			{Name: nodeB, InternalIP: ip("10.168.15.224"), PodCIDR: netip.MustParsePrefix("10.4.3.0/24")},
			{Name: nodeA, InternalIP: ip("10.168.15.222"), PodCIDR: netip.MustParsePrefix("10.4.4.0/24")},
		},
		Workloads: []mesh.Workload{
			{
				UID: "a1111111-0000-4000-8000-000000000001", Namespace: "default", Name: "productpage-v1-5586c4d4ff-qxz9f",
				ServiceAccount: "bookinfo-productpage", Node: nodeB, IP: ip("10.4.3.20"),
				Labels:     map[string]string{"app": "productpage", "version": "v1", "pod-template-hash": "5586c4d4ff"},
				Containers: []string{"productpage"}, Owner: mesh.Owner{Kind: mesh.OwnerDeployment, Name: "productpage-v1"},
				Created: at("06:38:40"), Ready: true, Class: mesh.InMesh,
			},
			{
				UID: "85c8c34e-7ae3-4d29-9582-0819e2b10c69", Namespace: "default", Name: "sleep-5644bdc767-2dfg7",
				ServiceAccount: "sleep", Node: nodeA, IP: ip("10.4.4.19"),
				Labels:     map[string]string{"app": "sleep", "pod-template-hash": "5644bdc767"},
				Containers: []string{"sleep"}, Owner: mesh.Owner{Kind: mesh.OwnerDeployment, Name: "sleep"},
				Created: at("06:39:12"), Ready: true, Class: mesh.InMesh,
			},
			{
				UID: "a1111111-0000-4000-8000-000000000002", Namespace: "istio-system", Name: "ztunnel-rts54",
				ServiceAccount: "ztunnel", Node: nodeA, IP: ip("10.4.4.18"), Labels: ztunnelLabels,
				Containers: []string{"istio-proxy"}, Owner: mesh.Owner{Kind: mesh.OwnerDeployment, Name: "ztunnel"},
				Created: at("06:30:05"), Ready: true, Class: mesh.Ztunnel, NotEnrolled: isZtunnel,
			},
			{
				UID: "a1111111-0000-4000-8000-000000000003", Namespace: "istio-system", Name: "ztunnel-z4qmh",
				ServiceAccount: "ztunnel", Node: nodeB, IP: ip("10.4.3.14"), Labels: ztunnelLabels,
				Containers: []string{"istio-proxy"}, Owner: mesh.Owner{Kind: mesh.OwnerDeployment, Name: "ztunnel"},
				Created: at("06:30:05"), Ready: true, Class: mesh.Ztunnel, NotEnrolled: isZtunnel,
			},
		},
		Services: []mesh.Service{
			{Namespace: "default", Name: "productpage", VIP: ip("10.8.14.226"), Selector: map[string]string{"app": "productpage"}, Ports: http(9080, "10.4.3.20")},
			{Namespace: "default", Name: "sleep", VIP: ip("10.8.4.10"), Selector: map[string]string{"app": "sleep"}, Ports: http(80, "10.4.4.19")},
		},
	}
}

// TestArticleManifests holds the topology's manifests to what the article says of
// its two nodes.
func TestArticleManifests(t *testing.T) {
	for _, want := range []struct {
		node, ztunnel, host string
		enrolled            []string
	}{
		{nodeA, "10.4.4.18", "10.4.4.1", []string{"10.4.4.11", "10.4.4.19", "10.4.4.7"}},
		{nodeB, "10.4.3.14", "10.4.3.1", []string{"10.4.3.15", "10.4.3.16", "10.4.3.17", "10.4.3.18", "10.4.3.19", "10.4.3.20"}},
	} {
		s, err := manifest.Load("../../hack/topologies/article/manifests", manifest.Options{Node: want.node})
		if err != nil {
			t.Fatal(err)
		}
		if z := s.ActiveZtunnel(want.node); z == nil || z.IP.String() != want.ztunnel {
			t.Errorf("the ztunnel of %s is %+v, not %s", want.node, z, want.ztunnel)
		}
		if ip, err := s.HostIP(want.node); err != nil || ip.String() != want.host {
			t.Errorf("the pod-side address of %s is %v (%v), not %s", want.node, ip, err, want.host)
		}
		if diff := cmp.Diff(want.enrolled, enrolled(s, want.node)); diff != "" {
			t.Errorf("the pods captured on %s differ (-want +got):\n%s", want.node, diff)
		}
	}
}

func TestMode(t *testing.T) {
	off, err := manifest.Load("testdata/two-pods", manifest.Options{Node: nodeA, Mode: kube.ModeOff})
	if err != nil {
		t.Fatal(err)
	}
	if got := enrolled(off, nodeA); len(got) > 0 {
		t.Errorf("mode off captures %v", got)
	}
}

// enrolled are the addresses of the pods that a node captures, in text order.
func enrolled(s *mesh.Snapshot, node string) []string {
	var all []string
	for i := range s.Workloads {
		if w := &s.Workloads[i]; w.Node == node && w.Enrolled() {
			all = append(all, w.IP.String())
		}
	}
	slices.Sort(all)
	return all
}
