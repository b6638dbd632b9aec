// SPDX-License-Identifier: Apache-2.0

package config

import (
	"strings"
	"testing"

	matcherv3 "github.com/cncf/xds/go/xds/type/matcher/v3"
	xdstypev3 "github.com/cncf/xds/go/xds/type/v3"
	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	filelogv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/file/v3"
	echov3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/echo/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tcpproxyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// find is the message of that name.
func find[T interface{ GetName() string }](t testing.TB, list []T, name string) T {
	t.Helper()
	for _, m := range list {
		if m.GetName() == name {
			return m
		}
	}
	t.Fatalf("%s is not in the article", name)
	panic("unreachable")
}

// edit changes a packed message in place.
func edit[T proto.Message](t testing.TB, a *anypb.Any, f func(T)) {
	t.Helper()
	m, err := a.UnmarshalNew()
	if err != nil {
		t.Fatal(err)
	}
	f(m.(T))
	if err := a.MarshalFrom(m); err != nil {
		t.Fatal(err)
	}
}

func wantRefusal(t *testing.T, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("was accepted")
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error %q does not name %q", err, w)
		}
	}
}

func TestRefusedListeners(t *testing.T) {
	type L = *listenerv3.Listener
	hcm := func(t *testing.T, l L, f func(*hcmv3.HttpConnectionManager)) {
		edit(t, l.FilterChains[1].Filters[0].GetTypedConfig(), f)
	}
	tcp := func(t *testing.T, l L, f func(*tcpproxyv3.TcpProxy)) {
		edit(t, l.FilterChains[0].Filters[0].GetTypedConfig(), f)
	}
	tls := func(t *testing.T, l L, f func(*tlsv3.DownstreamTlsContext)) {
		edit(t, l.FilterChains[1].TransportSocket.GetTypedConfig(), f)
	}
	for name, tc := range map[string]struct {
		listener string
		change   func(t *testing.T, l L)
		want     []string
	}{
		"unsupported field": {"ztunnel_inbound", func(t *testing.T, l L) { l.TcpBacklogSize = wrapperspb.UInt32(5) }, []string{"tcp_backlog_size", "not supported"}},
		"unsupported network filter": {"ztunnel_inbound", func(t *testing.T, l L) {
			f := &listenerv3.Filter{Name: "echo", ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: pack(t, &echov3.Echo{})}}
			l.FilterChains[1].Filters = append([]*listenerv3.Filter{f}, l.FilterChains[1].Filters...)
		}, []string{"filter_chains[1].filters[0].typed_config", "envoy.extensions.filters.network.echo.v3.Echo"}},
		"type without definition": {"ztunnel_inbound", func(t *testing.T, l L) {
			l.FilterChains[0].Filters[0].GetTypedConfig().TypeUrl = "type.googleapis.com/nobody.knows.This"
		}, []string{"filter_chains[0].filters[0].typed_config", "nobody.knows.This"}},
		"unknown wire field": {"ztunnel_inbound", func(t *testing.T, l L) {
			l.FilterChains[1].ProtoReflect().SetUnknown([]byte{0xf8, 0x7f, 0x01})
		}, []string{"filter_chains[1]", "unknown field number 2047"}},
		"unknown enum value":     {"ztunnel_inbound", func(t *testing.T, l L) { l.SocketOptions[0].State = 77 }, []string{"socket_options[0].state", "77"}},
		"unsupported enum value": {"ztunnel_inbound", func(t *testing.T, l L) { l.SocketOptions[0].State = corev3.SocketOption_STATE_BOUND }, []string{"socket_options[0].state", "STATE_BOUND"}},
		"UDP": {"ztunnel_inbound", func(t *testing.T, l L) {
			l.GetAddress().GetSocketAddress().Protocol = corev3.SocketAddress_UDP
		}, []string{"address.socket_address.protocol", "UDP"}},
		"IPv6": {"ztunnel_inbound", func(t *testing.T, l L) { l.GetAddress().GetSocketAddress().Address = "::" }, []string{"address.socket_address", "not IPv4"}},
		"field of a packed filter": {"ztunnel_inbound", func(t *testing.T, l L) {
			tcp(t, l, func(p *tcpproxyv3.TcpProxy) { p.IdleTimeout = durationpb.New(1) })
		}, []string{"filter_chains[0].filters[0].typed_config.idle_timeout"}},
		"weighted clusters": {"ztunnel_inbound", func(t *testing.T, l L) {
			tcp(t, l, func(p *tcpproxyv3.TcpProxy) {
				p.ClusterSpecifier = &tcpproxyv3.TcpProxy_WeightedClusters{WeightedClusters: &tcpproxyv3.TcpProxy_WeightedCluster{
					Clusters: []*tcpproxyv3.TcpProxy_WeightedCluster_ClusterWeight{{Name: "x", Weight: 1}}}}
			})
		}, []string{"weighted_clusters"}},
		"log to a file": {"ztunnel_inbound", func(t *testing.T, l L) {
			edit(t, l.AccessLog[0].GetTypedConfig(), func(f *filelogv3.FileAccessLog) { f.Path = "/tmp/log" })
		}, []string{"access_log[0].typed_config.path", "/tmp/log"}},
		"log filter": {"ztunnel_inbound", func(t *testing.T, l L) {
			l.AccessLog[0].Filter = &accesslogv3.AccessLogFilter{FilterSpecifier: &accesslogv3.AccessLogFilter_NotHealthCheckFilter{NotHealthCheckFilter: &accesslogv3.NotHealthCheckFilter{}}}
		}, []string{"access_log[0].filter"}},
		"second HTTP filter": {"ztunnel_inbound", func(t *testing.T, l L) {
			hcm(t, l, func(h *hcmv3.HttpConnectionManager) { h.HttpFilters = append(h.HttpFilters, h.HttpFilters[0]) })
		}, []string{"http_filters[1]", "behind the router"}},
		"route timeout": {"ztunnel_inbound", func(t *testing.T, l L) {
			hcm(t, l, func(h *hcmv3.HttpConnectionManager) {
				h.GetRouteConfig().VirtualHosts[0].Routes[0].GetRoute().Timeout = durationpb.New(0)
			})
		}, []string{"route_config.virtual_hosts[0].routes[0].route.timeout"}},
		"domain": {"ztunnel_inbound", func(t *testing.T, l L) {
			hcm(t, l, func(h *hcmv3.HttpConnectionManager) { h.GetRouteConfig().VirtualHosts[0].Domains = []string{"a.b"} })
		}, []string{"virtual_hosts[0].domains[0]", "a.b"}},
		"no allow_connect": {"ztunnel_inbound", func(t *testing.T, l L) {
			hcm(t, l, func(h *hcmv3.HttpConnectionManager) { h.Http2ProtocolOptions.AllowConnect = false })
		}, []string{"allow_connect"}},
		"TLS 1.2": {"ztunnel_inbound", func(t *testing.T, l L) {
			tls(t, l, func(c *tlsv3.DownstreamTlsContext) {
				c.CommonTlsContext.TlsParams.TlsMinimumProtocolVersion = tlsv3.TlsParameters_TLSv1_2
			})
		}, []string{"transport_socket.typed_config.common_tls_context.tls_params.tls_minimum_protocol_version", "TLSv1_2"}},
		"no TLS version": {"ztunnel_inbound", func(t *testing.T, l L) {
			tls(t, l, func(c *tlsv3.DownstreamTlsContext) { c.CommonTlsContext.TlsParams = nil })
		}, []string{"tls_minimum_protocol_version"}},
		"ALPN": {"ztunnel_inbound", func(t *testing.T, l L) {
			tls(t, l, func(c *tlsv3.DownstreamTlsContext) { c.CommonTlsContext.AlpnProtocols = []string{"h2", "http/1.1"} })
		}, []string{"alpn_protocols[1]", "http/1.1"}},
		"SDS from nowhere": {"ztunnel_inbound", func(t *testing.T, l L) {
			tls(t, l, func(c *tlsv3.DownstreamTlsContext) {
				c.CommonTlsContext.TlsCertificateSdsSecretConfigs[0].SdsConfig.GetApiConfigSource().GrpcServices[0].GetEnvoyGrpc().ClusterName = "other"
			})
		}, []string{"tls_certificate_sds_secret_configs[0]", `"other"`}},
		"SAN by regular expression": {"ztunnel_inbound", func(t *testing.T, l L) {
			tls(t, l, func(c *tlsv3.DownstreamTlsContext) {
				c.CommonTlsContext.GetCombinedValidationContext().DefaultValidationContext.VerifyCertificateHash = []string{strings.Repeat("ab", 32)}
			})
		}, []string{"default_validation_context.verify_certificate_hash"}},
		"no router": {"ztunnel_inbound", func(t *testing.T, l L) {
			hcm(t, l, func(h *hcmv3.HttpConnectionManager) { h.HttpFilters = nil })
		}, []string{"http_filters", "no router"}},
		"no terminal filter": {"ztunnel_inbound", func(t *testing.T, l L) { l.FilterChains[1].Filters = nil }, []string{"filter_chains[1]", "filters: there is no terminal"}},
		"filter behind a terminal one": {"ztunnel_inbound", func(t *testing.T, l L) {
			l.FilterChains[1].Filters = append(l.FilterChains[1].Filters, l.FilterChains[0].Filters[0])
		}, []string{"filter_chains[1]", "filters[1]: stands behind a terminal filter"}},
		"route by method": {"ztunnel_inbound", func(t *testing.T, l L) {
			hcm(t, l, func(h *hcmv3.HttpConnectionManager) {
				h.GetRouteConfig().VirtualHosts[0].Routes[0].Match.Headers = []*routev3.HeaderMatcher{{
					Name: "x", HeaderMatchSpecifier: &routev3.HeaderMatcher_RangeMatch{RangeMatch: &typev3.Int64Range{End: 1}}}}
			})
		}, []string{"route_config.virtual_hosts[0].routes[0].match.headers[0].range_match"}},
		"same prefix twice": {"ztunnel_inbound", func(t *testing.T, l L) {
			l.FilterChains = append(l.FilterChains, l.FilterChains[1])
		}, []string{"filter_chains[2].filter_chain_match.prefix_ranges[0]", "10.4.4.19/32"}},
		"match by SNI": {"ztunnel_inbound", func(t *testing.T, l L) {
			l.FilterChains[1].FilterChainMatch.ServerNames = []string{"a"}
		}, []string{"filter_chains[1].filter_chain_match.server_names"}},
		"listener filter": {"ztunnel_inbound", func(t *testing.T, l L) {
			l.ListenerFilters[0].GetTypedConfig().TypeUrl = "type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector"
		}, []string{"listener_filters[0].typed_config", "TlsInspector"}},
		"discovery of another type": {"ztunnel_outbound", func(t *testing.T, l L) {
			l.ListenerFilters[2].GetConfigDiscovery().TypeUrls = []string{"type.googleapis.com/a.B"}
		}, []string{"listener_filters[2]", "type_urls", "a.B"}},
		"chain called twice": {"ztunnel_outbound", func(t *testing.T, l L) {
			l.FilterChains = append(l.FilterChains, l.FilterChains[0])
		}, []string{"name", "PassthroughFilterChain"}},
		"prefix beside the matcher": {"ztunnel_outbound", func(t *testing.T, l L) {
			l.FilterChains[0].FilterChainMatch = &listenerv3.FilterChainMatch{PrefixRanges: []*corev3.CidrRange{{AddressPrefix: "1.1.1.1", PrefixLen: wrapperspb.UInt32(32)}}}
		}, []string{"filter_chains[0]", "filter_chain_match"}},
		"matcher key": {"ztunnel_outbound", func(t *testing.T, l L) {
			m := l.FilterChainMatcher.GetMatcherTree().GetExactMatchMap().Map
			m["015001"] = m["15001"]
		}, []string{"filter_chain_matcher", `map["015001"]`}},
		"matcher list": {"ztunnel_outbound", func(t *testing.T, l L) {
			l.FilterChainMatcher.MatcherType = &matcherv3.Matcher_MatcherList_{MatcherList: &matcherv3.Matcher_MatcherList{}}
		}, []string{"filter_chain_matcher.matcher_list"}},
		"matcher input": {"ztunnel_outbound", func(t *testing.T, l L) {
			l.FilterChainMatcher.GetMatcherTree().Input.TypedConfig.TypeUrl = "type.googleapis.com/envoy.extensions.matching.common_inputs.network.v3.SourcePortInput"
		}, []string{"matcher_tree.input.typed_config", "SourcePortInput"}},
		"set_dst_address with content": {"outbound_tunnel_lis_" + sleep, func(t *testing.T, l L) {
			edit(t, l.ListenerFilters[0].GetTypedConfig(), func(s *xdstypev3.TypedStruct) {
				s.Value = &structpb.Struct{Fields: map[string]*structpb.Value{"a": structpb.NewBoolValue(true)}}
			})
		}, []string{"listener_filters[0].typed_config.value", "empty"}},
		"another TypedStruct": {"outbound_tunnel_lis_" + sleep, func(t *testing.T, l L) {
			edit(t, l.ListenerFilters[0].GetTypedConfig(), func(s *xdstypev3.TypedStruct) { s.TypeUrl = "type.googleapis.com/a.B" })
		}, []string{"listener_filters[0].typed_config.type_url", "a.B"}},
		"internal listener that hands over": {"outbound_tunnel_lis_" + sleep, func(t *testing.T, l L) {
			l.UseOriginalDst = wrapperspb.Bool(true)
		}, []string{"use_original_dst", "internal"}},
		"TLS inside": {"outbound_tunnel_lis_" + sleep, func(t *testing.T, l L) {
			l.FilterChains[0].TransportSocket = find(t, article(t, "a").Listeners, "ztunnel_inbound").FilterChains[1].TransportSocket
		}, []string{"transport_socket", "internal listener"}},
		"HTTP inside": {"outbound_tunnel_lis_" + sleep, func(t *testing.T, l L) {
			l.FilterChains[0].Filters = find(t, article(t, "a").Listeners, "ztunnel_inbound").FilterChains[1].Filters
		}, []string{"HTTP connection manager", "internal listener"}},
		"tunnel with POST": {"outbound_tunnel_lis_" + sleep, func(t *testing.T, l L) {
			tcp(t, l, func(p *tcpproxyv3.TcpProxy) { p.TunnelingConfig.UsePost = true })
		}, []string{"tunneling_config.use_post"}},
	} {
		t.Run(name, func(t *testing.T) {
			l := find(t, article(t, "a").Listeners, tc.listener)
			tc.change(t, l)
			_, err := NewDecoder("sds-grpc").Listener(pack(t, l))
			wantRefusal(t, err, tc.want...)
		})
	}
}

func TestRefusedClusters(t *testing.T) {
	type C = *clusterv3.Cluster
	service := sleep + "_to_http_productpage.default.svc.cluster.local_outbound_internal"
	tunnel := "outbound_tunnel_clus_" + sleep
	for name, tc := range map[string]struct {
		cluster string
		change  func(t *testing.T, c C)
		want    []string
	}{
		"type": {"BlackHoleCluster", func(t *testing.T, c C) {
			c.ClusterDiscoveryType = &clusterv3.Cluster_Type{Type: clusterv3.Cluster_LOGICAL_DNS}
		}, []string{"type", "LOGICAL_DNS"}},
		"policy":             {service, func(t *testing.T, c C) { c.LbPolicy = clusterv3.Cluster_MAGLEV }, []string{"lb_policy", "MAGLEV"}},
		"policy of original": {tunnel, func(t *testing.T, c C) { c.LbPolicy = clusterv3.Cluster_ROUND_ROBIN }, []string{"lb_policy", "ORIGINAL_DST"}},
		"circuit breakers":   {tunnel, func(t *testing.T, c C) { c.CircuitBreakers = &clusterv3.CircuitBreakers{} }, []string{"circuit_breakers"}},
		"health checks":      {service, func(t *testing.T, c C) { c.OutlierDetection = &clusterv3.OutlierDetection{} }, []string{"outlier_detection"}},
		"port": {tunnel, func(t *testing.T, c C) {
			c.GetOriginalDstLbConfig().UpstreamPortOverride = wrapperspb.UInt32(65536)
		}, []string{"UpstreamPortOverride"}},
		"EDS by file": {service, func(t *testing.T, c C) {
			c.EdsClusterConfig.EdsConfig.ConfigSourceSpecifier = &corev3.ConfigSource_PathConfigSource{PathConfigSource: &corev3.PathConfigSource{Path: "/x"}}
		}, []string{"eds_cluster_config.eds_config.path_config_source"}},
		"negative timeout": {tunnel, func(t *testing.T, c C) { c.ConnectTimeout = durationpb.New(-1) }, []string{"ConnectTimeout"}},
		"inline certificate": {tunnel, func(t *testing.T, c C) {
			edit(t, c.TransportSocket.GetTypedConfig(), func(u *tlsv3.UpstreamTlsContext) {
				u.CommonTlsContext.TlsCertificates = []*tlsv3.TlsCertificate{{}}
			})
		}, []string{"transport_socket.typed_config.common_tls_context.tls_certificates"}},
		"matches beside HTTP/2": {tunnel, func(t *testing.T, c C) {
			c.TransportSocketMatches = find(t, article(t, "a").Clusters, service).TransportSocketMatches
		}, []string{"transport_socket_matches", "HTTP/2"}},
		"protocol options": {tunnel, func(t *testing.T, c C) {
			c.TypedExtensionProtocolOptions["other"] = pack(t, &clusterv3.Cluster{})
		}, []string{"typed_extension_protocol_options"}},
	} {
		t.Run(name, func(t *testing.T) {
			c := find(t, article(t, "a").Clusters, tc.cluster)
			tc.change(t, c)
			_, err := NewDecoder("sds-grpc").Cluster(pack(t, c))
			wantRefusal(t, err, tc.want...)
		})
	}
}

func TestRefusedEndpoints(t *testing.T) {
	type E = *endpointv3.LbEndpoint
	for name, tc := range map[string]struct {
		change func(e E)
		want   []string
	}{
		"no weight": {func(e E) { e.LoadBalancingWeight = wrapperspb.UInt32(0) }, []string{"LoadBalancingWeight"}},
		"health":    {func(e E) { e.HealthStatus = corev3.HealthStatus_DRAINING }, []string{"health_status", "DRAINING"}},
		"address": {func(e E) {
			e.GetEndpoint().GetAddress().GetEnvoyInternalAddress().EndpointId = ""
			e.GetEndpoint().Address.Address = &corev3.Address_Pipe{Pipe: &corev3.Pipe{Path: "/x"}}
		}, []string{"endpoint.address.pipe"}},
	} {
		t.Run(name, func(t *testing.T) {
			m := article(t, "a").Endpoints[0]
			tc.change(m.Endpoints[0].LbEndpoints[0])
			_, _, err := NewDecoder().Endpoints(pack(t, m))
			wantRefusal(t, err, tc.want...)
		})
	}
}

func TestRefusedSecretsAndExtensions(t *testing.T) {
	d := NewDecoder()
	_, err := d.Secret(pack(t, &tlsv3.Secret{Name: "x", Type: &tlsv3.Secret_SessionTicketKeys{}}))
	wantRefusal(t, err, "session_ticket_keys")
	_, err = d.Secret(pack(t, &tlsv3.Secret{Name: "x", Type: &tlsv3.Secret_TlsCertificate{TlsCertificate: &tlsv3.TlsCertificate{}}}))
	wantRefusal(t, err, "tls_certificate")
	_, err = d.Secret(pack(t, &clusterv3.Cluster{Name: "x"}))
	wantRefusal(t, err, "envoy.config.cluster.v3.Cluster")
	ext := article(t, "a").Extensions[0]
	ext.TypedConfig.Value = append(ext.TypedConfig.Value, 0x1a, 0x01, 'x')
	_, _, err = d.Extension(pack(t, ext))
	wantRefusal(t, err, "typed_config", "field number 3")
}

func TestWeights(t *testing.T) {
	one, two := wrapperspb.UInt32(1), wrapperspb.UInt32(2)
	for name, tc := range map[string]struct {
		weights []*wrapperspb.UInt32Value
		want    string
	}{
		"none":         {[]*wrapperspb.UInt32Value{nil, nil}, ""},
		"one and none": {[]*wrapperspb.UInt32Value{one, nil}, ""},
		"equal":        {[]*wrapperspb.UInt32Value{two, two}, ""},
		"different":    {[]*wrapperspb.UInt32Value{one, two}, "endpoints[0].lb_endpoints[1].load_balancing_weight: 2 beside 1"},
		"two and none": {[]*wrapperspb.UInt32Value{two, nil}, "endpoints[0].lb_endpoints[1].load_balancing_weight: 1 beside 2"},
	} {
		t.Run(name, func(t *testing.T) {
			m := article(t, "a").Endpoints[0]
			group := m.Endpoints[0]
			host := group.LbEndpoints[0]
			group.LbEndpoints = nil
			for _, w := range tc.weights {
				h := proto.CloneOf(host)
				h.LoadBalancingWeight = w
				group.LbEndpoints = append(group.LbEndpoints, h)
			}
			_, hosts, err := NewDecoder().Endpoints(pack(t, m))
			if tc.want != "" {
				wantRefusal(t, err, tc.want)
			} else if err != nil || len(hosts) != 2 {
				t.Errorf("hosts %v, %v", hosts, err)
			}
		})
	}
}
