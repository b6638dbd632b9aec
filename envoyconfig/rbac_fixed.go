// SPDX-License-Identifier: Apache-2.0

package envoyconfig

import (
	"fmt"
	"maps"
	"slices"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	rbacv3 "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"

	"github.com/ambient22/ambient22/internal/mesh"
)

// Names of the policies that nobody wrote.
const (
	waypointPolicy   = "waypoint"
	strictMTLSPolicy = "mtls-strict"
)

// waypointRBAC is the filter of a pod whose service account has a waypoint: it
// lets in that waypoint alone, by its identity (a SPIFFE URI), because the
// policies have been enforced there.
func (b *builder) waypointRBAC(identity string) []*listenerv3.Filter {
	return b.policies.onePolicy(rbacv3.RBAC_ALLOW, waypointPolicy, &rbacv3.Policy{
		Permissions: []*rbacv3.Permission{permissionAll(nil)},
		Principals:  []*rbacv3.Principal{principalAll([]*rbacv3.Principal{principalAny([]*rbacv3.Principal{authenticated(exactText(identity))})})},
	})
}

// strictMTLS is the filter of a chain without TLS that turns away what a
// PeerAuthentication wants under mutual TLS: everything, or the ports that are
// strict where they differ; none where nothing is strict. It stands first.
func (b *builder) strictMTLS(w *mesh.Workload) []*listenerv3.Filter {
	return b.policies.strictFilters(w)
}

func (f *policyFilters) strictFilters(w *mesh.Workload) []*listenerv3.Filter {
	m := f.snapshot.MTLSOf(w)
	strict := m.Mode == mesh.MTLSStrict
	ports := slices.Sorted(maps.Keys(m.Ports))
	ports = slices.DeleteFunc(ports, func(p uint16) bool { return (m.Ports[p] == mesh.MTLSStrict) == strict })
	if !strict && len(ports) == 0 {
		return nil
	}
	key := fmt.Sprint(strict, ports)
	if filters, ok := f.strict[key]; ok {
		return filters
	}
	var asked []*rbacv3.Permission
	if strict {
		asked = permissionLists(nil, nil, ports, f.rules.port)
	} else {
		asked = permissionLists(nil, ports, nil, f.rules.port)
	}
	f.strict[key] = f.onePolicy(rbacv3.RBAC_DENY, strictMTLSPolicy, &rbacv3.Policy{
		Permissions: []*rbacv3.Permission{permissionAll(asked)},
		Principals:  []*rbacv3.Principal{principalAll(nil)},
	})
	return f.strict[key]
}

func (f *policyFilters) onePolicy(action rbacv3.RBAC_Action, name string, p *rbacv3.Policy) []*listenerv3.Filter {
	return []*listenerv3.Filter{f.networkFilter(ruling{enforced: &rbacv3.RBAC{
		Action: action, Policies: map[string]*rbacv3.Policy{name: p},
	}})}
}
