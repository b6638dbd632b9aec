// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"fmt"

	adminv3 "github.com/envoyproxy/go-control-plane/envoy/admin/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/ambient22/ambient22/internal/proxy/state"
)

// routesDump is the route tables that stand inside active listeners. As in Envoy
// they count as static, whatever way their listener came, and there is one for
// every HTTP connection manager even where all are the same.
func routesDump(s *state.Snapshot, keep filter) (*adminv3.RoutesConfigDump, error) {
	out := &adminv3.RoutesConfigDump{}
	for _, r := range s.Listeners.Resources {
		if r.Active == nil || r.Active.Body == nil {
			continue
		}
		var l listenerv3.Listener
		if err := r.Active.Body.UnmarshalTo(&l); err != nil {
			return nil, fmt.Errorf("reading listener %s: %w", r.Name, err)
		}
		tables, err := inlineRoutes(&l)
		if err != nil {
			return nil, fmt.Errorf("reading listener %s: %w", r.Name, err)
		}
		for _, t := range tables {
			if !keep(t.GetName()) {
				continue
			}
			packed, err := anypb.New(t)
			if err != nil {
				return nil, fmt.Errorf("packing routes of listener %s: %w", r.Name, err)
			}
			out.StaticRouteConfigs = append(out.StaticRouteConfigs, &adminv3.RoutesConfigDump_StaticRouteConfig{
				RouteConfig: packed, LastUpdated: stamp(r.Active.Updated),
			})
		}
	}
	return out, nil
}

func inlineRoutes(l *listenerv3.Listener) ([]*routev3.RouteConfiguration, error) {
	var out []*routev3.RouteConfiguration
	chains := l.GetFilterChains()
	if l.GetDefaultFilterChain() != nil {
		chains = append(chains[:len(chains):len(chains)], l.GetDefaultFilterChain())
	}
	for _, chain := range chains {
		for _, f := range chain.GetFilters() {
			var hcm hcmv3.HttpConnectionManager
			if !f.GetTypedConfig().MessageIs(&hcm) {
				continue
			}
			if err := f.GetTypedConfig().UnmarshalTo(&hcm); err != nil {
				return nil, fmt.Errorf("reading filter %s of chain %s: %w", f.GetName(), chain.GetName(), err)
			}
			if table := hcm.GetRouteConfig(); table != nil {
				out = append(out, table)
			}
		}
	}
	return out, nil
}
