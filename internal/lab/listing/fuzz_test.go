// SPDX-License-Identifier: Apache-2.0

package listing

import "testing"

// A listing's text may be edited by hand: reading it must end, and what was read
// must accept itself.
func FuzzParsePattern(f *testing.F) {
	for _, text := range []string{`{"a":[{...},...],"b":{}}`, `[1,"x",{...}]`, `{"a" 1}`, `{...}`, `{"a":"\u00e9"}`} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := parsePattern(text)
		if err != nil {
			return
		}
		if bad, _ := matchEntry(p, fill(p)); bad != nil && bad.text == "the field is missing" {
			t.Errorf("%s does not accept what it describes: %v", text, bad)
		}
	})
}
