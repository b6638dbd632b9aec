// SPDX-License-Identifier: Apache-2.0

package faults_test

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ambient22/ambient22/internal/dump/dumptest"
	"github.com/ambient22/ambient22/internal/faults"
)

var update = flag.Bool("update", false, "write docs/faults.md anew")

// begin is the line of docs/faults.md behind which everything is made from the cases.
const begin = "<!-- made by go test ./internal/faults -run TestTableOfFaults -update -->\n"

// TestTableOfFaults: what diff and trace say of every fault stands in docs/faults.md.
func TestTableOfFaults(t *testing.T) {
	nodes := dumptest.Open(t, dumptest.Geneve)
	cases, err := faults.Cases(archives(t, dumptest.Geneve)[0], nodes, 0)
	if err != nil {
		t.Fatal(err)
	}
	healthy, err := faults.Judge(nodes, faults.Probes())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		if !slices.ContainsFunc(c.Findings, c.NamedBy) {
			t.Errorf("%s: diff does not name it", c.ID)
		}
	}
	path := filepath.Join("..", "..", "docs", "faults.md")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	head, _, is := strings.Cut(string(text), begin)
	if !is {
		t.Fatalf("%s has no line %q", path, begin)
	}
	want := head + begin + "\n" + faults.Summary(cases) + "\n\n## The calls\n\n" + faults.ProbeTable(healthy) + "\n## The faults\n" + faults.Table(cases)
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if string(text) != want {
		t.Errorf("%s is not fresh: go test ./internal/faults -run TestTableOfFaults -update", path)
	}
}
