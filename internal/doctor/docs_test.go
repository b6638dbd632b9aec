// SPDX-License-Identifier: Apache-2.0

package doctor_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ambient22/ambient22/internal/doctor"
	"github.com/ambient22/ambient22/internal/dump"
	"github.com/ambient22/ambient22/internal/golden"
)

// TestExampleInDocs holds what docs/doctor.md shows against what is printed.
func TestExampleInDocs(t *testing.T) {
	n := edited(t, dump.KindRoutes, drop("10.4.4.19 via 192.168.126.2"))
	l := live()
	l.Silent = errors.New("connection refused")
	got := text(t, examine(t, doctor.Input{Node: n, Live: l, Preflight: &doctor.Preflight{}}), doctor.TextOptions{})
	golden.Check(t, "testdata/broken.txt", got)
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "doctor.md"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(page), "```\n"+got+"```\n") {
		t.Error("docs/doctor.md shows something else than internal/doctor/testdata/broken.txt")
	}
}
