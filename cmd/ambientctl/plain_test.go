// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"testing"
)

// TestPlain: what a dump has in it must not steer a terminal, however it is cut.
func TestPlain(t *testing.T) {
	for text, want := range map[string]string{
		"a\tb\n":                         "a\tb\n",
		"\x1b[1;31mred\x1b[0m":           "\x1b[1;31mred\x1b[0m",
		"\x1b]0;title\x07":               "^[]0;title^G",
		"\x1b[2J\x1b[H":                  "^[[2J^[[H",
		"\x1b\x1b[m":                     "^[\x1b[m",
		"over\rwrite\x00\x7f":            "over^Mwrite^@^?",
		"\u009b2J \u00b7 é → \u00a0":     "^[2J · é → \u00a0",
		"\x1b[00000000000000000000m":     "^[[00000000000000000000m",
		"\xc2\xc2\x9b\xc2\x1b[31m\xc2\n": "\xc2^[\xc2\x1b[31m\xc2\n",
	} {
		for size := 1; size <= len(text); size++ {
			var b bytes.Buffer
			p := &plain{w: &b}
			for rest := []byte(text); len(rest) > 0; {
				part := rest[:min(size, len(rest))]
				if n, err := p.Write(part); n != len(part) || err != nil {
					t.Fatal(n, err)
				}
				rest = rest[len(part):]
			}
			if b.String() != want {
				t.Errorf("%q in pieces of %d: %q, want %q", text, size, b.String(), want)
			}
		}
	}
}
