// SPDX-License-Identifier: Apache-2.0

package dump_test

import (
	"path"
	"strings"
	"testing"

	"github.com/ambient22/ambient22/internal/dump"
	"github.com/ambient22/ambient22/internal/dump/dumptest"
)

// What a dump keeps of a text that is too long ends after any line. It has to be
// readable all the same.
func TestATextThatEndsAfterAnyLineIsRead(t *testing.T) {
	archives, err := dump.Load(dumptest.Path(t, dumptest.Cluster+"/node-a"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range archives[0].Files {
		kind := dump.Kind(strings.TrimSuffix(path.Base(f.Name), ".txt"))
		if !strings.HasSuffix(f.Name, ".txt") || !strings.HasPrefix(f.Name, dump.HostSpace) && !strings.HasPrefix(f.Name, dump.ZtunnelSpace) {
			continue
		}
		for at := range len(f.Text) {
			if f.Text[at] != '\n' || at+1 == len(f.Text) {
				continue
			}
			cut := f.Text[:at+1]
			a := &dump.Archive{}
			a.Add(dump.HostSpace, kind, cut, "cut off")
			if n, err := a.Parse(); err != nil || n.Host.Partial[kind] != "cut off" {
				t.Errorf("%s up to byte %d: %v", f.Name, at+1, err)
				break
			}
			if kind == dump.KindRuleset {
				continue // of which only whole tables are kept
			}
			if got, err := printed(kind, f.Name, cut); err != nil || got != cut {
				t.Errorf("%s up to byte %d: printed the same: %v, %v", f.Name, at+1, got == cut, err)
				break
			}
		}
	}
}
