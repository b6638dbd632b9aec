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
	form      form // of the endpoints
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

// serviceClusters makes the clusters of every service port.
func (m *maker) serviceClusters() error {
	order := &m.next.order
	m.next.ports = make(map[string]*portRows, len(order.ports))
	for _, p := range order.ports {
		m.next.ports[p.name] = &portRows{}
	}
	return each(len(order.ports), func(w *wire.Writer, i int) error {
		p := order.ports[i]
		now := m.next.ports[p.name]
		var gaps []int
		now.clusters, gaps = carryOver(m.identities, m.old.portRows(p).clusters, len(order.identities))
		return fill(w, m.next.forms.service.bind(p.name), now.clusters, gaps, order.identities, nil)
	})
}

// serviceEndpoints makes the endpoints of every service port. They go by the names
// of the clusters.
func (m *maker) serviceEndpoints() error {
	order := &m.next.order
	return each(len(order.ports), func(w *wire.Writer, i int) error {
		p := order.ports[i]
		old, now := m.old.portRows(p), m.next.ports[p.name]
		now.reached = m.view.reached(p.port)
		var gaps []int
		if old.form.template != nil && slices.Equal(old.reached, now.reached) {
			now.form = old.form
			now.endpoints, gaps = carryOver(m.identities, old.endpoints, len(order.identities))
		} else {
			var err error
			if now.form, err = m.leaf.endpointsForm(p, now.reached); err != nil {
				return err
			}
			now.endpoints, gaps = carryOver[*Resource](nil, nil, len(order.identities))
		}
		return fill(w, now.form, now.endpoints, gaps, order.identities, now.clusters)
	})
}

// portRows are those of one service port, empty where it has none.
func (e *edition) portRows(p servicePort) *portRows {
	if rows := e.ports[p.name]; rows != nil {
		return rows
	}
	return &portRows{}
}
