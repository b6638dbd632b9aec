// SPDX-License-Identifier: Apache-2.0

package match

import "testing"

func TestText(t *testing.T) {
	re := func(expr string) Text {
		t.Helper()
		text, err := Regexp(expr)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	for name, tc := range map[string]struct {
		text     Text
		yes, not []string
	}{
		"exact":                 {Exact("a"), []string{"a"}, []string{"", "A", "aa"}},
		"prefix":                {Prefix("ab"), []string{"ab", "abc"}, []string{"", "a", "xab"}},
		"suffix":                {Suffix("ab"), []string{"ab", "xab"}, []string{"", "b", "abx"}},
		"contains":              {Contains("ab"), []string{"ab", "xabx"}, []string{"", "axb"}},
		"ignoring case":         {IgnoreCase(Prefix("ab")), []string{"AB", "aBC"}, []string{"b"}},
		"namespace":             {re(".*/ns/foo/.*"), []string{"spiffe://td/ns/foo/sa/x"}, []string{"spiffe://td/ns/foobar/sa/x", "/ns/fo/"}},
		"something":             {re(".+"), []string{"a"}, []string{""}},
		"whole text":            {re("a|b"), []string{"a", "b"}, []string{"ab", "xa", "b\n"}},
		"no dot for a new line": {re("a.*"), []string{"ab"}, []string{"a\nb"}},
	} {
		for _, s := range tc.yes {
			if !tc.text(s) {
				t.Errorf("%s does not take %q", name, s)
			}
		}
		for _, s := range tc.not {
			if tc.text(s) {
				t.Errorf("%s takes %q", name, s)
			}
		}
	}
	for _, expr := range []string{"a)(b", "(", `\8`, "a{2,1}"} {
		if _, err := Regexp(expr); err == nil {
			t.Errorf("%q was accepted", expr)
		}
	}
}
