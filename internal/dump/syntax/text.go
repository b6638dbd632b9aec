// SPDX-License-Identifier: Apache-2.0

package syntax

import (
	"fmt"
	"strings"
)

// Reader gives a text's lines one after the other. It copies nothing.
type Reader struct {
	File string // for errors; may be empty
	text string
	next int
	line int
}

// NewReader begins at the first line of text.
func NewReader(file, text string) *Reader { return &Reader{File: file, text: text} }

// Line is one line of a text.
type Line struct {
	Text   string // without the line's end
	Number int    // from 1
	Start  int    // offset of the line in the text
	End    int    // offset of the next line
	file   string
}

// Next is the next line; false after the last one.
func (r *Reader) Next() (Line, bool) {
	if r.next >= len(r.text) {
		return Line{}, false
	}
	l := Line{Number: r.line + 1, Start: r.next, file: r.File}
	if n := strings.IndexByte(r.text[r.next:], '\n'); n >= 0 {
		l.Text, l.End = r.text[r.next:r.next+n], r.next+n+1
	} else {
		l.Text, l.End = r.text[r.next:], len(r.text)
	}
	r.next, r.line = l.End, l.Number
	return l, true
}

// Peek is the next line without taking it.
func (r *Reader) Peek() (Line, bool) {
	ahead := *r
	return ahead.Next()
}

// Tail is the rest of the text if skip is true for all its lines, and empty otherwise.
// It is what follows a text's last record.
func (r *Reader) Tail(skip func(Line) bool) string {
	ahead := *r
	for {
		l, ok := ahead.Next()
		if !ok {
			return r.text[r.next:]
		}
		if !skip(l) {
			return ""
		}
	}
}

// Text is the lines from first to last, without the end of the last one.
func (r *Reader) Text(first, last Line) string {
	return r.text[first.Start : last.Start+len(last.Text)]
}

// Offset is where the next line begins.
func (r *Reader) Offset() int { return r.next }

// Blank tells that a line says nothing: it is empty, or a comment such as
// "# ..." or the "/* omit */" of a printed listing.
func (l Line) Blank() bool {
	s := strings.TrimLeft(l.Text, " \t\r")
	return s == "" || s[0] == '#' || strings.HasPrefix(s, "/*") && strings.HasSuffix(strings.TrimRight(s, " \t\r"), "*/")
}

// Trail is the blanks that end the line.
func (l Line) Trail() string {
	return l.Text[len(strings.TrimRight(l.Text, " \t\r")):]
}

// Errorf is an error at an offset of the line.
func (l Line) Errorf(at int, format string, args ...any) *Error {
	return &Error{File: l.file, Line: l.Number, Column: min(at, len(l.Text)) + 1, Reason: fmt.Sprintf(format, args...)}
}

// Words reads a line's words, which blanks separate.
type Words struct {
	Line Line
	at   int
}

// Word is one word; its Text is empty behind the last one.
type Word struct {
	Text string
	At   int // offset in the line
}

// End is the offset behind the word.
func (w Word) End() int { return w.At + len(w.Text) }

// WordsOf begins at an offset of the line.
func WordsOf(l Line, at int) *Words { return &Words{Line: l, at: at} }

// Next takes the next word.
func (w *Words) Next() Word {
	s, i := w.Line.Text, w.at
	for i < len(s) && blank(s[i]) {
		i++
	}
	j := i
	for j < len(s) && !blank(s[j]) {
		j++
	}
	w.at = j
	return Word{Text: s[i:j], At: i}
}

// Peek is the next word without taking it.
func (w *Words) Peek() Word {
	ahead := *w
	return ahead.Next()
}

// At is the offset behind the last word taken.
func (w *Words) At() int { return w.at }

// Errorf is an error at a word.
func (w *Words) Errorf(at Word, format string, args ...any) *Error {
	return w.Line.Errorf(at.At, format, args...)
}

func blank(c byte) bool { return c == ' ' || c == '\t' || c == '\r' }
