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

// documents splits a file at its "---" lines and leaves empty ones out.
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
		if !isSeparator(l) {
			text = append(text, l)
			continue
		}
		flush()
		start = line + 1
	}
	flush()
	return all
}

// isSeparator knows "---", alone or with a comment behind it.
func isSeparator(line []byte) bool {
	rest, ok := bytes.CutPrefix(line, []byte("---"))
	if !ok {
		return false
	}
	rest = bytes.TrimRight(rest, " \t\r\n")
	return len(rest) == 0 || (rest[0] == ' ' || rest[0] == '\t') && bytes.TrimLeft(rest, " \t")[0] == '#'
}

// firstContent finds the first line that is neither empty nor a comment, -1 where
// there is none.
func firstContent(lines [][]byte) int {
	for i, l := range lines {
		l = bytes.TrimSpace(l)
		if len(l) > 0 && l[0] != '#' && string(l) != "..." && l[0] != '%' {
			return i
		}
	}
	return -1
}
