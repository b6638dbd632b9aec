// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	httprbacv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/rbac/v3"
	routerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"

	"github.com/ambient22/ambient22/internal/proxy/accesslog"
	"github.com/ambient22/ambient22/internal/proxy/match"
	"github.com/ambient22/ambient22/internal/proxy/rbac"
)

// HTTP is an HTTP connection manager that knows CONNECT requests.
type HTTP struct {
	StatPrefix string
	RBAC       []*rbac.Filter // asked in this order about each request
	Route      Route
	HTTP2      HTTP2
	AccessLogs []*accesslog.Format
}

// Route is where CONNECT requests go.
type Route struct {
	Name    string
	Headers []match.Header // what a request must fulfil, all of them
	Cluster string
}

// Matches reports whether a CONNECT request takes the route.
func (r *Route) Matches(header func(name string) (string, bool)) bool {
	for _, fits := range r.Headers {
		if !fits(header) {
			return false
		}
	}
	return true
}

// HTTP2 are the limits of a connection; zero stands for the default.
type HTTP2 struct {
	MaxStreams, StreamWindow, ConnWindow uint32
}

func (c *chainDecoder) http(m *hcmv3.HttpConnectionManager) (*HTTP, error) {
	h := &HTTP{StatPrefix: m.GetStatPrefix(), HTTP2: http2Limits(m.GetHttp2ProtocolOptions())}
	if !m.GetHttp2ProtocolOptions().GetAllowConnect() {
		return nil, errors.New("http2_protocol_options.allow_connect: must be true")
	}
	if len(m.GetUpgradeConfigs()) != 1 {
		return nil, errors.New("upgrade_configs: must hold CONNECT")
	}
	var err error
	if h.RBAC, err = httpFilters(m.GetHttpFilters()); err != nil {
		return nil, err
	}
	if h.AccessLogs, err = c.accessLogs(m.GetAccessLog()); err != nil {
		return nil, err
	}
	if h.Route, err = route(m); err != nil {
		return nil, in(err, "route_config")
	}
	return h, nil
}

// httpFilters reads filters that judge requests, with the router behind them.
func httpFilters(filters []*hcmv3.HttpFilter) ([]*rbac.Filter, error) {
	var judges []*rbac.Filter
	for i, f := range filters {
		msg, err := f.GetTypedConfig().UnmarshalNew()
		if err != nil {
			return nil, in(err, "http_filters[%d].typed_config", i)
		}
		switch t := msg.(type) {
		case *httprbacv3.RBAC:
			judge, err := httpRBAC(t)
			if err != nil {
				return nil, in(err, "http_filters[%d].typed_config", i)
			}
			judges = append(judges, judge)
		case *routerv3.Router:
			if i != len(filters)-1 {
				return nil, fmt.Errorf("http_filters[%d]: stands behind the router", i+1)
			}
			return judges, nil
		default:
			return nil, fmt.Errorf("http_filters[%d].typed_config: type %q is not supported here", i, f.GetTypedConfig().GetTypeUrl())
		}
	}
	return nil, errors.New("http_filters: there is no router")
}

func route(m *hcmv3.HttpConnectionManager) (Route, error) {
	hosts := m.GetRouteConfig().GetVirtualHosts()
	if len(hosts) != 1 || len(hosts[0].GetRoutes()) != 1 {
		return Route{}, errors.New("virtual_hosts: exactly one with exactly one route is supported")
	}
	r := hosts[0].GetRoutes()[0]
	if r.GetMatch().GetConnectMatcher() == nil {
		return Route{}, errors.New("virtual_hosts[0].routes[0].match: only connect_matcher is supported")
	}
	headers, err := headers(r.GetMatch().GetHeaders())
	if err != nil {
		return Route{}, in(err, "virtual_hosts[0].routes[0].match")
	}
	up := r.GetRoute().GetUpgradeConfigs()
	if len(up) != 1 || up[0].GetConnectConfig() == nil {
		return Route{}, errors.New("virtual_hosts[0].routes[0].route.upgrade_configs: must hold CONNECT with a connect_config")
	}
	if r.GetRoute().GetCluster() == "" {
		return Route{}, errors.New("virtual_hosts[0].routes[0].route.cluster: is missing")
	}
	return Route{Name: r.GetName(), Headers: headers, Cluster: r.GetRoute().GetCluster()}, nil
}

func http2Limits(m *corev3.Http2ProtocolOptions) HTTP2 {
	return HTTP2{
		MaxStreams:   m.GetMaxConcurrentStreams().GetValue(),
		StreamWindow: m.GetInitialStreamWindowSize().GetValue(),
		ConnWindow:   m.GetInitialConnectionWindowSize().GetValue(),
	}
}
