// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/ambient22/ambient22/envoyconfig"
)

// entry is one resource as it is served. It never changes; a resource that stays
// the same keeps its entry from one snapshot to the next, and with it its bytes.
type entry struct {
	name    string
	version string
	typeURL string
	wire    envoyconfig.Wire // nil where a proxy says it has a version we never saw
	sum     sum
	early   bool // an internal listener: endpoints point to it
}

// sum is an entry's share in its type's version. Shares are added up, so that a
// type's version depends on what it holds and not on how it got there.
type sum [2]uint64

func (s *sum) add(o sum) { s[0] += o[0]; s[1] += o[1] }

// version is the sum of a whole type, as a version string.
func (s sum) version() string { return fmt.Sprintf("%016x%016x", s[0], s[1]) }

func newEntry(r *envoyconfig.Resource) *entry {
	h := sha256.New()
	fmt.Fprintf(h, "%d:%s%s", len(r.Name), r.Name, r.Version)
	digest := h.Sum(nil)
	return &entry{
		name: r.Name, version: r.Version, typeURL: r.Type, wire: r.Wire, early: r.Internal(),
		sum: sum{binary.BigEndian.Uint64(digest), binary.BigEndian.Uint64(digest[8:])},
	}
}

// table is everything of one kind, sorted by name.
type table struct {
	entries []*entry
	version string
}

// lookup is the entry of that name, or nil.
func (t *table) lookup(name string) *entry {
	i, found := slices.BinarySearchFunc(t.entries, name, func(e *entry, name string) int {
		return strings.Compare(e.name, name)
	})
	if !found {
		return nil
	}
	return t.entries[i]
}

// snapshot is one state of everything that is served.
type snapshot struct {
	generation uint64 // counts up from 1
	tables     [resourceKinds]table
	// identities says for every certificate name that may be asked for whose
	// certificate it is.
	identities map[string]string
	// history is what the latest generations changed, oldest first, this
	// snapshot's own last.
	history []changes
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
	next := &snapshot{generation: 1, identities: make(map[string]string, 2*len(r.Secrets))}
	var problems problems
	var changed changes
	for k := range resourceKinds {
		var before []*entry
		if old != nil {
			before = old.tables[k].entries
		}
		next.tables[k], changed[k] = problems.merge(k, before, resourcesOf(r, k))
	}
	problems.names(next.identities, r.Secrets)
	if len(problems) == 0 {
		if err := r.Consistent(); err != nil {
			problems.add("checking that everything named exists: %w", err)
		}
	}
	if err := problems.err(); err != nil {
		return nil, err
	}
	if old == nil {
		return next, nil
	}
	if changed.count() == 0 && maps.Equal(old.identities, next.identities) {
		return old, nil
	}
	next.generation = old.generation + 1
	next.history = remember(old.history, changed)
	return next, nil
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
