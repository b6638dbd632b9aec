// SPDX-License-Identifier: Apache-2.0

package wire

import "strings"

// Marks are built from characters that Unicode leaves to private use, so no name
// in a mesh has them. All of them are equally long.
const (
	markStart  = "\uE022"
	markEnd    = "\uE023"
	holeKind   = 'h'
	spliceKind = 's'
	markRest   = 2 + len(markEnd) // bytes after the start: kind, digit, end
)

// maxMarks is how many holes, and how many splices, a message may have.
const maxMarks = 8

// Hole stands for the n-th string, counted from 0. It may be a field's value or a
// part of one, and may stand in several places.
func Hole(n int) string { return mark(holeKind, n) }

// Splice stands for the n-th list of pieces, counted from 0. It must be the whole
// value of a string field; the pieces then take the place of the message that has
// the field, its own tag and length included. So they must be complete fields, as
// Marshal makes of a message that has only these. In a map it must be the only key.
func Splice(n int) string { return mark(spliceKind, n) }

// Marked reports whether a text has what could be taken for a hole or a splice.
func Marked(text string) bool { return strings.Contains(text, markStart) }

func mark(kind byte, n int) string {
	return markStart + string([]byte{kind, '0' + byte(n)}) + markEnd
}

// number reads the rest of a mark.
func number(rest string) (n int, kind byte, ok bool) {
	if len(rest) < markRest || !strings.HasPrefix(rest[2:], markEnd) {
		return 0, 0, false
	}
	kind, n = rest[0], int(rest[1])-'0'
	return n, kind, (kind == holeKind || kind == spliceKind) && n >= 0 && n < maxMarks
}
