// SPDX-License-Identifier: Apache-2.0

package envoyconfig

import (
	"github.com/ambient22/ambient22/envoyconfig/internal/wire"
)

// edition is what a Builder made of one snapshot: the resources by what they were
// made from, and as lists. It never changes once it is complete.
type edition struct {
	trustDomain string
	forms       *forms
	order       order
	static      []*Resource // clusters that every mesh has
	tunnels     tunnelRows
	ports       map[string]*portRows     // by servicePort.name
	waypoints   map[string]*waypointRows // by identity
	inbound     inboundListeners
	outbound    outboundListener
	clusters    layout
	endpoints   layout
	resources   *Resources
}

// forms are those that depend on the options and the trust domain alone.
type forms struct {
	service         form   // the cluster of a service port, which is bound to it
	tunnelListeners []form // of an identity
	tunnelClusters  []form // of a caller

	inbound, plaintext *wire.Template // around the chains of the pods
	outbound           *wire.Template // around the chains of the callers, and the sources
	source             *wire.Template // a source's address, around its ways
}

// maker makes the next edition from a view, with what it can use of the old one.
type maker struct {
	view      *view
	leaf      *builder // of typed messages
	old, next *edition

	// From the old edition to the next. Whether a caller has a waypoint matters to
	// bound only, and its certificate to certified.
	identities, callers, bound, certified carried
}

// newMaker begins an edition. old is nil for the first.
func newMaker(old *edition, v *view, o Options) (*maker, error) {
	if old == nil || old.trustDomain != v.snapshot.TrustDomain {
		old = &edition{resources: &Resources{}}
	}
	m := &maker{
		view: v,
		leaf: newBuilder(v, o),
		old:  old,
		next: &edition{trustDomain: v.snapshot.TrustDomain, forms: old.forms, resources: &Resources{}},
	}
	var err error
	if m.next.order, err = newOrder(v); err != nil {
		return nil, err
	}
	if m.next.forms == nil {
		if m.next.forms, err = m.leaf.forms(); err != nil {
			return nil, err
		}
	}
	sameIdentity := func(a, b caller) bool { return a.identity == b.identity }
	m.identities = carry(old.order.identities, m.next.order.identities, sameIdentity)
	m.callers = carry(old.order.callers, m.next.order.callers, sameIdentity)
	m.bound = carry(old.order.callers, m.next.order.callers, func(a, b caller) bool {
		return a.identity == b.identity && a.waypoint == b.waypoint
	})
	m.certified = carry(old.order.callers, m.next.order.callers, func(a, b caller) bool {
		return a.identity == b.identity && a.secret == b.secret
	})
	return m, nil
}

// kept is the old resource where the new one is the same.
func kept(old, now *Resource) *Resource {
	if old != nil && old.Name == now.Name && old.Version == now.Version {
		return old
	}
	return now
}
