// SPDX-License-Identifier: Apache-2.0

package envoyconfig_test

import (
	"net/netip"
	"strings"
	"testing"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	tcpproxyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	gocmp "github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"github.com/ambient22/ambient22/envoyconfig"
	metadata "github.com/ambient22/ambient22/envoyconfig/workloadmetadata"
	"github.com/ambient22/ambient22/internal/mesh"
)

const sleepSA = "spiffe://cluster.local/ns/default/sa/sleep"

// pod is a pod of the mesh.
func pod(node, name, account, ip string, minute int, edits ...func(*mesh.Workload)) mesh.Workload {
	w := mesh.Workload{
		UID: "uid-of-" + name, Namespace: "default", Name: name, ServiceAccount: account, Node: node,
		IP: netip.MustParseAddr(ip), Containers: []string{"app"}, Created: at(minute), Ready: true, Class: mesh.InMesh,
		Owner: mesh.Owner{Kind: mesh.OwnerPod, Name: name},
	}
	for _, edit := range edits {
		edit(&w)
	}
	return w
}

func class(c mesh.Class) func(*mesh.Workload) { return func(w *mesh.Workload) { w.Class = c } }

func onHost(w *mesh.Workload) { w.HostNetwork, w.NotEnrolled = true, "it uses its node's network" }

// build builds for node A of the article's mesh with more in it.
func build(t *testing.T, change func(*mesh.Snapshot)) *envoyconfig.Resources {
	t.Helper()
	s := articleMesh()
	change(s)
	r, err := envoyconfig.Build(s, envoyconfig.Options{Node: nodeA, ProxyID: "ztunnel-rts54.istio-system"})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// find is the resource of one name, as its own type.
func find[M proto.Message](t *testing.T, resources []*envoyconfig.Resource, name string) M {
	t.Helper()
	for _, r := range resources {
		if r.Name == name {
			m, err := r.Message()
			if err != nil {
				t.Fatal(err)
			}
			return m.(M)
		}
	}
	t.Fatalf("there is no %q", name)
	panic("unreachable")
}

func unpack[M proto.Message](t *testing.T, socket *corev3.TransportSocket, into M) M {
	t.Helper()
	if err := socket.GetTypedConfig().UnmarshalTo(into); err != nil {
		t.Fatal(err)
	}
	return into
}

// clusterOf is the cluster that a chain of a listener leads to, "" where the
// listener has no such chain.
func clusterOf(t *testing.T, l *listenerv3.Listener, chain string) string {
	t.Helper()
	for _, c := range l.FilterChains {
		if c.Name == chain {
			var proxy tcpproxyv3.TcpProxy
			if err := c.Filters[0].GetTypedConfig().UnmarshalTo(&proxy); err != nil {
				t.Fatal(err)
			}
			return proxy.GetCluster()
		}
	}
	return ""
}

func sources(l *listenerv3.Listener) map[string]bool {
	set := map[string]bool{}
	for ip := range l.FilterChainMatcher.OnNoMatch.GetMatcher().GetMatcherTree().GetExactMatchMap().GetMap() {
		set[ip] = true
	}
	return set
}

// TestKindsOfPods goes through what a pod can be, and how it is called.
func TestKindsOfPods(t *testing.T) {
	r := build(t, func(s *mesh.Snapshot) {
		s.Workloads = append(s.Workloads,
			pod(nodeA, "near", "web", "10.4.4.7", 1),
			pod(nodeB, "far", "web", "10.4.3.15", 1),
			pod(nodeA, "out", "web", "10.4.4.8", 1, class(mesh.OptedOut)),
			pod(nodeA, "plain", "web", "10.4.4.9", 1, class(mesh.Outside)),
			pod(nodeA, "waypoint", "way", "10.4.4.10", 1, class(mesh.Waypoint)),
			pod(nodeA, "young-host", "young", "10.168.15.222", 9, onHost),
			pod(nodeA, "old-host", "old", "10.168.15.222", 8, onHost),
			pod(nodeB, "host-b", "old", "10.168.15.224", 8, onHost),
		)
	})
	out := find[*listenerv3.Listener](t, r.Listeners, envoyconfig.OutboundListener)
	for ip, cluster := range map[string]string{
		"10.4.4.7":      "outbound_pod_local_tunnel_clus_" + sleepSA,
		"10.4.3.15":     "outbound_pod_tunnel_clus_" + sleepSA,
		"10.4.4.8":      envoyconfig.PassthroughTCPCluster,
		"10.168.15.222": envoyconfig.PassthroughTCPCluster,
		"10.168.15.224": envoyconfig.PassthroughTCPCluster,
		"10.4.4.9":      "", // the default chain
		"10.4.4.10":     "",
		"10.4.4.18":     "", // the ztunnel
	} {
		if got := clusterOf(t, out, sleepSA+"_to_"+ip); got != cluster {
			t.Errorf("a call of %s goes to %q, not %q", ip, got, cluster)
		}
	}
	want := map[string]bool{"10.4.4.19": true, "10.4.4.7": true, "10.168.15.222": true}
	if diff := gocmp.Diff(want, sources(out)); diff != "" {
		t.Errorf("the sources differ (-want +got):\n%s", diff)
	}
	checkInbound(t, r)
	checkMetadata(t, r)
}

// checkInbound wants chains for captured pods, the black hole last.
func checkInbound(t *testing.T, r *envoyconfig.Resources) {
	t.Helper()
	for name, last := range map[string]string{
		envoyconfig.InboundListener:          envoyconfig.BlackHoleInboundChain,
		envoyconfig.InboundPlaintextListener: envoyconfig.BlackHoleInboundPlaintextChain,
	} {
		var chains []string
		for _, c := range find[*listenerv3.Listener](t, r.Listeners, name).FilterChains {
			chains = append(chains, c.Name)
		}
		if diff := gocmp.Diff([]string{"inbound_10.4.4.7", "inbound_10.4.4.19", last}, chains); diff != "" {
			t.Errorf("the chains of %s differ (-want +got):\n%s", name, diff)
		}
	}
}

// checkMetadata wants the sources described, the oldest where several share one.
func checkMetadata(t *testing.T, r *envoyconfig.Resources) {
	t.Helper()
	var m metadata.WorkloadMetadataResources
	if err := find[*corev3.TypedExtensionConfig](t, r.Extensions, envoyconfig.MetadataName).TypedConfig.UnmarshalTo(&m); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, w := range m.WorkloadMetadataResources {
		got = append(got, w.IpAddresses[0]+" "+w.InstanceName)
	}
	want := []string{"10.4.4.7 near", "10.4.4.19 sleep-5644bdc767-2dfg7", "10.168.15.222 old-host"}
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("the metadata differ (-want +got):\n%s", diff)
	}
}

// TestSecrets wants the oldest pod's certificate on outbound tunnels, each pod's
// own on inbound ones, and those of no other node.
func TestSecrets(t *testing.T) {
	r := build(t, func(s *mesh.Snapshot) {
		s.Workloads = append(s.Workloads,
			pod(nodeA, "sleep-young", "sleep", "10.4.4.30", 30),
			pod(nodeB, "sleep-far-and-older", "sleep", "10.4.3.30", 0),
			pod(nodeA, "out", "web", "10.4.4.8", 1, class(mesh.OptedOut)),
		)
	})
	oldest := sleepSA + "~sleep-5644bdc767-2dfg7~85c8c34e-7ae3-4d29-9582-0819e2b10c69"
	young := sleepSA + "~sleep-young~uid-of-sleep-young"
	want := []envoyconfig.SecretName{{Name: sleepSA, Identity: sleepSA}, {Name: oldest, Identity: sleepSA}, {Name: young, Identity: sleepSA}}
	if diff := gocmp.Diff(want, r.Secrets); diff != "" {
		t.Errorf("the secrets differ (-want +got):\n%s", diff)
	}
	cluster := find[*clusterv3.Cluster](t, r.Clusters, "outbound_tunnel_clus_"+sleepSA)
	up := unpack(t, cluster.TransportSocket, &tlsv3.UpstreamTlsContext{})
	if got := up.CommonTlsContext.TlsCertificateSdsSecretConfigs[0].Name; got != oldest {
		t.Errorf("the tunnel presents %q", got)
	}
	in := find[*listenerv3.Listener](t, r.Listeners, envoyconfig.InboundListener)
	down := unpack(t, in.FilterChains[1].TransportSocket, &tlsv3.DownstreamTlsContext{})
	if got := down.CommonTlsContext.TlsCertificateSdsSecretConfigs[0].Name; got != young {
		t.Errorf("the young pod's chain presents %q", got)
	}
}

// TestServices covers several ports, no name, no VIP and no endpoints.
func TestServices(t *testing.T) {
	r := build(t, func(s *mesh.Snapshot) {
		s.Services = append(s.Services,
			service("shop", "cart", "10.8.1.1", port("http", 80, "10.4.3.20:8080", "10.9.9.9:8080"), port("8080", 81)),
			service("shop", "unnamed", "10.8.1.2", port("", 8080)),
			service("shop", "headless", "", port("db", 5432, "10.4.3.20:5432")),
			service("shop", "udp-only", "10.8.1.3"),
		)
	})
	out := find[*listenerv3.Listener](t, r.Listeners, envoyconfig.OutboundListener)
	name := func(service string) string {
		return sleepSA + "_to_" + service + ".shop.svc.cluster.local_outbound_internal"
	}
	for _, service := range []string{"http_cart", "8080_cart", "_unnamed"} {
		if got := clusterOf(t, out, name(service)); got != name(service) {
			t.Errorf("the chain of %s leads to %q", service, got)
		}
	}
	// A headless service is called by its pods' addresses: no chain, as there is
	// no VIP, but a cluster as every service has.
	if got := clusterOf(t, out, name("db_headless")); got != "" {
		t.Errorf("there is a chain to a headless service: %q", got)
	}
	find[*clusterv3.Cluster](t, r.Clusters, name("db_headless"))

	endpoints := find[*endpointv3.ClusterLoadAssignment](t, r.Endpoints, name("http_cart")).Endpoints[0].LbEndpoints
	if internal := endpoints[0].GetEndpoint().Address.GetEnvoyInternalAddress(); internal.GetEndpointId() != "10.4.3.20:8080" || endpoints[0].LoadBalancingWeight != nil {
		t.Errorf("the endpoint in the mesh: %v", endpoints[0])
	}
	if plain := endpoints[1].GetEndpoint().Address.GetSocketAddress(); plain.GetAddress() != "10.9.9.9" || plain.GetPortValue() != 8080 || endpoints[1].LoadBalancingWeight.GetValue() != 1 {
		t.Errorf("the endpoint outside the mesh: %v", endpoints[1])
	}
	if none := find[*endpointv3.ClusterLoadAssignment](t, r.Endpoints, name("_unnamed")); len(none.Endpoints) != 0 {
		t.Errorf("endpoints of a service without any: %v", none)
	}
}

// TestEmptyNode builds for a node without pods of the mesh: everything passes
// through.
func TestEmptyNode(t *testing.T) {
	r := build(t, func(s *mesh.Snapshot) { s.Workloads, s.Services = nil, nil })
	out := find[*listenerv3.Listener](t, r.Listeners, envoyconfig.OutboundListener)
	if got := out.FilterChainMatcher.OnNoMatch.GetAction().GetName(); got != envoyconfig.PassthroughChain {
		t.Errorf("an unknown source goes to %q", got)
	}
}

// TestTrustDomain appears in identities and in what peers must show.
func TestTrustDomain(t *testing.T) {
	r := build(t, func(s *mesh.Snapshot) { s.TrustDomain = "example.org" })
	in := find[*listenerv3.Listener](t, r.Listeners, envoyconfig.InboundListener)
	down := unpack(t, in.FilterChains[0].TransportSocket, &tlsv3.DownstreamTlsContext{})
	//lint:ignore SA1019 the only field that the proxies of 2022 know
	names := down.CommonTlsContext.GetCombinedValidationContext().DefaultValidationContext.MatchSubjectAltNames
	if got := names[0].GetPrefix(); got != "spiffe://example.org/" {
		t.Errorf("peers must show %q", got)
	}
	if !strings.HasPrefix(r.Secrets[0].Identity, "spiffe://example.org/ns/") {
		t.Errorf("an identity is %q", r.Secrets[0].Identity)
	}
}

// TestRefused wants an error that names what is wrong, where a source let through
// what it should not have.
func TestRefused(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*mesh.Snapshot)
		want   string
	}{
		"unknown node": {func(s *mesh.Snapshot) { s.Nodes = nil }, "is not in the mesh"},
		"one pod IP":   {func(s *mesh.Snapshot) { s.Workloads[0].IP = s.Workloads[1].IP }, "have one address, 10.4.4.19"},
		"one VIP":      {func(s *mesh.Snapshot) { s.Services[0].VIP = s.Services[1].VIP }, "have one address, 10.8.4.10"},
		"VIP of a pod": {func(s *mesh.Snapshot) { s.Services[0].VIP = s.Workloads[0].IP }, "has the address of a pod, 10.4.3.20"},
		"service twice": {func(s *mesh.Snapshot) {
			s.Services = append(s.Services, service("default", "sleep", "", port("http", 81)))
		}, "sleep.default.svc.cluster.local_outbound_internal\": the name is used twice"},
	} {
		t.Run(name, func(t *testing.T) {
			s := articleMesh()
			c.change(s)
			r, err := envoyconfig.Build(s, envoyconfig.Options{Node: nodeA})
			if err == nil || r != nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
}
