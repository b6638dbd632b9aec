// SPDX-License-Identifier: Apache-2.0

package envoyconfig

import (
	"time"

	"github.com/ambient22/ambient22/internal/mesh"
)

// Took is how long the kinds took in one build. What all of them need is counted
// with the endpoints, of which least comes.
type Took struct{ Listeners, Clusters, Endpoints time.Duration }

// BuildTimed is Build with a watch.
func BuildTimed(s *mesh.Snapshot, o Options) (*Resources, Took, error) {
	var t Took
	v, err := newView(s, o.Node)
	if err != nil {
		return nil, t, err
	}
	m, err := newMaker(nil, v, o)
	if err != nil {
		return nil, t, err
	}
	for _, kind := range []struct {
		make func() error
		took *time.Duration
	}{{m.listeners, &t.Listeners}, {m.clusters, &t.Clusters}, {m.endpoints, &t.Endpoints}} {
		start := time.Now()
		if err := kind.make(); err != nil {
			return nil, t, err
		}
		*kind.took = time.Since(start)
	}
	if err := m.extension(); err != nil {
		return nil, t, err
	}
	m.lists()
	return m.next.resources, t, nil
}
