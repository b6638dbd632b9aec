// SPDX-License-Identifier: Apache-2.0

package noderoute

import (
	"fmt"
	"maps"
	"slices"

	"github.com/ambient22/ambient22/ipset"
)

// compare reads what the kernel has no events for and says what differs from the
// time before. What this Node wrote itself is told as well: somebody may have undone
// it before it was seen here, and then nothing differs.
func (w *watcher) compare() (Kinds, error) {
	if !w.node.interest.any() {
		w.set, w.tables, w.sysctls = nil, nil, nil
		return 0, nil
	}
	kinds := w.node.own.take()
	start := threadTime()
	set, err := w.query.sets.List(SetName)
	if err != nil {
		return 0, err
	}
	if !sameSet(set, w.set) {
		kinds |= Set
	}
	sysctls, err := readSysctls(w.node.interest.unannounced())
	if err != nil {
		return 0, err
	}
	if !maps.Equal(sysctls, w.sysctls) {
		kinds |= Sysctls
	}
	w.cost = threadTime() - start
	tables, err := w.query.legacyDigests(w.tables)
	if err != nil {
		return 0, fmt.Errorf("comparing legacy rules: %w", err)
	}
	if !maps.EqualFunc(tables, w.tables, (*legacyDigest).same) {
		kinds |= Chains
	}
	if len(tables) == 0 {
		kinds &^= Chains // the kernel announces those of nftables
	}
	w.set, w.tables, w.sysctls = set, tables, sysctls
	return kinds, nil
}

// sameSet compares all but the number of rules that refer to a set.
func sameSet(a, b *ipset.Listed) bool {
	if a == nil || b == nil {
		return a == b
	}
	return a.Type == b.Type && a.Family == b.Family && a.Comments == b.Comments && slices.Equal(a.Entries, b.Entries)
}
