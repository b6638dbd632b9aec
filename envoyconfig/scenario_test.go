// SPDX-License-Identifier: Apache-2.0

package envoyconfig_test

import (
	"net/netip"

	"github.com/ambient22/ambient22/envoyconfig"
	"github.com/ambient22/ambient22/internal/mesh"
)

// scenario is a mesh of its own: the article's, and more. It is built for node A.
type scenario struct {
	change  func(*mesh.Snapshot)
	options envoyconfig.Options
}

// scenarios are the meshes whose golden files are in testdata/meshes.
func scenarios() map[string]scenario {
	all := map[string]scenario{
		"waypoints":  {change: withWaypoints},
		"native":     {change: withNativePods},
		"membership": {change: withAllKinds},
		"identities": {change: withSharedIdentities},
		"services":   {change: withServices},
		"no-pods":    {change: func(s *mesh.Snapshot) { s.Workloads, s.Services = nil, nil }},
	}
	for _, profile := range []envoyconfig.Profile{envoyconfig.Article, envoyconfig.Hardened} {
		for _, dialect := range []envoyconfig.Dialect{envoyconfig.Istio116, envoyconfig.Upstream} {
			all["form-"+profile.String()+"-"+dialect.String()] = scenario{
				change:  withPolicies,
				options: envoyconfig.Options{Profile: profile, Dialect: dialect},
			}
		}
	}
	return all
}

func labels(pairs ...string) func(*mesh.Workload) {
	return func(w *mesh.Workload) {
		w.Labels = map[string]string{}
		for i := 0; i < len(pairs); i += 2 {
			w.Labels[pairs[i]] = pairs[i+1]
		}
	}
}

func unready(w *mesh.Workload) { w.Ready = false }

func terminating(w *mesh.Workload) { w.Terminating = true }

func selecting(s mesh.Service, app string) mesh.Service {
	s.Selector = map[string]string{"app": app}
	return s
}

// withWaypoints gives sleep a waypoint, which is its client waypoint, and
// productpage another. reviews has pods with and without, ratings no selector.
func withWaypoints(s *mesh.Snapshot) {
	waypoint := class(mesh.Waypoint)
	s.Workloads = append(s.Workloads,
		pod(nodeB, "sleep-waypoint", "sleep", "10.4.3.40", 3, waypoint),
		pod(nodeB, "productpage-waypoint-2", "bookinfo-productpage", "10.4.3.42", 3, waypoint),
		pod(nodeA, "productpage-waypoint-1", "bookinfo-productpage", "10.4.4.41", 4, waypoint),
		pod(nodeA, "productpage-waypoint-new", "bookinfo-productpage", "10.4.4.43", 5, waypoint, unready),
		pod(nodeA, "productpage-waypoint-old", "bookinfo-productpage", "10.4.4.44", 1, waypoint, terminating),
		pod(nodeB, "reviews-waypoint", "reviews", "10.4.3.45", 3, waypoint, unready),
		pod(nodeA, "web", "web", "10.4.4.7", 1),
		pod(nodeB, "reviews-v1", "reviews", "10.4.3.15", 2, labels("app", "reviews"), unready),
		pod(nodeB, "reviews-v2", "reviews-plain", "10.4.3.16", 1, labels("app", "reviews")),
		pod(nodeA, "left-out", "reviews", "10.4.4.9", 2, class(mesh.OptedOut)),
	)
	for i := range s.Services {
		s.Services[i].Selector = map[string]string{"app": s.Services[i].Name}
	}
	s.Services = append(s.Services,
		selecting(service("default", "reviews", "10.8.1.1", port("http", 9080, "10.4.3.16:9080"), port("metrics", 9090)), "reviews"),
		service("default", "ratings", "10.8.1.2", port("http", 9080, "10.4.3.15:9080", "10.4.3.20:9080")),
		selecting(service("default", "web", "10.8.1.3", port("http", 80, "10.4.4.7:80")), "web"),
		service("default", "waypoint", "10.8.1.4", port("mesh", 15008, "10.4.4.41:15008", "10.4.3.42:15008")),
	)
}

// withNativePods has pods that end tunnels themselves, in and outside the mesh.
func withNativePods(s *mesh.Snapshot) {
	h2, http := labels("networking.istio.io/tunnel", "h2"), labels("networking.istio.io/tunnel", "http")
	s.Workloads = append(s.Workloads,
		pod(nodeA, "near", "near", "10.4.4.7", 1, h2),
		pod(nodeB, "far", "far", "10.4.3.15", 1, http),
		pod(nodeA, "sidecar", "sidecar", "10.4.4.9", 1, h2, class(mesh.Outside)),
		pod(nodeA, "left-out", "left-out", "10.4.4.10", 1, h2, class(mesh.OptedOut)),
		pod(nodeA, "other-label", "near", "10.4.4.11", 1, labels("networking.istio.io/tunnel", "none")),
	)
	s.Services = append(s.Services, service("default", "native", "10.8.1.1",
		port("http", 80, "10.4.4.7:80", "10.4.3.15:80", "10.4.4.9:80", "10.4.4.10:80", "10.4.4.11:80")))
}

// withAllKinds has a pod of every kind beside the mesh's own.
func withAllKinds(s *mesh.Snapshot) {
	s.Workloads = append(s.Workloads,
		pod(nodeA, "left-out", "web", "10.4.4.8", 1, class(mesh.OptedOut)),
		pod(nodeA, "elsewhere", "web", "10.4.4.9", 1, class(mesh.Outside)),
		pod(nodeB, "sidecar", "web", "10.4.3.9", 1, class(mesh.Outside), labels("security.istio.io/tlsMode", "istio")),
		pod(nodeA, "host-young", "young", "10.168.15.222", 9, onHost),
		pod(nodeA, "host-old", "old", "10.168.15.222", 8, onHost),
		pod(nodeB, "host-far", "far", "10.168.15.224", 8, onHost),
	)
	s.Services = append(s.Services, service("default", "mixed", "10.8.1.1", port("http", 80,
		"10.4.3.20:80", "10.4.4.8:80", "10.4.4.9:80", "10.4.3.9:80", "10.168.15.222:80", "192.0.2.1:80")))
}

// withSharedIdentities has two pods of one identity on the node, a third on the
// other, and services whose endpoints are on the caller's own node.
func withSharedIdentities(s *mesh.Snapshot) {
	s.Workloads = append(s.Workloads,
		pod(nodeA, "sleep-older", "sleep", "10.4.4.30", 0),
		pod(nodeB, "sleep-oldest", "sleep", "10.4.3.30", 0),
		pod(nodeA, "near", "bookinfo-productpage", "10.4.4.7", 3),
	)
	s.Services = append(s.Services, service("default", "near", "10.8.1.1", port("http", 9080, "10.4.4.7:9080", "10.4.3.20:9080")))
}

// withServices has services of every shape.
func withServices(s *mesh.Snapshot) {
	s.Services = append(s.Services,
		service("shop", "headless", "", port("db", 5432, "10.4.3.20:5432", "10.4.4.19:5432")),
		service("shop", "ports", "10.8.1.1", port("http", 80, "10.4.3.20:8080"), port("8080", 81, "10.4.3.20:8081"), port("admin", 82)),
		service("shop", "unnamed", "10.8.1.2", port("", 8080, "192.0.2.1:80")),
		service("shop", "no-tcp", "10.8.1.3"),
	)
}

// withPolicies has policies on a pod of node A, and around it what looks different
// in another profile or dialect.
func withPolicies(s *mesh.Snapshot) {
	s.Workloads = append(s.Workloads,
		pod(nodeA, "web", "web", "10.4.4.7", 1, labels("app", "web")),
		pod(nodeB, "shielded-waypoint", "shielded", "10.4.3.40", 1, class(mesh.Waypoint)),
		pod(nodeA, "shielded", "shielded", "10.4.4.9", 1, labels("app", "web")),
		pod(nodeA, "native", "web", "10.4.4.10", 1, labels("app", "web", "networking.istio.io/tunnel", "h2")),
	)
	s.Services = append(s.Services, service("default", "web", "10.8.1.1",
		port("http", 80, "10.4.4.7:8080", "10.4.4.10:8080", "10.4.3.20:8080", "192.0.2.1:8080")))
	s.Policies = []mesh.AuthorizationPolicy{
		{Namespace: "default", Name: "callers", Selector: map[string]string{"app": "web"}, Rules: []mesh.Rule{
			{From: []mesh.Source{{Principals: []string{"cluster.local/ns/default/sa/sleep"}}}, To: []mesh.Operation{{Ports: []uint16{8080}}}},
		}},
		{Namespace: mesh.RootNamespace, Name: "no-admin", Action: mesh.Deny, Rules: []mesh.Rule{
			{From: []mesh.Source{{NotIPBlocks: []netip.Prefix{netip.MustParsePrefix("10.4.0.0/16")}}}, To: []mesh.Operation{{Ports: []uint16{9090}}}},
		}},
	}
	s.PeerAuthentications = []mesh.PeerAuthentication{{
		Namespace: "default", Name: "strict", Selector: map[string]string{"app": "web"},
		Mode: mesh.MTLSStrict, Ports: map[uint16]mesh.MTLSMode{8081: mesh.MTLSPermissive},
	}}
}
