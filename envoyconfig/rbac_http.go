// SPDX-License-Identifier: Apache-2.0

package envoyconfig

import (
	"net/netip"

	rbacv3 "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	httprbacv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/rbac/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"

	"github.com/ambient22/ambient22/internal/mesh"
)

const httpRBACFilter = "envoy.filters.http.rbac"

// httpRBAC are the filters that enforce a pod's policies on each CONNECT request
// of its tunnels, in the order networkRBAC has. A port is held against the one
// that the request's targetHeader names, "<pod IP>:<port>": what is called is in
// the tunnel, and the tunnel's own port is always 15008. They stand before the
// router.
func (b *builder) httpRBAC(w *mesh.Workload, targetHeader string) []*hcmv3.HttpFilter {
	return b.policies.httpFilters(w, targetHeader)
}

func (f *policyFilters) httpFilters(w *mesh.Workload, targetHeader string) []*hcmv3.HttpFilter {
	set := f.setOf(w)
	key := targetHeader + " " + set.key
	if set.ports() {
		key += w.IP.String()
	}
	if filters, ok := f.http[key]; ok {
		return filters
	}
	rules := f.rules
	rules.targetHeader, rules.pod = targetHeader, w.IP
	var filters []*hcmv3.HttpFilter
	for _, r := range set.rulings(rules) {
		filters = append(filters, f.httpFilter(r))
	}
	f.http[key] = filters
	return filters
}

func (f *policyFilters) httpFilter(r ruling) *hcmv3.HttpFilter {
	return &hcmv3.HttpFilter{
		Name: httpRBACFilter,
		ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: f.packer.any(&httprbacv3.RBAC{
			Rules:                 r.enforced,
			ShadowRules:           r.shadow,
			ShadowRulesStatPrefix: r.shadowPrefix(),
		})},
	}
}

// ports reports whether any of the policies asks for a port.
func (s policySet) ports() bool {
	for _, policies := range [][]*mesh.AuthorizationPolicy{s.deny, s.allow} {
		for _, p := range policies {
			for i := range p.Rules {
				if onPorts(p.Rules[i].To) || onPorts(p.Rules[i].WhenCalled) {
					return true
				}
			}
		}
	}
	return false
}

func onPorts(operations []mesh.Operation) bool {
	for i := range operations {
		if len(operations[i].Ports) > 0 || len(operations[i].NotPorts) > 0 {
			return true
		}
	}
	return false
}

// target matches a request for one port of the pod.
func (w ruleWriter) target(port uint16) *rbacv3.Permission {
	return &rbacv3.Permission{Rule: &rbacv3.Permission_Header{Header: &routev3.HeaderMatcher{
		Name: w.targetHeader,
		HeaderMatchSpecifier: &routev3.HeaderMatcher_StringMatch{
			StringMatch: exactText(netip.AddrPortFrom(w.pod, port).String()),
		},
	}}}
}
