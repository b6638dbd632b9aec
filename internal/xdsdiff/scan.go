// SPDX-License-Identifier: Apache-2.0

package xdsdiff

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// scanner reads JSON as a stream. It finds where values begin and end; whether they
// are well-formed inside, the parser checks once they are taken out.
type scanner struct {
	in   io.Reader
	buf  []byte
	pos  int   // of the next byte in buf
	base int64 // offset of buf in the input
	line int   // lines before pos, counted from 1
	err  error // why buf is not refilled any more; io.EOF at the end

	keeping bool
	kept    []byte // what was read since keep
	from    int    // where in buf the part that is not yet in kept begins
}

const scanBuffer = 256 << 10

func newScanner(in io.Reader) *scanner {
	return &scanner{in: in, buf: make([]byte, 0, scanBuffer), line: 1}
}

func (s *scanner) offset() int64 { return s.base + int64(s.pos) }

// fault is an error at the present position.
func (s *scanner) fault(why string) error {
	return &placed{offset: s.offset(), line: s.line, err: errors.New(why)}
}

// placed is an error at a place of a file.
type placed struct {
	offset int64
	line   int
	err    error
}

func (e *placed) Error() string { return fmt.Sprintf("line %d (byte %d): %v", e.line, e.offset, e.err) }
func (e *placed) Unwrap() error { return e.err }

// keep collects what is read from here on.
func (s *scanner) keep() { s.keeping, s.kept, s.from = true, s.kept[:0], s.pos }

// take ends keep and returns what was read since, valid until the next keep.
func (s *scanner) take() []byte {
	s.kept = append(s.kept, s.buf[s.from:s.pos]...)
	s.keeping = false
	return s.kept
}

// fill reads the next part of the input, and reports whether there is one.
func (s *scanner) fill() bool {
	if s.err != nil {
		return false
	}
	if s.keeping {
		s.kept = append(s.kept, s.buf[s.from:]...)
		s.from = 0
	}
	s.base += int64(len(s.buf))
	var n int
	for n == 0 && s.err == nil {
		n, s.err = s.in.Read(s.buf[:cap(s.buf)])
	}
	s.buf, s.pos = s.buf[:n], 0
	return n > 0
}

// ended is the error for an input that stops too early.
func (s *scanner) ended() error {
	if s.err != nil && s.err != io.EOF {
		return fmt.Errorf("reading: %w", s.err)
	}
	return s.fault("the file ends in the middle of a JSON value")
}

// peek is the next byte that is no white space.
func (s *scanner) peek() (byte, error) {
	for {
		for s.pos < len(s.buf) {
			switch c := s.buf[s.pos]; c {
			case '\n':
				s.line++
				s.pos++
			case ' ', '\t', '\r':
				s.pos++
			default:
				return c, nil
			}
		}
		if !s.fill() {
			return 0, s.ended()
		}
	}
}

// end makes sure that nothing but white space follows.
func (s *scanner) end() error {
	if _, err := s.peek(); err == nil {
		return s.fault("something follows the JSON value; one file holds one value")
	}
	if s.err != io.EOF {
		return s.ended()
	}
	return nil
}

// expect passes one byte.
func (s *scanner) expect(c byte, what string) error {
	got, err := s.peek()
	if err != nil {
		return err
	}
	if got != c {
		return s.fault(fmt.Sprintf("%s should be here, not %q", what, got))
	}
	s.pos++
	return nil
}

// more passes the comma between two members of an object or array, or its end.
func (s *scanner) more(first bool, end byte) (bool, error) {
	c, err := s.peek()
	switch {
	case err != nil:
		return false, err
	case c == end:
		s.pos++
		return false, nil
	case first:
		return true, nil
	case c != ',':
		return false, s.fault(fmt.Sprintf("a comma or %c should be here, not %q", end, c))
	}
	s.pos++
	if c, err = s.peek(); err == nil && c == end {
		err = s.fault("something should follow the comma")
	}
	return err == nil, err
}

// key reads an object's key and the colon behind it.
func (s *scanner) key() (string, error) {
	if c, err := s.peek(); err != nil {
		return "", err
	} else if c != '"' {
		return "", s.fault(fmt.Sprintf("an object's key should be here, not %q", c))
	}
	key, err := s.str()
	if err != nil {
		return "", err
	}
	return key, s.expect(':', "a colon")
}

// str reads a short string, which the position is at.
func (s *scanner) str() (string, error) {
	var raw []byte
	at := placed{offset: s.offset(), line: s.line, err: errors.New("a broken string")}
	err := s.pass(func(part []byte) { raw = append(raw, part...) })
	if err != nil {
		return "", err
	}
	var out string
	if json.Unmarshal(raw, &out) != nil {
		return "", &at
	}
	return out, nil
}

// skip passes one value.
func (s *scanner) skip() error {
	if _, err := s.peek(); err != nil {
		return err
	}
	return s.pass(nil)
}

// pass passes the value at the position, and shows its text in parts to see. The
// text of a number or word goes to the next byte that ends one.
func (s *scanner) pass(see func([]byte)) error {
	var depth int
	var inString, escape, inWord bool
	for {
		from := s.pos
		done := false
		for s.pos < len(s.buf) && !done {
			c := s.buf[s.pos]
			if inString {
				if !escape && c != '"' && c != '\\' {
					s.pos += plain(s.buf[s.pos:])
					continue
				}
				s.pos++
				inString = escape || c != '"'
				escape = !escape && c == '\\'
				done = !inString && depth == 0
				continue
			}
			switch c {
			case '"':
				inString = true
			case '{', '[':
				depth++
			case '}', ']':
				if depth == 0 {
					if !inWord {
						return s.fault(fmt.Sprintf("a value should be here, not %q", c))
					}
					s.pos--
				} else {
					depth--
				}
				done = depth == 0
			case '\n':
				if inWord && depth == 0 {
					s.pos--
					done = true
				} else {
					s.line++
				}
			case ',', ':', ' ', '\t', '\r':
				if depth == 0 {
					if !inWord {
						return s.fault(fmt.Sprintf("a value should be here, not %q", c))
					}
					s.pos--
					done = true
				}
			default:
				inWord = depth == 0
			}
			s.pos++
		}
		if see != nil {
			see(s.buf[from:s.pos])
		}
		if done {
			return nil
		}
		if !s.fill() {
			if inWord && s.err == io.EOF {
				return nil
			}
			return s.ended()
		}
	}
}

// plain is how much of a string's inside needs no look at single bytes. A line
// break is no valid part of it, which the parser will say.
func plain(part []byte) int {
	i := bytes.IndexByte(part, '"')
	if i < 0 {
		i = len(part)
	}
	if j := bytes.IndexByte(part[:i], '\\'); j >= 0 {
		i = j
	}
	return i
}

// keptSoFar is what was read since keep.
func (s *scanner) keptSoFar() []byte {
	if !s.keeping {
		return nil
	}
	s.kept = append(s.kept, s.buf[s.from:s.pos]...)
	s.from = s.pos
	return s.kept
}

// byteOrderMark passes the mark that some editors put before UTF-8.
func (s *scanner) byteOrderMark() {
	if s.fill() && bytes.HasPrefix(s.buf, []byte("\xef\xbb\xbf")) {
		s.pos = 3
	}
}

// readError is why the input can't be read, nil where it just ends.
func (s *scanner) readError() error {
	if s.err == io.EOF {
		return nil
	}
	return s.err
}
