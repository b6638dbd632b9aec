// SPDX-License-Identifier: Apache-2.0

package envoyconfig_test

import (
	"testing"

	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	gocmp "github.com/google/go-cmp/cmp"

	"github.com/ambient22/ambient22/envoyconfig"
	"github.com/ambient22/ambient22/internal/mesh"
)

func sa(name string) string { return "spiffe://cluster.local/ns/default/sa/" + name }

func toServerWaypoint(caller, destination string) string {
	return sa(caller) + "_to_server_waypoint_proxy_" + sa(destination)
}

// taken is the chain that a connection from one address to another takes, "" where
// the matcher knows no such destination.
func taken(t *testing.T, r *envoyconfig.Resources, from, to, port string) string {
	t.Helper()
	out := find[*listenerv3.Listener](t, r.Listeners, envoyconfig.OutboundListener)
	bySource := out.FilterChainMatcher.OnNoMatch.GetMatcher()
	byAddress := bySource.GetMatcherTree().GetExactMatchMap().GetMap()[from].GetMatcher()
	found := byAddress.GetMatcherTree().GetExactMatchMap().GetMap()[to]
	if byPort := found.GetMatcher(); byPort != nil {
		found = byPort.GetMatcherTree().GetExactMatchMap().GetMap()[port]
	}
	return found.GetAction().GetName()
}

// TestServiceWaypoint goes through what makes a service one that is called by way
// of a waypoint.
func TestServiceWaypoint(t *testing.T) {
	behind := func(pods ...mesh.Workload) func(*mesh.Snapshot) {
		return func(s *mesh.Snapshot) {
			s.Workloads = append(s.Workloads, pods...)
			s.Workloads = append(s.Workloads,
				pod(nodeB, "one-waypoint", "one", "10.4.3.41", 5, class(mesh.Waypoint)),
				pod(nodeB, "two-waypoint", "two", "10.4.3.42", 5, class(mesh.Waypoint)))
			s.Services = append(s.Services,
				selecting(service("default", "web", "10.8.1.1", port("http", 80, "10.4.3.16:80"), port("metrics", 90)), "web"),
				service("default", "listed", "10.8.1.2", port("http", 80, "10.4.3.16:80", "10.4.3.15:80", "192.0.2.1:80")))
		}
	}
	web, other := labels("app", "web"), labels("app", "other", "web", "app")
	for name, c := range map[string]struct {
		change      func(*mesh.Snapshot)
		web, listed string
	}{
		"no waypoint":        {behind(pod(nodeB, "a", "three", "10.4.3.15", 1, web)), "", ""},
		"one pod":            {behind(pod(nodeB, "a", "one", "10.4.3.15", 1, web)), "one", "one"},
		"not ready":          {behind(pod(nodeB, "a", "one", "10.4.3.15", 1, web, unready)), "one", "one"},
		"the oldest":         {behind(pod(nodeB, "a", "one", "10.4.3.15", 2, web), pod(nodeB, "b", "two", "10.4.3.16", 1, web)), "two", "two"},
		"not all":            {behind(pod(nodeB, "a", "two", "10.4.3.15", 2, web), pod(nodeB, "b", "three", "10.4.3.16", 1, web)), "two", "two"},
		"not selected":       {behind(pod(nodeB, "a", "one", "10.4.3.15", 1, other)), "", "one"},
		"not an endpoint":    {behind(pod(nodeB, "a", "one", "10.4.3.99", 1, web)), "one", ""},
		"opted out":          {behind(pod(nodeB, "a", "one", "10.4.3.15", 1, web, class(mesh.OptedOut))), "", ""},
		"waypoint itself":    {behind(pod(nodeB, "a", "one", "10.4.3.15", 1, web, class(mesh.Waypoint))), "", ""},
		"other namespace":    {behind(pod(nodeB, "a", "one", "10.4.3.99", 1, web, func(w *mesh.Workload) { w.Namespace = "shop" })), "", ""},
		"account's namesake": {behind(pod(nodeB, "a", "one", "10.4.3.15", 1, other, func(w *mesh.Workload) { w.Namespace = "shop" })), "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := build(t, c.change)
			for _, d := range []struct{ vip, port, waypoint, chain string }{
				{"10.8.1.1", "80", c.web, "http_web"}, {"10.8.1.1", "90", c.web, "metrics_web"}, {"10.8.1.2", "80", c.listed, "http_listed"},
			} {
				want := sleepSA + "_to_" + d.chain + ".default.svc.cluster.local_outbound_internal"
				if d.waypoint != "" {
					want = toServerWaypoint("sleep", d.waypoint)
				}
				if got := taken(t, r, "10.4.4.19", d.vip, d.port); got != want {
					t.Errorf("%s:%s takes the chain %q, not %q", d.vip, d.port, got, want)
				}
			}
		})
	}
}

// TestClientWaypoint has the caller's waypoint take what the destination's does
// not.
func TestClientWaypoint(t *testing.T) {
	r := build(t, withWaypoints)
	client := "_to_client_waypoint_proxy_" + sleepSA
	for _, c := range []struct{ from, to, port, chain string }{
		{"10.4.4.19", "10.8.14.226", "9080", toServerWaypoint("sleep", "bookinfo-productpage")},
		{"10.4.4.19", "10.8.1.3", "80", client},
		{"10.4.4.19", "10.4.4.7", "", client},
		{"10.4.4.19", "10.4.3.16", "", client},
		{"10.4.4.19", "10.4.4.19", "", toServerWaypoint("sleep", "sleep")},
		{"10.4.4.19", "10.4.4.9", "", toServerWaypoint("sleep", "reviews")},
		{"10.4.4.19", "10.4.3.40", "", ""},
		{"10.4.4.7", "10.4.4.19", "", toServerWaypoint("web", "sleep")},
		{"10.4.4.7", "10.4.3.16", "", sa("web") + "_to_10.4.3.16"},
		{"10.4.4.7", "10.8.4.10", "80", toServerWaypoint("web", "sleep")},
		{"10.4.4.7", "10.8.4.10", "81", ""},
	} {
		if got := taken(t, r, c.from, c.to, c.port); got != c.chain {
			t.Errorf("from %s to %s:%s the chain is %q, not %q", c.from, c.to, c.port, got, c.chain)
		}
	}
}

// TestWaypointPods chooses the pods of a waypoint that can be used.
func TestWaypointPods(t *testing.T) {
	r := build(t, withWaypoints)
	for name, want := range map[string][]string{
		"_to_client_waypoint_proxy_" + sleepSA:            {"10.4.3.40:15001"},
		toServerWaypoint("sleep", "bookinfo-productpage"): {"10.4.3.42:15006", "10.4.4.41:15006"},
		toServerWaypoint("web", "reviews"):                {"10.4.3.45:15006"},
	} {
		var got []string
		for _, e := range find[*endpointv3.ClusterLoadAssignment](t, r.Endpoints, name).Endpoints[0].LbEndpoints {
			a := e.GetEndpoint().Address.GetSocketAddress()
			got = append(got, a.Address+":"+text(float64(a.GetPortValue())))
			if e.LoadBalancingWeight != nil || e.Metadata != nil {
				t.Errorf("%s: %v", name, e)
			}
		}
		if diff := gocmp.Diff(want, got); diff != "" {
			t.Errorf("the pods of %s differ (-want +got):\n%s", name, diff)
		}
	}
}
