// SPDX-License-Identifier: Apache-2.0

package envoyconfig

import (
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/ambient22/ambient22/envoyconfig/internal/wire"
)

// A row is one form's resources for a list of callers, in the order of that list.
// When the list changes, a row is carried over: what was made for a caller that is
// still there is taken from the old row.

// carried says for each caller of a list where it stood in an earlier one, -1 for
// nowhere. It is nil where both are the same.
type carried []int

// carry compares two lists of callers in which no identity stands twice.
func carry(old, now []caller, same func(a, b caller) bool) carried {
	if slices.EqualFunc(old, now, same) {
		return nil
	}
	stood := make(map[string]int, len(old))
	for i := range old {
		stood[old[i].identity] = i
	}
	c := make(carried, len(now))
	for i := range now {
		at, ok := stood[now[i].identity]
		if !ok || !same(old[at], now[i]) {
			at = -1
		}
		c[i] = at
	}
	return c
}

// carryOver is the old row as the new list has it, with gaps, and which these are.
// Where there is no old row, it is all gaps.
func carryOver[E any](c carried, old []E, size int) (row []E, gaps []int) {
	if c == nil && len(old) == size {
		return old, nil
	}
	row = make([]E, size)
	for i := range row {
		if c != nil && c[i] >= 0 && c[i] < len(old) {
			row[i] = old[c[i]]
		} else {
			gaps = append(gaps, i)
		}
	}
	return row, gaps
}

// fill makes what is missing in a row. twins is a row of the same names, or nil.
func fill(w *wire.Writer, f form, row []*Resource, gaps []int, callers []caller, twins []*Resource) error {
	if len(gaps) == 0 {
		return nil
	}
	for _, i := range gaps {
		f.write(w, &callers[i])
	}
	pieces, err := w.Finish()
	if err != nil {
		return err
	}
	var names []string
	if twins == nil {
		names = f.names(callers, gaps)
	} else {
		for _, i := range gaps {
			names = append(names, twins[i].Name)
		}
	}
	for n, r := range finish(f.typeURL, names, pieces) {
		row[gaps[n]] = r
	}
	return nil
}

// each does n pieces of work that don't depend on each other on all processors,
// and returns the error of the first that failed.
func each(n int, work func(w *wire.Writer, i int) error) error {
	failed := make([]error, n)
	var next atomic.Int64
	var workers sync.WaitGroup
	for range min(n, runtime.GOMAXPROCS(0)) {
		workers.Go(func() {
			var w wire.Writer
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				failed[i] = work(&w, i)
			}
		})
	}
	workers.Wait()
	for _, err := range failed {
		if err != nil {
			return err
		}
	}
	return nil
}
