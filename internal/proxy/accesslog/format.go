// SPDX-License-Identifier: Apache-2.0

package accesslog

import (
	"fmt"
	"strconv"
	"strings"
)

// Format is a parsed format string. It is read-only and may be used by many
// goroutines.
type Format struct {
	parts []part
}

// part appends its piece of the text, and reports false if the entry lacks it.
type part func(dst []byte, e *Entry) ([]byte, bool)

// Parse reads a format string: text, and operators between percent signs, with
// "%%" for one percent sign. An operator has an argument in parentheses where it
// needs one, and those with an argument may be followed by ":N", which cuts
// their value after N bytes.
func Parse(format string) (*Format, error) {
	f := &Format{}
	for rest := format; rest != ""; {
		text, after, found := strings.Cut(rest, "%")
		if text != "" {
			f.parts = append(f.parts, literal(text))
		}
		if !found {
			break
		}
		if after, ok := strings.CutPrefix(after, "%"); ok {
			f.parts = append(f.parts, literal("%"))
			rest = after
			continue
		}
		op, n, err := scan(after)
		if err != nil {
			return nil, fmt.Errorf("parsing format at byte %d: %w", len(format)-len(after)-1, err)
		}
		p, err := op.compile()
		if err != nil {
			return nil, fmt.Errorf("parsing format at byte %d: %w", len(format)-len(after)-1, err)
		}
		f.parts = append(f.parts, p)
		rest = after[n:]
	}
	return f, nil
}

// Append appends the text for e to dst.
func (f *Format) Append(dst []byte, e *Entry) []byte {
	for _, p := range f.parts {
		start := len(dst)
		var ok bool
		if dst, ok = p(dst, e); !ok {
			dst = append(dst[:start], Missing...)
		}
	}
	return dst
}

func literal(text string) part {
	return func(dst []byte, _ *Entry) ([]byte, bool) { return append(dst, text...), true }
}

// operator is one operator as written.
type operator struct {
	name   string
	arg    string
	hasArg bool
	limit  int // bytes; -1 without
}

// scan reads an operator up to and including its closing percent sign, and
// returns how long it is. An argument may contain percent signs (time formats)
// and colons; it ends with the parenthesis before the closing percent sign.
func scan(s string) (operator, int, error) {
	op := operator{limit: -1}
	end := strings.IndexAny(s, "(:%")
	if end < 0 {
		return op, 0, fmt.Errorf("operator %q is not closed by %%", head(s))
	}
	op.name = s[:end]
	rest := s[end:]
	if rest[0] == '(' {
		length := argument(rest[1:])
		if length < 0 {
			return op, 0, fmt.Errorf("operator %q: argument is not closed by )", op.name)
		}
		op.arg, op.hasArg = rest[1:1+length], true
		rest = rest[length+2:]
	}
	suffix, _, closed := strings.Cut(rest, "%")
	if !closed {
		return op, 0, fmt.Errorf("operator %q is not closed by %%", op.name)
	}
	if suffix != "" {
		n, err := strconv.ParseUint(strings.TrimPrefix(suffix, ":"), 10, 31)
		if err != nil || suffix[0] != ':' {
			return op, 0, fmt.Errorf("operator %q: unexpected %q", op.name, suffix)
		}
		op.limit = int(n)
	}
	return op, len(s) - len(rest) + len(suffix) + 1, nil
}

// argument finds the end of an argument: the first parenthesis that a closing
// percent sign or a length limit follows.
func argument(s string) int {
	for i := range len(s) {
		if s[i] == ')' && i+1 < len(s) && (s[i+1] == '%' || s[i+1] == ':') {
			return i
		}
	}
	return strings.LastIndexByte(s, ')')
}

// head is the beginning of a text, short enough for an error.
func head(s string) string {
	if len(s) > 40 {
		return s[:40] + "..."
	}
	return s
}
