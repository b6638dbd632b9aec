// SPDX-License-Identifier: Apache-2.0

package setsave

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ambient22/ambient22/internal/dump/syntax"
)

func fixtures(tb testing.TB) map[string]string {
	tb.Helper()
	files, err := filepath.Glob("testdata/*.[sl]*")
	if err != nil || len(files) == 0 {
		tb.Fatalf("no fixtures: %v", err)
	}
	texts := map[string]string{}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			tb.Fatal(err)
		}
		texts[filepath.Base(f)] = string(b)
	}
	return texts
}

func TestRoundTrip(t *testing.T) {
	for file, text := range fixtures(t) {
		sets, err := Parse(file, text)
		if err != nil {
			t.Error(err)
			continue
		}
		if got := Print(sets); got != text {
			t.Errorf("%s is printed as\n%s", file, got)
		}
		if len(sets) > 0 && sets[0].whole != nil {
			t.Errorf("%s: the model's own form differs", file)
		}
		for _, s := range sets {
			for _, e := range s.Entries {
				if !s.kept.Reprinted() || !e.kept.Reprinted() {
					t.Errorf("%s: %s %s: the model's own form differs", file, s.Name, e.Elem)
				}
			}
		}
	}
}

func TestValues(t *testing.T) {
	for _, file := range []string{"lab-node-a.save", "lab-node-a.list"} {
		sets, err := Parse("", fixtures(t)[file])
		if err != nil {
			t.Fatal(err)
		}
		s := sets[0]
		if s.Name != "ztunnel-pods-ips" || s.Type != "hash:ip" || len(s.Entries) != 3 || !strings.HasPrefix(s.Options, "family inet hashsize 1024") {
			t.Errorf("%s: %+v", file, s)
		}
		if e := s.Entries[1]; e.Elem != "10.4.4.19" || e.Comment != "85c8c34e-7ae3-4d29-9582-0819e2b10c69" {
			t.Errorf("%s: %+v", file, e)
		}
	}
	sets, err := Parse("", fixtures(t)["all-types.save"])
	if err != nil {
		t.Fatal(err)
	}
	if e := sets[0].Entries[1]; e.Comment != `hello \\ wor ld` {
		t.Errorf("%+v", e)
	}
	if e := sets[1].Entries[1]; !e.NoMatch || !strings.HasPrefix(e.Options, "timeout ") {
		t.Errorf("%+v", e)
	}
}

// Entries of several sets in any order, words with any blanks, comments: all of it
// comes out as it went in.
func TestMixed(t *testing.T) {
	text := "# made by hand\ncreate a hash:ip\ncreate  b hash:net counters \nadd b 10.0.0.0/8  packets 1 bytes 2\n\nadd a 10.0.0.1 comment \"nomatch  x\"\nadd b 10.1.0.0/16 nomatch comment \"\"\n# end\n"
	sets, err := Parse("", text)
	if err != nil {
		t.Fatal(err)
	}
	if got := Print(sets); got != text {
		t.Errorf("%s", got)
	}
	if e := sets[0].Entries[0]; e.NoMatch || e.Comment != "nomatch  x" || !sets[1].Entries[1].NoMatch {
		t.Errorf("%+v", e)
	}
	sets[1].Entries = sets[1].Entries[:1]
	if got := Print(sets); strings.Contains(got, "10.1.0.0/16") || !strings.Contains(got, `add a 10.0.0.1 comment "nomatch  x"`) {
		t.Errorf("after a change:\n%s", got)
	}
}

func TestErrors(t *testing.T) {
	for text, want := range map[string]string{
		"destroy a\n":                         `f:1:1: "destroy" is neither create nor add`,
		"create a\n":                          `f:1:9: a set's name and type are expected`,
		"create a t\ncreate a t\n":            `f:2:8: the set "a" is created twice`,
		"create a t\nadd b 1\n":               `f:2:5: no set "b" has been created before`,
		"create a t\nadd a\n":                 `f:2:6: an element is expected`,
		"create a t\nadd a 1 comment \"x\n":   `f:2:17: the comment's closing quote is missing`,
		"Name: a\nType: hash:ip\n":            `f:2:14: the text ends before the members of the set`,
		"Name: a\nwhat\n":                     `f:2:1: a line such as "Name: ..." is expected`,
		"Name: a\nName: b\n":                  `f:2:1: the set "a" has no members' line`,
		"Name: a\nMembers:\n":                 `f:2:1: the set has no name or no type`,
		"Name: a\nType: b\nMembers:\n\nx y\n": `f:5:1: a line such as "Name: ..." is expected`,
	} {
		if _, err := Parse("f", text); err == nil || err.Error() != want {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, text := range fixtures(f) {
		f.Add(text)
	}
	f.Add("create a hash:ip\ncreate b hash:ip\nadd a 1\nadd b 2\nadd a 3")
	f.Fuzz(func(t *testing.T, text string) {
		sets, err := Parse("", text)
		var at *syntax.Error
		switch {
		case errors.As(err, &at):
			if !at.Within(text) {
				t.Fatalf("%v is not in the text", at)
			}
		case len(sets) > 0 && Print(sets) != text:
			t.Fatalf("printed as %q", Print(sets))
		}
	})
}

func BenchmarkParse(b *testing.B) {
	var s strings.Builder
	s.WriteString("create ztunnel-pods-ips hash:ip family inet hashsize 1024 maxelem 65536 comment\n")
	for i := range 100_000 {
		fmt.Fprintf(&s, "add ztunnel-pods-ips 10.%d.%d.%d comment \"85c8c34e-7ae3-4d29-9582-0819e2b10c69\"\n", i>>16&255, i>>8&255, i&255)
	}
	b.SetBytes(int64(s.Len()))
	b.ReportAllocs()
	for b.Loop() {
		if sets, err := Parse("", s.String()); err != nil || len(sets[0].Entries) != 100_000 {
			b.Fatal(err)
		}
	}
}
