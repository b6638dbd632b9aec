// SPDX-License-Identifier: Apache-2.0

package envoyconfig

import (
	"fmt"

	"github.com/ambient22/ambient22/internal/mesh"
)

// Builder makes one node's resources from one snapshot after the other. It is for
// one goroutine at a time.
//
// From a new snapshot it sorts out afresh what this node needs to know, which costs
// as much as there are workloads and services. That is compared with what the
// latest resources were made from, and only where it differs anything is built:
// the endpoints of a service port that has others, what belongs to an identity that
// came, the chains of all callers where there is another destination.
type Builder struct {
	options Options
	last    *edition // nil before the first
}

// NewBuilder returns a Builder for these options, whose ProxyID is that of the
// first build at most: Update brings it along.
func NewBuilder(o Options) *Builder { return &Builder{options: o} }

// Build makes everything that one node's ztunnel is served, from nothing. The error
// names what can't be built, and then nothing is returned.
func Build(s *mesh.Snapshot, o Options) (*Resources, error) {
	return NewBuilder(o).Update(s, o.ProxyID)
}

// Update makes the resources of a snapshot. What is the same as in the latest
// successful update is the same *Resource, and where nothing of a kind differs
// the same list; only another trust domain makes everything anew. An error says
// what can't be built, and changes nothing.
//
// What it returns is valid, because each form of a message has been validated and
// the names filled in have been checked, and consistent, because every name is
// written from the same list as what it names.
func (b *Builder) Update(s *mesh.Snapshot, proxyID string) (*Resources, error) {
	o := b.options
	o.ProxyID = proxyID
	next, err := b.next(s, o)
	if err != nil {
		return nil, fmt.Errorf("building resources: %w", err)
	}
	next.resources.prove()
	b.last = next
	return next.resources, nil
}

func (b *Builder) next(s *mesh.Snapshot, o Options) (*edition, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	v, err := newView(s, o.Node)
	if err != nil {
		return nil, err
	}
	m, err := newMaker(b.last, v, o)
	if err != nil {
		return nil, err
	}
	if err := inTurn(m.listeners, m.clusters, m.endpoints, m.extension); err != nil {
		return nil, err
	}
	m.lists()
	return m.next, nil
}

func (m *maker) listeners() error {
	return inTurn(m.tunnelListeners, m.inbound, m.outbound)
}

func (m *maker) clusters() error {
	return inTurn(m.staticClusters, m.tunnelClusters, m.serviceClusters)
}

// endpoints also makes the clusters of waypoints, which are never without.
func (m *maker) endpoints() error {
	return inTurn(m.serviceEndpoints, m.waypoints)
}

// inTurn stops at the first step that fails.
func inTurn(steps ...func() error) error {
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}
