// SPDX-License-Identifier: Apache-2.0

package xdsdiff

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/iotest"
)

// TestScannerAtBufferEnds reads every value with a buffer's end after each byte.
func TestScannerAtBufferEnds(t *testing.T) {
	for _, text := range []string{
		`{}`, `[]`, `""`, `"a\"b\\"`, `"\\\""`, `-1.5e+3`, `true`, `{"a":[1,"]",{"b":"}"}],"c":null}`, "[\n1\n,\n2]", `"é"`,
	} {
		s := newScanner(iotest.OneByteReader(strings.NewReader(" " + text + " ,")))
		if _, err := s.peek(); err != nil {
			t.Fatal(err)
		}
		s.keep()
		if err := s.skip(); err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got := string(s.take()); got != text {
			t.Errorf("%s is read as %s", text, got)
		}
		if c, err := s.peek(); c != ',' || err != nil || s.offset() != int64(len(text)+2) || s.line != 1+strings.Count(text, "\n") {
			t.Errorf("%s: then %q, %v at byte %d, line %d", text, c, err, s.offset(), s.line)
		}
	}
}

func TestScannerSaysWhyItEnds(t *testing.T) {
	broken := errors.New("broken disk")
	s := newScanner(iotest.ErrReader(broken))
	if err := s.skip(); !errors.Is(err, broken) {
		t.Error(err)
	}
	s = newScanner(strings.NewReader(`{"a":`))
	var where *placed
	if err := s.skip(); !errors.As(err, &where) || where.offset != 5 {
		t.Error(err)
	}
}

// TestParse holds the nodes of a text against the text.
func TestParse(t *testing.T) {
	var body text
	v, err := body.parse([]byte(` {"a": [1, {"b\n": "c"}], "d": {}} `))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for key, val := range v.members() {
		got = append(got, fmt.Sprintf("%s=%s", key.string(), val.raw()))
		for _, e := range val.elements() {
			for key := range e.members() {
				got = append(got, fmt.Sprintf("%q", key.string()))
			}
		}
	}
	if want := "a=[1, {\"b\\n\": \"c\"}] \"b\\n\" d={}"; strings.Join(got, " ") != want {
		t.Errorf("%q, want %q", strings.Join(got, " "), want)
	}
	var many []string
	for i := range 40 {
		many = append(many, fmt.Sprintf(`"%d":0`, i))
	}
	for _, bad := range []string{
		``, `{`, `{"a"}`, `{"a":}`, `{"a":1,}`, `{,}`, `[1,]`, `[1 2]`, `[,]`, `nul`, `01`, `1.`, `"\u12"`, "\"\n\"", `"`, `[1]]`, `{1:2}`,
		`{"a":1 "b":2}`, `[`, `[1`, `{"a":1`, `{` + strings.Join(append(many, `"7":1`), ",") + `}`,
	} {
		if _, err := body.parse([]byte(bad)); err == nil {
			t.Errorf("%s was taken", bad)
		}
	}
}
