// SPDX-License-Identifier: Apache-2.0

package iptsave

import (
	"os"
	"path/filepath"
	"testing"
)

func TestRoundTrip(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no fixtures: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			save, err := Parse(file, string(text))
			if err != nil {
				t.Fatal(err)
			}
			blank(save)
			if got := save.String(); got != string(text) {
				t.Error(firstDifference(string(text), got))
			}
		})
	}
}
