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

// table is everything of one kind.
type table struct {
	list    []*envoyconfig.Resource // sorted by name, and shared with who made it
	sum     sum                     // of all in the list
	version string                  // the sum's
}

// sum is a resource's share in its type's version. Shares are added up, so that a
// type's version depends on what it holds and not on how it got there, and so that
// one resource's change costs no look at the others.
type sum [2]uint64

func (s *sum) add(o sum)      { s[0] += o[0]; s[1] += o[1] }
func (s *sum) subtract(o sum) { s[0] -= o[0]; s[1] -= o[1] }

// version is the sum of a whole type, as a version string.
func (s sum) version() string { return fmt.Sprintf("%016x%016x", s[0], s[1]) }

func share(r *envoyconfig.Resource) sum {
	b := make([]byte, 0, 512) // on the stack, for all names but the longest
	b = binary.AppendUvarint(b, uint64(len(r.Name)))
	b = append(append(b, r.Name...), r.Version...)
	digest := sha256.Sum256(b)
	return sum{binary.BigEndian.Uint64(digest[:]), binary.BigEndian.Uint64(digest[8:])}
}

// lookup is the resource of that name, or nil.
func (t *table) lookup(name string) *envoyconfig.Resource {
	i, found := slices.BinarySearchFunc(t.list, name, func(r *envoyconfig.Resource, name string) int {
		return strings.Compare(r.Name, name)
	})
	if !found {
		return nil
	}
	return t.list[i]
}

// lookupCost is how many steps along a table cost about as much as looking up one
// name.
const lookupCost = 16

// named are the resources of these names, sorted. Names that are not there are
// left out.
func (t *table) named(names map[string]struct{}) []*envoyconfig.Resource {
	var found []*envoyconfig.Resource
	if len(names) > len(t.list)/lookupCost {
		for _, r := range t.list {
			if _, ok := names[r.Name]; ok {
				found = append(found, r)
			}
		}
		return found
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if r := t.lookup(name); r != nil {
			found = append(found, r)
		}
	}
	return found
}

// merge is two sorted lists in one, what is in both once.
func merge(a, b []*envoyconfig.Resource) []*envoyconfig.Resource {
	if len(a) == 0 {
		return b
	}
	if len(b) == 0 {
		return a
	}
	all := make([]*envoyconfig.Resource, 0, max(len(a), len(b)))
	for len(a) > 0 && len(b) > 0 {
		order := 0
		if a[0] != b[0] {
			order = strings.Compare(a[0].Name, b[0].Name)
		}
		if order <= 0 {
			all = append(all, a[0])
			a = a[1:]
		} else {
			all = append(all, b[0])
		}
		if order >= 0 {
			b = b[1:]
		}
	}
	return append(append(all, a...), b...)
}

// replace is the table that holds list, which is sorted, and the names it differs
// in. What did not change costs the comparison of two pointers.
func (t *table) replace(list []*envoyconfig.Resource) (table, []string) {
	if t.version != "" && sameList(t.list, list) {
		return *t, nil
	}
	next := table{list: list, sum: t.sum}
	var changed []string
	old := t.list
	for {
		same := 0
		for same < len(old) && same < len(list) && old[same] == list[same] {
			same++
		}
		old, list = old[same:], list[same:]
		if len(old)+len(list) == 0 {
			break
		}
		var was, is *envoyconfig.Resource
		if len(old) > 0 && (len(list) == 0 || old[0].Name <= list[0].Name) {
			was = old[0]
		}
		if len(list) > 0 && (len(old) == 0 || list[0].Name <= old[0].Name) {
			is = list[0]
		}
		if was != nil {
			next.sum.subtract(share(was))
			old = old[1:]
		}
		if is != nil {
			next.sum.add(share(is))
			list = list[1:]
		}
		switch {
		case is == nil:
			changed = append(changed, was.Name)
		case was == nil || was.Version != is.Version:
			changed = append(changed, is.Name)
		}
	}
	next.version = next.sum.version()
	return next, changed
}

// sameList reports whether two slices are one and the same piece of memory.
func sameList[E any](a, b []E) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}
