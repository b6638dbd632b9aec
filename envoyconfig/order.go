// SPDX-License-Identifier: Apache-2.0

package envoyconfig

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/ambient22/ambient22/internal/mesh"
)

// order is what the names of clusters are made of, in the order in which the names
// sort: <identity>_to_<service port>. No identity with the separator is the
// beginning of another, so the identities' order comes first, and no two pairs
// have one name.
type order struct {
	identities []caller // of the mesh; those of this node with their certificate
	callers    []caller // of this node
	callerAt   []int    // for each identity where it is among the callers, -1 for nowhere
	ports      []servicePort
}

// servicePort is one port of a service and what its names have in common.
type servicePort struct {
	service *mesh.Service
	port    *mesh.ServicePort
	name    string
}

func newOrder(v *view) (order, error) {
	o := order{callers: slices.Clone(v.callers)}
	slices.SortFunc(o.callers, func(a, b caller) int { return compareCallers(a.identity, b.identity) })
	for _, identity := range slices.SortedFunc(slices.Values(v.identities), compareCallers) {
		o.identities = append(o.identities, caller{identity: identity})
	}
	for i := 1; i < len(o.identities); i++ {
		a, b := o.identities[i-1].identity, o.identities[i].identity
		if strings.HasPrefix(b, a+callerSeparator) {
			return order{}, fmt.Errorf("names of %q could be names of %q", a, b)
		}
	}
	for i := range o.identities {
		at, found := slices.BinarySearchFunc(o.callers, o.identities[i].identity, func(c caller, identity string) int {
			return compareCallers(c.identity, identity)
		})
		if !found {
			at = -1
		}
		o.callerAt = append(o.callerAt, at)
	}
	for _, s := range v.services {
		for i := range s.Ports {
			o.ports = append(o.ports, servicePort{service: s, port: &s.Ports[i], name: servicePortName(s, &s.Ports[i])})
		}
	}
	slices.SortFunc(o.ports, func(a, b servicePort) int { return cmp.Compare(a.name, b.name) })
	for i := 1; i < len(o.ports); i++ {
		if name := o.ports[i].name; name == o.ports[i-1].name {
			return order{}, fmt.Errorf("service port %q: the name is used twice", name)
		}
	}
	return o, nil
}

// compareCallers orders two identities as the names that begin with them sort.
func compareCallers(a, b string) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return cmp.Compare(a[n:]+callerSeparator, b[n:]+callerSeparator)
}
