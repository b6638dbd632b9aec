// SPDX-License-Identifier: Apache-2.0

package envoyconfig

import (
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
	return b.onePolicy(rbacv3.RBAC_ALLOW, waypointPolicy, &rbacv3.Policy{
		Permissions: []*rbacv3.Permission{permissionAll(nil)},
		Principals:  []*rbacv3.Principal{principalAll([]*rbacv3.Principal{principalAny([]*rbacv3.Principal{authenticated(exactText(identity))})})},
	})
}

// strictPorts is what a pod takes only by mutual TLS.
type strictPorts struct {
	all   bool     // everything, and ports are exceptions
	ports []uint16 // those that differ, in order
}

func strictPortsOf(s *mesh.Snapshot, w *mesh.Workload) strictPorts {
	m := s.MTLSOf(w)
	strict := strictPorts{all: m.Mode == mesh.MTLSStrict, ports: slices.Sorted(maps.Keys(m.Ports))}
	strict.ports = slices.DeleteFunc(strict.ports, func(p uint16) bool { return (m.Ports[p] == mesh.MTLSStrict) == strict.all })
	return strict
}

// strictMTLS is the filter of a chain without TLS that turns away what a
// PeerAuthentication wants under mutual TLS: everything, or the ports that are
// strict where they differ; none where nothing is strict. It stands first.
func (b *builder) strictMTLS(strict strictPorts) []*listenerv3.Filter {
	if !strict.all && len(strict.ports) == 0 {
		return nil
	}
	var asked []*rbacv3.Permission
	if strict.all {
		asked = permissionLists(nil, nil, strict.ports, b.rules.port)
	} else {
		asked = permissionLists(nil, strict.ports, nil, b.rules.port)
	}
	return b.onePolicy(rbacv3.RBAC_DENY, strictMTLSPolicy, &rbacv3.Policy{
		Permissions: []*rbacv3.Permission{permissionAll(asked)},
		Principals:  []*rbacv3.Principal{principalAll(nil)},
	})
}

func (b *builder) onePolicy(action rbacv3.RBAC_Action, name string, p *rbacv3.Policy) []*listenerv3.Filter {
	return []*listenerv3.Filter{b.rulingFilter(ruling{enforced: &rbacv3.RBAC{
		Action: action, Policies: map[string]*rbacv3.Policy{name: p},
	}})}
}
