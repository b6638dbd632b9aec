// SPDX-License-Identifier: Apache-2.0

package envoyconfig

import (
	"slices"

	"github.com/ambient22/ambient22/internal/mesh"
)

// Builder makes one node's resources from one snapshot after the other. It is for
// one goroutine at a time.
type Builder struct {
	options Options
	last    *Resources // nil before the first
}

// NewBuilder returns a Builder for these options, whose ProxyID is that of the
// first build at most: Update brings it along.
func NewBuilder(o Options) *Builder { return &Builder{options: o} }

// Update makes the resources of a snapshot. What is the same as in the latest
// successful update is the same *Resource, and where nothing of a kind differs
// the same list. An error says what can't be built, and changes nothing.
func (b *Builder) Update(s *mesh.Snapshot, proxyID string) (*Resources, error) {
	o := b.options
	o.ProxyID = proxyID
	r, err := build(s, o)
	if err != nil {
		return nil, err
	}
	if b.last != nil {
		r.keep(b.last)
	}
	r.prove()
	b.last = r
	return r, nil
}

// keep replaces what is the same as in old by what is in old.
func (r *Resources) keep(old *Resources) {
	r.Listeners = keep(old.Listeners, r.Listeners)
	r.Clusters = keep(old.Clusters, r.Clusters)
	r.Endpoints = keep(old.Endpoints, r.Endpoints)
	r.Extensions = keep(old.Extensions, r.Extensions)
	if slices.Equal(old.Secrets, r.Secrets) {
		r.Secrets = old.Secrets
	}
}

// keep is the list with what old has already; both are sorted by name.
func keep(old, list []*Resource) []*Resource {
	rest := old
	kept := 0
	for i, r := range list {
		for len(rest) > 0 && rest[0].Name < r.Name {
			rest = rest[1:]
		}
		if len(rest) > 0 && rest[0].Name == r.Name && rest[0].Version == r.Version {
			list[i] = rest[0]
			kept++
		}
	}
	if kept == len(old) && kept == len(list) {
		return old
	}
	return list
}
