// SPDX-License-Identifier: Apache-2.0

package envoyconfig

import (
	matcherv3 "github.com/cncf/xds/go/xds/type/matcher/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tcpproxyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	internalupstreamv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/internal_upstream/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/types/known/anypb"
)

// part checks the names inside a packed message.
func (c *checker) part(packed *anypb.Any) {
	if packed == nil || c.seen[packed.TypeUrl+"\x00"+string(packed.Value)] {
		return
	}
	c.seen[packed.TypeUrl+"\x00"+string(packed.Value)] = true
	m, err := packed.UnmarshalNew()
	if err != nil {
		c.complain("unpacking %s: %v", packed.TypeUrl, err)
		return
	}
	if err := validate(m); err != nil {
		c.complain("%v", err)
	}
	switch m := m.(type) {
	case *tcpproxyv3.TcpProxy:
		c.useCluster(m.GetCluster())
	case *hcmv3.HttpConnectionManager:
		for _, host := range m.GetRouteConfig().GetVirtualHosts() {
			for _, route := range host.GetRoutes() {
				c.useCluster(route.GetRoute().GetCluster())
			}
		}
	case *internalupstreamv3.InternalUpstreamTransport:
		c.part(m.GetTransportSocket().GetTypedConfig())
	case *tlsv3.UpstreamTlsContext:
		c.tls(m.GetCommonTlsContext())
	case *tlsv3.DownstreamTlsContext:
		c.tls(m.GetCommonTlsContext())
	}
}

func (c *checker) tls(t *tlsv3.CommonTlsContext) {
	for _, s := range t.GetTlsCertificateSdsSecretConfigs() {
		c.secret(s)
	}
	if s := t.GetCombinedValidationContext().GetValidationContextSdsSecretConfig(); s != nil {
		c.secret(s)
	}
}

func (c *checker) secret(s *tlsv3.SdsSecretConfig) {
	if !c.secrets[s.Name] {
		c.complain("asks for secret %q, which this ztunnel is not given", s.Name)
	}
	c.source(s.GetSdsConfig())
}

func (c *checker) source(s *corev3.ConfigSource) {
	for _, service := range s.GetApiConfigSource().GetGrpcServices() {
		c.useCluster(service.GetEnvoyGrpc().GetClusterName())
	}
}

// actionNames visits the names of a matcher tree's actions.
func actionNames(m *matcherv3.Matcher, visit func(string)) {
	if m == nil {
		return
	}
	for _, branch := range m.GetMatcherTree().GetExactMatchMap().GetMap() {
		branchNames(branch, visit)
	}
	branchNames(m.OnNoMatch, visit)
}

func branchNames(m *matcherv3.Matcher_OnMatch, visit func(string)) {
	if m == nil {
		return
	}
	if action := m.GetAction(); action != nil {
		visit(action.Name)
	}
	actionNames(m.GetMatcher(), visit)
}
