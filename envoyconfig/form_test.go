// SPDX-License-Identifier: Apache-2.0

package envoyconfig_test

import (
	"slices"
	"strings"
	"testing"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	tcpproxyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	gocmp "github.com/google/go-cmp/cmp"

	"github.com/ambient22/ambient22/envoyconfig"
	"github.com/ambient22/ambient22/internal/mesh"
)

// TestForms reads every name of a profile and a dialect back, and no other.
func TestForms(t *testing.T) {
	for _, p := range []envoyconfig.Profile{envoyconfig.Article, envoyconfig.Hardened} {
		if got, err := envoyconfig.ParseProfile(p.String()); err != nil || got != p {
			t.Errorf("%s is read as %s, %v", p, got, err)
		}
	}
	for _, d := range []envoyconfig.Dialect{envoyconfig.Istio116, envoyconfig.Upstream} {
		if got, err := envoyconfig.ParseDialect(d.String()); err != nil || got != d {
			t.Errorf("%s is read as %s, %v", d, got, err)
		}
	}
	for _, o := range []envoyconfig.Options{
		{Node: nodeA, Profile: 2}, {Node: nodeA, Profile: -1}, {Node: nodeA, Dialect: 2},
	} {
		if _, err := envoyconfig.Build(articleMesh(), o); err == nil || !strings.Contains(err.Error(), "is neither") {
			t.Errorf("%s, %s: %v", o.Profile, o.Dialect, err)
		}
	}
}

// TestHoles wants every form to admit something, and the hardened less.
func TestHoles(t *testing.T) {
	for _, d := range []envoyconfig.Dialect{envoyconfig.Istio116, envoyconfig.Upstream} {
		article := envoyconfig.Options{Dialect: d}.Holes()
		hardened := envoyconfig.Options{Profile: envoyconfig.Hardened, Dialect: d}.Holes()
		if len(hardened) == 0 || len(hardened) >= len(article) {
			t.Errorf("%s: %d holes, hardened %d", d, len(article), len(hardened))
		}
	}
	upstream := envoyconfig.Options{Dialect: envoyconfig.Upstream}.Holes()
	if !slices.ContainsFunc(upstream, func(h string) bool { return strings.Contains(h, ":authority") }) {
		t.Errorf("no hole names the header in which the target stands: %q", upstream)
	}
}

// TestUpstreamHasNoExtension wants none of what only Istio's proxy knows.
func TestUpstreamHasNoExtension(t *testing.T) {
	r := buildScenario(t, scenario{change: withWaypoints, options: envoyconfig.Options{Dialect: envoyconfig.Upstream}})
	text := string(folded(t, r))
	for _, word := range []string{"set_dst_address", "set_internal_dst_address", "workload_metadata", "baggage", "match_subject_alt_names"} {
		if strings.Contains(text, word) {
			t.Errorf("the upstream dialect says %q", word)
		}
	}
	if len(r.Extensions) != 0 {
		t.Errorf("it has %d extensions", len(r.Extensions))
	}
}

// TestTunnelPorts goes through the pods behind one service, and the ports at which
// tunnels to them end: 0 where there is no tunnel.
func TestTunnelPorts(t *testing.T) {
	h2 := func(w *mesh.Workload) { w.Labels = map[string]string{mesh.LabelTunnel: mesh.TunnelH2} }
	pods := []mesh.Workload{
		pod(nodeA, "near", "web", "10.4.4.1", 1),
		pod(nodeB, "far", "web", "10.4.3.1", 1),
		pod(nodeA, "out", "web", "10.4.4.2", 1, class(mesh.OptedOut)),
		pod(nodeA, "outside", "web", "10.4.4.3", 1, class(mesh.Outside)),
		pod(nodeA, "waypoint-near", "web", "10.4.4.4", 1, class(mesh.Waypoint)),
		pod(nodeB, "waypoint-far", "web", "10.4.3.4", 1, class(mesh.Waypoint)),
		pod(nodeA, "native-near", "web", "10.4.4.5", 1, h2),
		pod(nodeA, "native-out", "web", "10.4.4.6", 1, h2, class(mesh.OptedOut)),
		pod(nodeB, "native-outside", "web", "10.4.3.6", 1, h2, class(mesh.Outside)),
		pod(nodeA, "host", "web", "10.168.15.222", 1, onHost),
		pod(nodeA, "native-host", "web", "10.168.15.222", 2, onHost, h2),
		pod(nodeB, "native-host-alone", "web", "10.168.15.224", 2, onHost, h2),
	}
	want := map[string]string{
		"10.4.4.1": "15088", "10.4.3.1": "15008", "10.4.4.2": "", "10.4.4.3": "", "10.4.4.4": "15088", "10.4.3.4": "15008",
		"10.4.4.5": "15008", "10.4.4.6": "15008", "10.4.3.6": "15008", "10.168.15.222": "", "10.168.15.224": "15008", "192.0.2.1": "",
	}
	for _, d := range []envoyconfig.Dialect{envoyconfig.Istio116, envoyconfig.Upstream} {
		r := buildScenario(t, scenario{options: envoyconfig.Options{Dialect: d}, change: func(s *mesh.Snapshot) {
			s.Workloads = append(s.Workloads, pods...)
			var endpoints []string
			for ip := range want {
				endpoints = append(endpoints, ip+":80")
			}
			s.Services = append(s.Services, service("default", "all", "10.8.1.1", port("http", 80, endpoints...)))
		}})
		got := map[string]string{}
		for _, e := range find[*endpointv3.ClusterLoadAssignment](t, r.Endpoints, sleepSA+"_to_http_all.default.svc.cluster.local_outbound_internal").Endpoints[0].LbEndpoints {
			ip, port := tunnelOf(t, r, e)
			got[ip] = port
		}
		if diff := gocmp.Diff(want, got); diff != "" {
			t.Errorf("%s: the tunnels' ports differ (-want +got):\n%s", d, diff)
		}
	}
}

// tunnelOf is the address of an endpoint and the port of the tunnel to it, found as
// a proxy would.
func tunnelOf(t *testing.T, r *envoyconfig.Resources, e *endpointv3.LbEndpoint) (ip, port string) {
	t.Helper()
	address := e.GetEndpoint().Address
	internal := address.GetEnvoyInternalAddress()
	if internal == nil {
		return address.GetSocketAddress().Address, ""
	}
	ip, _, _ = strings.Cut(internal.EndpointId, ":")
	if tunnel, ok := e.Metadata.FilterMetadata["tunnel"]; ok {
		_, port, _ = strings.Cut(tunnel.Fields["address"].GetStringValue(), ":")
		return ip, port
	}
	chain := find[*listenerv3.Listener](t, r.Listeners, internal.GetServerListenerName()).FilterChains[0]
	var proxy tcpproxyv3.TcpProxy
	if err := chain.Filters[0].GetTypedConfig().UnmarshalTo(&proxy); err != nil {
		t.Fatal(err)
	}
	override := find[*clusterv3.Cluster](t, r.Clusters, proxy.GetCluster()).GetOriginalDstLbConfig().GetUpstreamPortOverride()
	return ip, text(float64(override.GetValue()))
}
