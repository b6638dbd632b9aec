// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"bytes"
	"testing"
	"unicode/utf8"

	"github.com/ambient22/ambient22/envoyconfig/internal/wire"
)

// FuzzTemplate writes a template with any two strings: either they are refused, or
// the result is what the typed message marshals to.
func FuzzTemplate(f *testing.F) {
	f.Add("a", "b")
	f.Add("", "\xff")
	f.Add(wire.Hole(1), wire.Splice(0))
	template := compile(f, chain(f, wire.Hole(0), wire.Hole(1)))
	f.Fuzz(func(t *testing.T, a, b string) {
		var w wire.Writer
		template.Write(&w, a, b)
		pieces, err := w.Finish()
		if refused := a == "" || b == "" || !utf8.ValidString(a) || !utf8.ValidString(b); refused != (err != nil) {
			t.Fatalf("%q, %q: error %v", a, b, err)
		}
		if err != nil {
			return
		}
		if got, want := bytes.Join(pieces[0].Bytes, nil), marshal(t, chain(t, a, b)); !bytes.Equal(got, want) {
			t.Fatalf("%q, %q:\n%q\n%q", a, b, got, want)
		}
	})
}
