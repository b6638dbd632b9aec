// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

// TestDocuments splits files as editors and tools leave them.
func TestDocuments(t *testing.T) {
	type part struct {
		Line int
		Name string
	}
	for name, c := range map[string]struct {
		text string
		want []part
	}{
		"empty":            {"", nil},
		"comments":         {"# nothing\n\n---\n# here\n---\n", nil},
		"one":              {"name: a\n", []part{{1, "a"}}},
		"no last newline":  {"name: a\n---\nname: b", []part{{1, "a"}, {3, "b"}}},
		"leading marker":   {"---\nname: a\n", []part{{2, "a"}}},
		"comment first":    {"# a\n\nname: a\n---\n# b\nname: b\n", []part{{3, "a"}, {6, "b"}}},
		"marked comment":   {"name: a\n--- # next\nname: b\n", []part{{1, "a"}, {3, "b"}}},
		"content behind":   {"name: a\n--- {name: b}\n", []part{{1, "a"}, {2, "b"}}},
		"end marker":       {"name: a\n...\nname: b\n...\n", []part{{1, "a"}, {3, "b"}}},
		"directive":        {"%YAML 1.1\n---\nname: a\n", []part{{3, "a"}}},
		"Windows":          {"\xef\xbb\xbfname: a\r\n---\r\nname: b\r\n", []part{{1, "a"}, {3, "b"}}},
		"longer dashes":    {"name: a\nother: |\n  ---\n  text\n", []part{{1, "a"}}},
		"JSON":             {"{\n  \"name\": \"a\"\n}\n", []part{{1, "a"}}},
		"JSON and a list":  {"{\"name\": \"a\"}\n---\n{\"name\": \"b\"}\n", []part{{1, "a"}, {3, "b"}}},
		"marker in a word": {"name: a\nother: >\n  x\n----: no marker\n", []part{{1, "a"}}},
	} {
		t.Run(name, func(t *testing.T) {
			var got []part
			for _, d := range documents([]byte(c.text)) {
				var content struct{ Name string }
				if err := yaml.Unmarshal(d.text, &content); err != nil {
					t.Fatal(err)
				}
				got = append(got, part{d.line, content.Name})
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("the documents differ (-want +got):\n%s", diff)
			}
		})
	}
}

// FuzzDocuments wants no line lost or given twice.
func FuzzDocuments(f *testing.F) {
	for _, seed := range []string{"a: 1\n---\nb: 2\n", "...\n---", "--- x\n--- y", "\r\n\t---\n"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		last := 0
		for _, d := range documents(data) {
			if d.start <= last || d.line < d.start {
				t.Errorf("a document begins at line %d, its content at %d, after line %d", d.start, d.line, last)
			}
			last = d.start
		}
	})
}
