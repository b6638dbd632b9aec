// SPDX-License-Identifier: Apache-2.0

package accesslog

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// envoyTime is how START_TIME without an argument prints, always in UTC.
const envoyTime = "2006-01-02T15:04:05.000Z"

// startTime is START_TIME or START_TIME(FORMAT).
func (op operator) startTime() (part, error) {
	if op.limit >= 0 {
		return nil, fmt.Errorf("operator %q takes no length", op.name)
	}
	if op.arg == "" {
		return clock(func(dst []byte, t time.Time) []byte { return t.AppendFormat(dst, envoyTime) }), nil
	}
	pieces, err := parseTime(op.arg)
	if err != nil {
		return nil, fmt.Errorf("operator %q: %w", op.name, err)
	}
	return clock(func(dst []byte, t time.Time) []byte {
		for _, piece := range pieces {
			dst = piece(dst, t)
		}
		return dst
	}), nil
}

type timePiece func(dst []byte, t time.Time) []byte

func clock(print timePiece) part {
	return func(dst []byte, e *Entry) ([]byte, bool) {
		if e.Start.IsZero() {
			return dst, false
		}
		return print(dst, e.Start.UTC()), true
	}
}

// parseTime reads a strftime format with Envoy's additions: %s seconds since
// 1970, %f and %1f to %9f the fraction of the second in digits, %E1S to %E9S the
// second with one.
func parseTime(format string) ([]timePiece, error) {
	var pieces []timePiece
	for rest := format; rest != ""; {
		text, after, found := strings.Cut(rest, "%")
		if text != "" {
			pieces = append(pieces, func(dst []byte, _ time.Time) []byte { return append(dst, text...) })
		}
		if !found {
			break
		}
		piece, n := timeSpecifier(after)
		if piece == nil {
			return nil, fmt.Errorf("unknown time specifier %q", "%"+after[:min(len(after), 3)])
		}
		pieces = append(pieces, piece)
		rest = after[n:]
	}
	return pieces, nil
}

// timeSpecifier reads what follows a percent sign, and how long it is.
func timeSpecifier(s string) (timePiece, int) {
	if s == "" {
		return nil, 0
	}
	switch s[0] {
	case 's':
		return func(dst []byte, t time.Time) []byte { return strconv.AppendInt(dst, t.Unix(), 10) }, 1
	case '%':
		return func(dst []byte, _ time.Time) []byte { return append(dst, '%') }, 1
	case 'f':
		return fraction(9), 1
	case 'E':
		if len(s) > 2 && isDigit(s[1]) && s[2] == 'S' {
			digits := fraction(int(s[1] - '0'))
			return func(dst []byte, t time.Time) []byte {
				return digits(t.AppendFormat(dst, "05."), t)
			}, 3
		}
		return nil, 0
	}
	if isDigit(s[0]) && len(s) > 1 && s[1] == 'f' {
		return fraction(int(s[0] - '0')), 2
	}
	if layout := timeLayout(s[0]); layout != "" {
		return func(dst []byte, t time.Time) []byte { return t.AppendFormat(dst, layout) }, 1
	}
	return nil, 0
}

func isDigit(b byte) bool { return b >= '1' && b <= '9' }

// timeLayout is a strftime letter in Go's terms.
func timeLayout(letter byte) string {
	layouts := map[byte]string{
		'Y': "2006", 'y': "06", 'm': "01", 'd': "02", 'e': "_2", 'H': "15", 'I': "03", 'M': "04", 'S': "05",
		'p': "PM", 'b': "Jan", 'h': "Jan", 'B': "January", 'a': "Mon", 'A': "Monday", 'j': "002",
		'F': "2006-01-02", 'T': "15:04:05", 'R': "15:04", 'D': "01/02/06", 'z': "-0700", 'Z': "MST",
	}
	return layouts[letter]
}

// fraction prints the first digits of the second's fraction.
func fraction(digits int) timePiece {
	return func(dst []byte, t time.Time) []byte {
		ns := fmt.Sprintf("%09d", t.Nanosecond())
		return append(dst, ns[:digits]...)
	}
}
