// SPDX-License-Identifier: Apache-2.0

package envoyconfig

import (
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	routerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
)

// inboundHCM takes HTTP/2 CONNECT requests and turns each into a connection to
// the address its header names (listing 19).
func (b *builder) inboundHCM() []*listenerv3.Filter {
	const connect = "CONNECT"
	hcm := &hcmv3.HttpConnectionManager{
		StatPrefix: "inbound_hcm",
		RouteSpecifier: &hcmv3.HttpConnectionManager_RouteConfig{RouteConfig: &routev3.RouteConfiguration{
			Name:         "local_route",
			VirtualHosts: []*routev3.VirtualHost{{Name: "local_service", Domains: []string{"*"}, Routes: []*routev3.Route{connectRoute(connect)}}},
		}},
		HttpFilters: []*hcmv3.HttpFilter{{
			Name:       "envoy.filters.http.router",
			ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: b.any(&routerv3.Router{})},
		}},
		Http2ProtocolOptions: &corev3.Http2ProtocolOptions{AllowConnect: true},
		AccessLog:            b.accessLog(placeInboundHCM),
		UpgradeConfigs:       []*hcmv3.HttpConnectionManager_UpgradeConfig{{UpgradeType: connect}},
	}
	return []*listenerv3.Filter{networkFilter("envoy.filters.network.http_connection_manager", b.any(hcm))}
}

func connectRoute(connect string) *routev3.Route {
	return &routev3.Route{
		Match: &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_ConnectMatcher_{ConnectMatcher: &routev3.RouteMatch_ConnectMatcher{}}},
		Action: &routev3.Route_Route{Route: &routev3.RouteAction{
			ClusterSpecifier: &routev3.RouteAction_Cluster{Cluster: VirtualInboundCluster},
			UpgradeConfigs: []*routev3.RouteAction_UpgradeConfig{{
				UpgradeType:   connect,
				ConnectConfig: &routev3.RouteAction_UpgradeConfig_ConnectConfig{},
			}},
		}},
	}
}
