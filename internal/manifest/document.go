// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"bytes"
)

// document is one YAML document of a file.
type document struct {
	line  int // of the file, on which its first content stands; counted from 1
	start int // line on which the text begins
	text  []byte
}

// documents splits a file where YAML begins a new document, and leaves empty ones
// out. A YAML parser alone would read the first and pass over the rest in silence.
func documents(data []byte) []document {
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf")) // Windows editors' byte order mark
	var all []document
	start, line := 1, 0 // the document's first line, and the current one
	var text [][]byte
	flush := func() {
		if first := firstContent(text); first >= 0 {
			all = append(all, document{line: start + first, start: start, text: bytes.Join(text, nil)})
		}
		text = nil
	}
	for l := range bytes.Lines(data) {
		line++
		switch {
		case isMarker(l, "---"):
			flush()
			start, text = line, [][]byte{l}
		case isMarker(l, "..."):
			flush()
			start = line + 1
		default:
			text = append(text, l)
		}
	}
	flush()
	return all
}

// isMarker knows "---", which begins a document and may be followed by content,
// and "...", which ends one.
func isMarker(line []byte, marker string) bool {
	rest, ok := bytes.CutPrefix(line, []byte(marker))
	return ok && (len(rest) == 0 || bytes.IndexByte([]byte(" \t\r\n"), rest[0]) >= 0)
}

// firstContent finds the first line with content of an object, -1 where there is
// none: only empty lines, comments, markers and YAML directives.
func firstContent(lines [][]byte) int {
	for i, l := range lines {
		if isMarker(l, "---") {
			l = l[len("---"):]
		}
		l = bytes.TrimSpace(l)
		if len(l) > 0 && l[0] != '#' && l[0] != '%' {
			return i
		}
	}
	return -1
}
