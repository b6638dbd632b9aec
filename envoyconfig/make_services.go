// SPDX-License-Identifier: Apache-2.0

package envoyconfig

import (
	"slices"

	"github.com/ambient22/ambient22/envoyconfig/internal/wire"
)

// portRows are cluster and endpoints of one service port for every identity of the
// mesh. 2022 had them for identities of other nodes too, which nobody here calls.
type portRows struct {
	reached   []reach // what the endpoints are made from
	clusters  []*Resource
	endpoints []*Resource
}

// serviceForm is the cluster of any service port, whose name is the second hole.
func (b *builder) serviceForm() (form, error) {
	name := fromCaller(wire.Hole(0), wire.Hole(1))
	return b.form(name, b.serviceCluster(name), 2)
}

// endpointsForm is what an identity's cluster for one service port balances over.
// Endpoints behind a tunnel are reached by a listener of that identity.
func (b *builder) endpointsForm(p servicePort, reached []reach) (form, error) {
	caller := wire.Hole(0)
	name := fromCaller(caller, p.name)
	var own packer // many of these are made at a time
	return own.form(name, b.endpoints(name, caller, b.targets(reached)), 1)
}

// servicePorts makes the rows of every service port.
func (m *maker) servicePorts() error {
	ports := m.next.order.ports
	all := make([]*portRows, len(ports))
	err := each(len(ports), func(w *wire.Writer, i int) error {
		var err error
		all[i], err = m.servicePort(w, ports[i])
		return err
	})
	if err != nil {
		return err
	}
	m.next.ports = make(map[string]*portRows, len(ports))
	for i, p := range ports {
		m.next.ports[p.name] = all[i]
	}
	return nil
}

func (m *maker) servicePort(w *wire.Writer, p servicePort) (*portRows, error) {
	identities := m.next.order.identities
	now := &portRows{reached: m.view.reached(p.port)}
	old := m.old.ports[p.name]
	if old == nil {
		old = &portRows{}
	}
	var gaps []int
	now.clusters, gaps = m.identities.row(old.clusters, len(identities))
	if err := fill(w, m.next.forms.service.bind(p.name), now.clusters, gaps, identities, nil); err != nil {
		return nil, err
	}
	was := old.endpoints
	if !slices.Equal(old.reached, now.reached) {
		was = nil
	}
	now.endpoints, gaps = m.identities.row(was, len(identities))
	if len(gaps) == 0 {
		return now, nil
	}
	f, err := m.leaf.endpointsForm(p, now.reached)
	if err != nil {
		return nil, err
	}
	return now, fill(w, f, now.endpoints, gaps, identities, now.clusters)
}
