// SPDX-License-Identifier: Apache-2.0

package config

import (
	"net/netip"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/ambient22/ambient22/internal/proxy/proxytest"
)

func article(t testing.TB, node string) *proxytest.Resources {
	t.Helper()
	r, err := proxytest.Article(node)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func pack(t testing.TB, m proto.Message) *anypb.Any {
	t.Helper()
	a, err := anypb.New(m)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

const sleep = "spiffe://cluster.local/ns/default/sa/sleep"

var anywhere = netip.MustParseAddrPort("10.4.4.19:40000")

func listeners(t *testing.T, node string) map[string]*Listener {
	t.Helper()
	out := make(map[string]*Listener)
	for _, m := range article(t, node).Listeners {
		l, err := NewDecoder("sds-grpc").Listener(pack(t, m))
		if err != nil {
			t.Fatalf("listener %s: %v", m.GetName(), err)
		}
		out[l.Name] = l
	}
	return out
}

func TestArticleOutboundListener(t *testing.T) {
	l := listeners(t, "a")["ztunnel_outbound"]
	if l.Addr != netip.MustParseAddrPort("0.0.0.0:15001") || !l.Transparent || !l.UseOriginalDst {
		t.Errorf("address %v, transparent %v, use_original_dst %v", l.Addr, l.Transparent, l.UseOriginalDst)
	}
	if len(l.SocketOptions) != 1 || l.SocketOptions[0].Level != 1 || l.SocketOptions[0].Name != 36 || l.SocketOptions[0].Value != 1025 {
		t.Errorf("socket options %v", l.SocketOptions)
	}
	want := []ListenerFilter{
		{Kind: OriginalDst}, {Kind: OriginalSrc, Mark: 1234},
		{Kind: WorkloadMetadata, Discovery: ExtensionRef{Name: "envoy.filters.listener.workload_metadata", Timeout: 30 * time.Second}},
	}
	for i := range want {
		if l.Filters[i] != want[i] {
			t.Errorf("filter %d is %+v, want %+v", i, l.Filters[i], want[i])
		}
	}
	for dst, chain := range map[string]string{
		"10.8.14.226:9080": sleep + "_to_http_productpage.default.svc.cluster.local_outbound_internal",
		"10.4.3.20:80":     sleep + "_to_10.4.3.20",
		"10.8.14.226:81":   "PassthroughFilterChain",
		"1.1.1.1:443":      "PassthroughFilterChain",
	} {
		got := l.FindChain(netip.MustParseAddrPort("10.4.4.19:40000"), netip.MustParseAddrPort(dst))
		if got == nil || got.Name != chain {
			t.Errorf("%s: chain %+v, want %s", dst, got, chain)
		}
	}
	// The article's matcher names a chain that its listener does not have.
	if got := l.FindChain(netip.MustParseAddrPort("10.4.4.19:40000"), netip.MustParseAddrPort("10.4.3.20:15001")); got != nil {
		t.Errorf("chain for port 15001 is %+v", got)
	}
}

func TestArticleInboundListener(t *testing.T) {
	l := listeners(t, "b")["ztunnel_inbound"]
	c := l.FindChain(netip.MustParseAddrPort("10.4.4.18:40000"), netip.MustParseAddrPort("10.4.3.20:15008"))
	if c == nil || c.Name != "inbound_10.4.3.20" || c.HTTP == nil || c.HTTP.Route.Cluster != "virtual_inbound" {
		t.Fatalf("chain %+v", c)
	}
	if c.TLS.RequireClientCert || c.TLS.Validation == nil || c.TLS.Validation.Roots.Name != "ROOTCA" || c.TLS.Validation.Roots.Timeout != 0 {
		t.Errorf("TLS %+v", c.TLS)
	}
	if !c.TLS.Validation.Match([]string{sleep}) || c.TLS.Validation.Match([]string{"spiffe://other/ns/default/sa/sleep"}) {
		t.Error("SAN prefix is not honoured")
	}
	if len(l.Secrets()) != 2 {
		t.Errorf("secrets %+v", l.Secrets())
	}
	c = l.FindChain(netip.MustParseAddrPort("10.4.4.18:40000"), netip.MustParseAddrPort("10.4.3.99:15008"))
	if c == nil || c.Name != "blackhole inbound" {
		t.Errorf("chain for an unknown pod is %+v", c)
	}
}

func TestArticleTunnelListener(t *testing.T) {
	l := listeners(t, "a")["outbound_tunnel_lis_"+sleep]
	if !l.Internal() || len(l.Filters) != 1 || l.Filters[0].Kind != SetDstAddress {
		t.Fatalf("listener %+v", l)
	}
	c := l.FindChain(netip.AddrPort{}, netip.AddrPort{})
	if c.TCP.Cluster != "outbound_tunnel_clus_"+sleep || c.TCP.Tunnel.Headers[0].Name != "x-envoy-original-dst-host" {
		t.Errorf("chain %+v", c.TCP)
	}
}

func TestArticleClustersAndEndpoints(t *testing.T) {
	d := NewDecoder("sds-grpc")
	clusters := make(map[string]*Cluster)
	for _, m := range article(t, "a").Clusters {
		c, err := d.Cluster(pack(t, m))
		if err != nil {
			t.Fatalf("cluster %s: %v", m.GetName(), err)
		}
		clusters[c.Name] = c
	}
	c := clusters["outbound_pod_local_tunnel_clus_"+sleep]
	if c.Type != ToOriginDst || c.DstHeader != DefaultOriginalDstHeader || c.PortOverride != 15088 || c.ConnectTimeout != 2*time.Second || c.HTTP2 == nil || c.Socket.TLS.Certificate == nil {
		t.Errorf("cluster %+v", c)
	}
	service := clusters[sleep+"_to_http_productpage.default.svc.cluster.local_outbound_internal"]
	for _, m := range article(t, "a").Endpoints {
		name, hosts, err := d.Endpoints(pack(t, m))
		if err != nil || len(hosts) != 1 {
			t.Fatalf("endpoints %s: %v, %v", name, hosts, err)
		}
		if name != service.EDSName {
			continue
		}
		s := service.SocketFor(&hosts[0])
		if len(s.Passthrough) != 2 || hosts[0].String() != "envoy://outbound_tunnel_lis_"+sleep+"/10.4.3.20:9080" {
			t.Errorf("host %s over %+v", &hosts[0], s)
		}
		if s := service.SocketFor(&Host{}); s.Passthrough != nil {
			t.Errorf("a host without metadata goes over %+v", s)
		}
	}
}

func TestArticleWorkloads(t *testing.T) {
	for _, m := range article(t, "b").Extensions {
		name, w, err := NewDecoder().Extension(pack(t, m))
		if err != nil || name != "envoy.filters.listener.workload_metadata" {
			t.Fatal(name, err)
		}
		got := w.ByIP(netip.MustParseAddr("10.4.3.20")).Baggage("Kubernetes")
		want := "k8s.cluster.name=Kubernetes,k8s.namespace.name=default,k8s.deployment.name=productpage-v1,service.name=productpage,service.version=v1"
		if got != want {
			t.Errorf("baggage %q", got)
		}
	}
}
