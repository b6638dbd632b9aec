// SPDX-License-Identifier: Apache-2.0

// Package syntax has the error that every parser of a dump returns.
package syntax

import "fmt"

// Error says where a text cannot be read. Line and Column count from 1; Column
// counts bytes, as compilers do.
type Error struct {
	File   string // as the caller named it; may be empty
	Line   int
	Column int
	// Reason names what stands there and what would be right.
	Reason string
}

// Error is "file:line:column: reason", without the file where there is none.
func (e *Error) Error() string {
	if e.File == "" {
		return fmt.Sprintf("line %d, column %d: %s", e.Line, e.Column, e.Reason)
	}
	return fmt.Sprintf("%s:%d:%d: %s", e.File, e.Line, e.Column, e.Reason)
}
