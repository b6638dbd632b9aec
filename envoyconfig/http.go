// SPDX-License-Identifier: Apache-2.0

package envoyconfig

import (
	"slices"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	routerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
)

// inboundHCM takes HTTP/2 CONNECT requests and turns each into a connection to
// the address its header names (listing 19), if the policies agree.
func (b *builder) inboundHCM(ip string, policies []*hcmv3.HttpFilter) []*listenerv3.Filter {
	const connect = "CONNECT"
	hcm := &hcmv3.HttpConnectionManager{
		StatPrefix: "inbound_hcm",
		RouteSpecifier: &hcmv3.HttpConnectionManager_RouteConfig{RouteConfig: &routev3.RouteConfiguration{
			Name:         "local_route",
			VirtualHosts: []*routev3.VirtualHost{{Name: "local_service", Domains: []string{"*"}, Routes: []*routev3.Route{b.connectRoute(connect, ip)}}},
		}},
		HttpFilters: append(slices.Clip(policies), &hcmv3.HttpFilter{
			Name:       "envoy.filters.http.router",
			ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: b.any(&routerv3.Router{})},
		}),
		Http2ProtocolOptions: &corev3.Http2ProtocolOptions{AllowConnect: true},
		AccessLog:            b.accessLog(placeInboundHCM),
		UpgradeConfigs:       []*hcmv3.HttpConnectionManager_UpgradeConfig{{UpgradeType: connect}},
	}
	return []*listenerv3.Filter{networkFilter("envoy.filters.network.http_connection_manager", b.any(hcm))}
}

// plainAddress is an address as everybody writes it. A port could also be written so
// that a policy does not recognise it, but the connection still goes there: 09080.
// A port above 65535 is none: the proxy would take the tunnel's own port for it.
const plainAddress = `[0-9.]+:([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])`

// ownAddress matches requests for a pod's own address, at any port.
func (b *builder) ownAddress(ip string) []*routev3.HeaderMatcher {
	target := func(m *matcherv3.StringMatcher) *routev3.HeaderMatcher {
		return &routev3.HeaderMatcher{
			Name:                 targetHeader(b.options.Dialect),
			HeaderMatchSpecifier: &routev3.HeaderMatcher_StringMatch{StringMatch: m},
		}
	}
	return []*routev3.HeaderMatcher{
		target(&matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Prefix{Prefix: ip + ":"}}),
		target(b.rules.regex(plainAddress)),
	}
}

// connectRoute takes requests for any address or, in the hardened profile, for the
// pod's own: what has no route is answered with 404.
func (b *builder) connectRoute(connect, ip string) *routev3.Route {
	match := &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_ConnectMatcher_{ConnectMatcher: &routev3.RouteMatch_ConnectMatcher{}}}
	if b.options.Profile == Hardened {
		match.Headers = b.ownAddress(ip)
	}
	return &routev3.Route{
		Match: match,
		Action: &routev3.Route_Route{Route: &routev3.RouteAction{
			ClusterSpecifier: &routev3.RouteAction_Cluster{Cluster: VirtualInboundCluster},
			UpgradeConfigs: []*routev3.RouteAction_UpgradeConfig{{
				UpgradeType:   connect,
				ConnectConfig: &routev3.RouteAction_UpgradeConfig_ConnectConfig{},
			}},
		}},
	}
}
