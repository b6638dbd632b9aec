// SPDX-License-Identifier: Apache-2.0

package envoyconfig

import (
	"github.com/ambient22/ambient22/envoyconfig/internal/wire"
)

// tunnelRows are the listeners and clusters that open tunnels.
type tunnelRows struct {
	listeners [][]*Resource // one row per form, for the mesh's identities
	clusters  [][]*Resource // one row per form, for this node's callers
}

// tunnelForms adds the forms of an identity's tunnels.
func (b *builder) tunnelForms(f *forms) error {
	c := anyCaller()
	for _, l := range b.tunnelListeners(c.identity) {
		form, err := b.form(l.Name, l, 1)
		if err != nil {
			return err
		}
		f.tunnelListeners = append(f.tunnelListeners, form)
	}
	for _, cluster := range b.tunnelClusters(c) {
		form, err := b.form(cluster.Name, cluster, 2)
		if err != nil {
			return err
		}
		f.tunnelClusters = append(f.tunnelClusters, form)
	}
	return nil
}

// tunnelListeners makes the internal listeners of each identity of the mesh.
func (m *maker) tunnelListeners() (err error) {
	now, old := &m.next.tunnels, &m.old.tunnels
	now.listeners, err = rows(m.next.forms.tunnelListeners, old.listeners, m.identities, m.next.order.identities)
	return err
}

// tunnelClusters makes the clusters that each caller opens tunnels by.
func (m *maker) tunnelClusters() (err error) {
	now, old := &m.next.tunnels, &m.old.tunnels
	now.clusters, err = rows(m.next.forms.tunnelClusters, old.clusters, m.certified, m.next.order.callers)
	return err
}

// rows makes one row per form.
func rows(forms []form, old [][]*Resource, c carried, callers []caller) ([][]*Resource, error) {
	var w wire.Writer
	all := make([][]*Resource, len(forms))
	for i, f := range forms {
		var was []*Resource
		if i < len(old) {
			was = old[i]
		}
		row, gaps := carryOver(c, was, len(callers))
		if err := fill(&w, f, row, gaps, callers, nil); err != nil {
			return nil, err
		}
		all[i] = row
	}
	return all, nil
}

// staticClusters makes the clusters that are the same in every mesh.
func (m *maker) staticClusters() error {
	if m.next.static = m.old.static; m.next.static != nil {
		return nil
	}
	for _, c := range m.leaf.staticClusters() {
		r, err := m.leaf.resource(c.Name, c)
		if err != nil {
			return err
		}
		m.next.static = append(m.next.static, r)
	}
	return nil
}

// extension makes the description of this node's workloads.
func (m *maker) extension() error {
	r := m.next.resources
	if m.leaf.options.Dialect == Upstream {
		return nil // has no listener filter that would ask for it
	}
	message := m.leaf.workloadMetadata()
	now, err := m.leaf.resource(message.Name, message)
	if err != nil {
		return err
	}
	if old := m.old.resources.Extensions; len(old) == 1 && kept(old[0], now) == old[0] {
		r.Extensions = old
		return nil
	}
	r.Extensions = []*Resource{now}
	return nil
}
