// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"cmp"
	"slices"
	"strconv"

	"github.com/ambient22/ambient22/internal/kube"
)

// Error is one fault in a manifest.
type Error struct {
	File   string // path as it can be opened; the folder for what stands in no file
	Line   int    // where the object begins, 0 where there is none
	Object string // "Pod default/sleep", "" where it could not be read so far
	Err    error  // field, what is wrong, and a way out; wraps a kube.Problem where it is one
}

// Error is file, line, object and fault in one line.
func (e *Error) Error() string {
	text := e.File
	if e.Line > 0 {
		text += ":" + strconv.Itoa(e.Line)
	}
	if e.Object != "" {
		text += ": " + e.Object
	}
	return text + ": " + e.Err.Error()
}

// Unwrap is the fault itself.
func (e *Error) Unwrap() error { return e.Err }

// detail is a problem that does not repeat the object it is in.
type detail struct{ kube.Problem }

func (d detail) Error() string { return d.Detail() }

func (d detail) Unwrap() error { return d.Problem }

func sortFaults(faults []*Error) {
	slices.SortStableFunc(faults, func(a, b *Error) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Error(), b.Error()))
	})
}
