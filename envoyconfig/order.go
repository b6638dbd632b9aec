// SPDX-License-Identifier: Apache-2.0

package envoyconfig

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/ambient22/ambient22/envoyconfig/internal/wire"
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
	port *mesh.ServicePort
	name string
}

func newOrder(v *view) (order, error) {
	o := order{callers: slices.Clone(v.callers)}
	slices.SortFunc(o.callers, func(a, b caller) int { return compareCallers(a.identity, b.identity) })
	for i := range v.waypoints {
		if err := writable(v.waypoints[i].identity); err != nil {
			return order{}, err
		}
	}
	if err := o.addIdentities(v); err != nil {
		return order{}, err
	}
	return o, o.addPorts(v)
}

func (o *order) addIdentities(v *view) error {
	before := ""
	for _, identity := range slices.SortedFunc(slices.Values(v.identities), compareCallers) {
		if err := writable(identity); err != nil {
			return err
		}
		if before != "" && strings.HasPrefix(identity, before+callerSeparator) {
			return fmt.Errorf("names of %q could be names of %q", before, identity)
		}
		before = identity
		at, found := slices.BinarySearchFunc(o.callers, identity, func(c caller, identity string) int {
			return compareCallers(c.identity, identity)
		})
		if !found {
			at = -1
		}
		o.identities = append(o.identities, caller{identity: identity})
		o.callerAt = append(o.callerAt, at)
	}
	return nil
}

func (o *order) addPorts(v *view) error {
	for _, s := range v.services {
		for i := range s.Ports {
			o.ports = append(o.ports, servicePort{port: &s.Ports[i], name: servicePortName(s, &s.Ports[i])})
		}
	}
	slices.SortFunc(o.ports, func(a, b servicePort) int { return cmp.Compare(a.name, b.name) })
	for i := range o.ports {
		name := o.ports[i].name
		if err := writable(name); err != nil {
			return err
		}
		if i > 0 && name == o.ports[i-1].name {
			return fmt.Errorf("service port %q: the name is used twice", name)
		}
	}
	return nil
}

// writable refuses a name that would be taken for a hole in a form.
func writable(name string) error {
	if wire.Marked(name) {
		return fmt.Errorf("the name %q has characters of Unicode's private use area", name)
	}
	return nil
}

// compareCallers orders two identities as the names that begin with them sort.
func compareCallers(a, b string) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return cmp.Compare(a[n:]+callerSeparator, b[n:]+callerSeparator)
}
