// SPDX-License-Identifier: Apache-2.0

package page

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/ambient22/ambient22/internal/trace/story"
)

// read is a story from testdata.
func read(tb testing.TB, file string) *story.Story {
	tb.Helper()
	b, err := os.ReadFile("testdata/" + file)
	if err != nil {
		tb.Fatal(err)
	}
	var s story.Story
	if err := json.Unmarshal(b, &s); err != nil {
		tb.Fatalf("%s: %v", file, err)
	}
	return &s
}

func render(tb testing.TB, s *story.Story) string {
	tb.Helper()
	var b strings.Builder
	if err := Trace(&b, s); err != nil {
		tb.Fatal(err)
	}
	return b.String()
}
