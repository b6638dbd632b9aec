// SPDX-License-Identifier: Apache-2.0

package xds

import "github.com/ambient22/ambient22/envoyconfig"

// view is what the server serves of one kind at one moment. It lives for one
// step of one stream.
type view struct {
	kind             kind
	snap             *snapshot
	store            *secretStore
	secretGeneration uint64 // 0 for every kind but secrets

	// failed are the secrets that exist but could not be had.
	failed map[string]error
}

func newView(k kind, snap *snapshot, store *secretStore) *view {
	v := &view{kind: k, snap: snap, store: store}
	if k == secrets {
		v.secretGeneration = store.current()
	}
	return v
}

// lookup is what is served under a name, nil for nothing; false when that can't
// be said at the moment.
func (v *view) lookup(name string) (*envoyconfig.Resource, bool) {
	if v.kind != secrets {
		return v.table().lookup(name), true
	}
	e, err := v.store.get(v.snap, name)
	if err != nil {
		if v.failed == nil {
			v.failed = make(map[string]error)
		}
		v.failed[name] = err
		return nil, false
	}
	return e, true
}

// broken reports whether there are secrets that failed, rather than being on their
// way.
func (v *view) broken() bool {
	for _, err := range v.failed {
		if !onItsWay(err) {
			return true
		}
	}
	return false
}

// generation is when what the snapshot says of the kind last changed, at the
// earliest.
func (v *view) generation() uint64 {
	if v.kind == secrets {
		return v.snap.names.generation
	}
	return v.snap.generation
}

// table is the kind's resources; secrets have none, they are made when asked for.
func (v *view) table() *table {
	if v.kind == secrets {
		return &table{}
	}
	return &v.snap.tables[v.kind]
}

// changedSince lists what may differ from an earlier state, or reports that it
// doesn't know.
func (v *view) changedSince(generation uint64) ([]string, bool) {
	if v.kind == secrets {
		return nil, false // a node has few; comparing them costs nothing
	}
	return v.snap.changedSince(v.kind, generation)
}
