// SPDX-License-Identifier: Apache-2.0

package faults_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/ambient22/ambient22/internal/dump"
	"github.com/ambient22/ambient22/internal/dump/dumptest"
	"github.com/ambient22/ambient22/internal/faults"
	"github.com/ambient22/ambient22/internal/nodediff"
)

// archives are the two nodes of the lab.
func archives(t *testing.T, fixture string) []*dump.Archive {
	t.Helper()
	all, err := dump.Load(dumptest.Path(t, fixture))
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestDiffNamesEveryFault: whatever is wrong, diff says what, where, and which field.
func TestDiffNamesEveryFault(t *testing.T) {
	for _, fixture := range []string{dumptest.Geneve, dumptest.VXLAN, dumptest.NFT, dumptest.Hardened} {
		for i, a := range archives(t, fixture) {
			step := 1 // node A of one fixture with all its faults, the others with some
			if (i > 0 || fixture != dumptest.Geneve) && os.Getenv("AMBIENT22_FAULTS") == "" {
				step = 7
			}
			a.Files = slices.DeleteFunc(a.Files, func(f dump.File) bool { return strings.HasSuffix(f.Name, ".json") && f.Name != dump.WorkloadsFile })
			all, err := faults.All(a)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%s, node %d: %d faults", fixture, i, len(all))
			ids := map[string]bool{}
			for n, f := range all {
				if n%step != 0 {
					continue
				}
				if ids[f.ID] {
					t.Errorf("two faults are called %s", f.ID)
				}
				ids[f.ID] = true
				ill, err := f.Apply(a).Parse()
				if err != nil {
					t.Fatalf("%s: %v", f.ID, err)
				}
				r, err := nodediff.Plan(ill, nodediff.Options{})
				if err != nil {
					t.Errorf("%s: %v", f.ID, err)
					continue
				}
				if !slices.ContainsFunc(r.Findings, f.NamedBy) {
					t.Errorf("%s: no finding is %s of %q in %s (%s):\n%s", f.ID, f.Kind, f.Line, f.Place, f.Field, differences(r))
				}
			}
		}
	}
}

func differences(r *nodediff.Report) string {
	var out strings.Builder
	for _, f := range r.Findings {
		if f.Kind.Differs() {
			out.WriteString("\t" + faults.Describe(f) + "\n")
		}
	}
	return out.String()
}
