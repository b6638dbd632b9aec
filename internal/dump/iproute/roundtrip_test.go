// SPDX-License-Identifier: Apache-2.0

package iproute

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ambient22/ambient22/internal/dump/syntax"
)

// fixtures are the texts of one kind, by their files' names without folder and suffix.
func fixtures(tb testing.TB, kind string) map[string]string {
	tb.Helper()
	files, err := filepath.Glob("testdata/*." + kind)
	if err != nil || len(files) == 0 {
		tb.Fatalf("no fixtures %s: %v", kind, err)
	}
	texts := map[string]string{}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			tb.Fatal(err)
		}
		texts[strings.TrimSuffix(filepath.Base(f), "."+kind)] = string(b)
	}
	return texts
}

// records is one parsed text.
type records struct {
	printed string
	// odd are the records that the model's own form would change.
	odd []string
	n   int
}

func rules(text string) (records, error) {
	all, err := ParseRules("f", text)
	r := records{printed: PrintRules(all), n: len(all)}
	for _, x := range all {
		if !x.kept.Reprinted() {
			r.odd = append(r.odd, x.String())
		}
	}
	return r, err
}

func routes(text string) (records, error) {
	all, err := ParseRoutes("f", text, 0)
	r := records{printed: PrintRoutes(all), n: len(all)}
	for _, x := range all {
		if !x.kept.Reprinted() {
			r.odd = append(r.odd, x.String())
		}
	}
	return r, err
}

func links(text string) (records, error) {
	all, err := ParseLinks("f", text)
	r := records{printed: PrintLinks(all), n: len(all)}
	for _, x := range all {
		if !x.kept.Reprinted() {
			r.odd = append(r.odd, x.String())
		}
	}
	return r, err
}

func TestRoundTrip(t *testing.T) {
	kinds := map[string]func(string) (records, error){"rule": rules, "route": routes, "link": links}
	// In these, some lines are spelled as no current version does.
	spelled := map[string]bool{"old-spelling": true, "numeric": true}
	for kind, parse := range kinds {
		for name, text := range fixtures(t, kind) {
			r, err := parse(text)
			if err != nil {
				t.Errorf("%s.%s: %v", name, kind, err)
				continue
			}
			if r.printed != text {
				t.Errorf("%s.%s is printed as\n%s", name, kind, r.printed)
			}
			if len(r.odd) > 0 && !spelled[name] {
				t.Errorf("%s.%s: %d of %d records print otherwise from the model:\n%s", name, kind, len(r.odd), r.n, strings.Join(r.odd, "\n"))
			}
		}
	}
}

func fuzz(f *testing.F, kind string, parse func(string) (records, error)) {
	for _, text := range fixtures(f, kind) {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := parse(text)
		var at *syntax.Error
		switch {
		case errors.As(err, &at):
			if !at.Within(text) {
				t.Fatalf("%v is not in the text", at)
			}
		case r.n > 0 && r.printed != text:
			t.Fatalf("printed as %q", r.printed)
		}
	})
}

func FuzzParseRules(f *testing.F)  { fuzz(f, "rule", rules) }
func FuzzParseRoutes(f *testing.F) { fuzz(f, "route", routes) }
func FuzzParseLinks(f *testing.F)  { fuzz(f, "link", links) }
