// SPDX-License-Identifier: Apache-2.0

package envoyconfig

import (
	rbacv3 "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	httprbacv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/rbac/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
)

const httpRBACFilter = "envoy.filters.http.rbac"

// httpRBAC are the filters that enforce a pod's policies on each CONNECT request
// of its tunnels, in the order networkRBAC has. A port is held against the one
// that the request names after the pod's address, "<pod IP>:<port>": what is called
// is in the tunnel, and the tunnel's own port is always 15008. They stand before
// the router.
func (b *builder) httpRBAC(s policySet, podIP string) []*hcmv3.HttpFilter {
	rules := b.rules
	rules.targetHeader, rules.podIP = targetHeader(b.options.Dialect), podIP
	var filters []*hcmv3.HttpFilter
	for _, r := range s.rulings(rules) {
		filters = append(filters, b.requestFilter(r))
	}
	return filters
}

func (b *builder) requestFilter(r ruling) *hcmv3.HttpFilter {
	return &hcmv3.HttpFilter{
		Name: httpRBACFilter,
		ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: b.any(&httprbacv3.RBAC{
			Rules:                 r.enforced,
			ShadowRules:           r.shadow,
			ShadowRulesStatPrefix: r.shadowPrefix(),
		})},
	}
}

// target matches a request for one port of the pod.
func (w ruleWriter) target(port uint16) *rbacv3.Permission {
	return &rbacv3.Permission{Rule: &rbacv3.Permission_Header{Header: &routev3.HeaderMatcher{
		Name: w.targetHeader,
		HeaderMatchSpecifier: &routev3.HeaderMatcher_StringMatch{
			StringMatch: exactText(hostPort(w.podIP, port)),
		},
	}}}
}
