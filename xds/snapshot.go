// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/ambient22/ambient22/envoyconfig"
)

// snapshot is one state of everything that is served.
type snapshot struct {
	generation uint64 // counts up from 1
	taken      time.Time
	tables     [resourceKinds]table
	names      certificates
	// history is what the latest generations changed, oldest first, this
	// snapshot's own last.
	history []changes
}

// certificates are the names that secrets may be asked for.
type certificates struct {
	listed     []envoyconfig.SecretName
	identities map[string]string // by name: whose certificate it is
	generation uint64            // of the snapshot that brought them
}

// changes are the names that one generation added, changed or removed.
type changes [resourceKinds][]string

// Bounds of a snapshot's history. A stream that is further behind compares
// everything, which is never wrong, only slower.
const (
	historyGenerations = 64
	historyNames       = 50_000 // in all generations together
)

// newSnapshot checks r and makes the snapshot that follows old, which is nil for
// the first. It returns old itself where r brings nothing new.
func newSnapshot(old *snapshot, r *envoyconfig.Resources) (*snapshot, error) {
	if r == nil {
		return nil, fmt.Errorf("no resources at all")
	}
	first := old == nil
	if first {
		old = &snapshot{}
	}
	next := &snapshot{generation: old.generation + 1}
	var problems problems
	var changed changes
	proven := r.Proven()
	for k := range resourceKinds {
		list := resourcesOf(r, k)
		if !proven {
			list = problems.checked(k, &old.tables[k], list)
		}
		next.tables[k], changed[k] = old.tables[k].replace(list)
	}
	next.names = problems.certificates(old.names, r.Secrets, next.generation)
	if len(problems) == 0 {
		if err := r.Consistent(); err != nil {
			problems.add("checking that everything named exists: %w", err)
		}
	}
	if err := problems.err(); err != nil {
		return nil, err
	}
	if first {
		return next, nil
	}
	if changed.count() == 0 && next.names.generation == old.names.generation {
		return old, nil
	}
	next.history = remember(old.history, changed)
	return next, nil
}

// certificates are those listed. Where they are the same as before, so is the map.
func (p *problems) certificates(old certificates, listed []envoyconfig.SecretName, generation uint64) certificates {
	if old.identities != nil && (sameList(old.listed, listed) || slices.Equal(old.listed, listed)) {
		return old
	}
	identities := make(map[string]string, 2*len(listed))
	p.names(identities, listed)
	if old.identities != nil && maps.Equal(old.identities, identities) {
		return old
	}
	return certificates{listed: slices.Clone(listed), identities: identities, generation: generation}
}

// resourcesOf picks one kind out of a set.
func resourcesOf(r *envoyconfig.Resources, k kind) []*envoyconfig.Resource {
	return [resourceKinds][]*envoyconfig.Resource{
		clusters:   r.Clusters,
		endpoints:  r.Endpoints,
		listeners:  r.Listeners,
		extensions: r.Extensions,
	}[k]
}

// remember is the history with one more generation, cut to its bound.
func remember(history []changes, latest changes) []changes {
	all := append(slices.Clone(history), latest)
	total := 0
	for i := len(all) - 1; i >= 0; i-- {
		total += all[i].count()
		if total > historyNames || len(all)-i > historyGenerations {
			return slices.Clone(all[i+1:])
		}
	}
	return all
}

func (c *changes) count() int {
	n := 0
	for _, names := range c {
		n += len(names)
	}
	return n
}

// changedSince lists the names of a kind that may differ from an earlier
// generation, with repetitions, or reports that it doesn't know.
func (s *snapshot) changedSince(k kind, generation uint64) (names []string, known bool) {
	behind := s.generation - generation
	if generation == 0 || behind > uint64(len(s.history)) {
		return nil, false
	}
	for _, c := range s.history[uint64(len(s.history))-behind:] {
		names = append(names, c[k]...)
	}
	return names, true
}
