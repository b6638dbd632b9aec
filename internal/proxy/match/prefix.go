// SPDX-License-Identifier: Apache-2.0

package match

import (
	"fmt"
	"net/netip"
	"slices"
)

// Prefixes maps destination prefixes to values of one kind; the longest prefix
// that contains the address wins. The zero Prefixes is empty.
type Prefixes[T any] struct {
	any     *T
	bits    []int // the lengths in use, longest first
	entries map[netip.Prefix]T
}

// Add maps p to v, and every address where p is the zero Prefix. The same
// prefix twice is an error.
func (t *Prefixes[T]) Add(p netip.Prefix, v T) error {
	if !p.IsValid() {
		if t.any != nil {
			return fmt.Errorf("two chains match every address")
		}
		t.any = &v
		return nil
	}
	p = p.Masked()
	if _, ok := t.entries[p]; ok {
		return fmt.Errorf("two chains match %s", p)
	}
	if t.entries == nil {
		t.entries = make(map[netip.Prefix]T)
	}
	t.entries[p] = v
	if i, ok := slices.BinarySearchFunc(t.bits, p.Bits(), func(a, b int) int { return b - a }); !ok {
		t.bits = slices.Insert(t.bits, i, p.Bits())
	}
	return nil
}

// Find is the value for addr.
func (t *Prefixes[T]) Find(addr netip.Addr) (v T, ok bool) {
	for _, bits := range t.bits {
		p, err := addr.Prefix(bits)
		if err != nil {
			continue
		}
		if v, ok := t.entries[p]; ok {
			return v, true
		}
	}
	if t.any != nil {
		return *t.any, true
	}
	return v, false
}
