// SPDX-License-Identifier: Apache-2.0

// Package syntax has the error that every parser of a dump returns.
package syntax

import (
	"fmt"
	"strings"
)

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

// Within tells whether the error's place is in the text: a line that it has, and a
// column up to the one behind the line's last byte.
func (e *Error) Within(text string) bool {
	lines := strings.Split(text, "\n")
	return e.Line >= 1 && e.Line <= len(lines) && e.Column >= 1 && e.Column <= len(lines[e.Line-1])+1
}
