// SPDX-License-Identifier: Apache-2.0

package iptsave

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ambient22/ambient22/internal/dump/syntax"
)

// FuzzParse wants of every text: it is printed again as it was, from the model
// alone, or refused with a place inside it.
func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text[:min(len(text), 2500)])) // long seeds make the fuzzer slow
	}
	f.Add("*nat\r\n:X - [0:0]\r\nCOMMIT\r\n")
	f.Add("-A Y -j X\n:X - [0:0]  # late\n-P Z DROP -c 1 2\n-N Z\n  -A  X  -j  X \n...")
	f.Fuzz(func(t *testing.T, text string) {
		save, err := Parse("dump", text)
		if err != nil {
			checkPlace(t, err, text)
			return
		}
		blank(save)
		if got := save.String(); got != text {
			t.Fatalf("printed %q, want %q", got, text)
		}
	})
}

// FuzzRule is the same for single rules.
func FuzzRule(f *testing.F) {
	for _, line := range rulesOfFixtures(f) {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		rule, err := ParseRule(line)
		if err != nil {
			checkPlace(t, err, line)
			return
		}
		rule.text = ""
		if got := rule.Saved(); got != line {
			t.Fatalf("printed %q, want %q", got, line)
		}
		rule.Unmodelled()
	})
}

func checkPlace(t *testing.T, err error, text string) {
	t.Helper()
	var place *syntax.Error
	if !errors.As(err, &place) {
		t.Fatalf("%T, want a *syntax.Error: %v", err, err)
	}
	lines := strings.Split(text, "\n")
	if place.Line < 1 || place.Line > len(lines) || place.Column < 1 || place.Column > len(lines[place.Line-1])+1 {
		t.Fatalf("%v is not a place in a text of %d lines", err, len(lines))
	}
}

// rulesOfFixtures are all different rules of the fixtures.
func rulesOfFixtures(tb testing.TB) []string {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		tb.Fatalf("no fixtures: %v", err)
	}
	seen := map[string]bool{}
	var rules []string
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			tb.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			line = strings.TrimSuffix(line, "\n")
			if (strings.HasPrefix(line, "-A ") || strings.HasPrefix(line, "[")) && !seen[line] {
				seen[line] = true
				rules = append(rules, line)
			}
		}
	}
	return rules
}
