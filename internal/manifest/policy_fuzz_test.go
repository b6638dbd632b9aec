// SPDX-License-Identifier: Apache-2.0

package manifest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ambient22/ambient22/internal/kube"
)

// FuzzPolicy wants a policy or a reason, whatever a manifest says.
func FuzzPolicy(f *testing.F) {
	seeds, err := filepath.Glob("testdata/broken/policy-*.yaml")
	if err != nil {
		f.Fatal(err)
	}
	for _, path := range seeds {
		text, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		for _, d := range documents(text) {
			f.Add(d.text)
		}
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if len(documents(text)) == 0 {
			return
		}
		d := newDecoder()
		d.decodeFile(file{path: "policy.yaml", data: text})
		s, problems := kube.Snapshot(d.objects, kube.Options{})
		read := len(d.objects.AuthorizationPolicies) + len(d.objects.PeerAuthentications)
		kept := len(s.Policies) + len(s.PeerAuthentications)
		if kept < read && len(problems) == 0 {
			t.Errorf("%d of %d policies were left out without a word", read-kept, read)
		}
		for _, fault := range d.faults {
			if strings.TrimSpace(fault.Err.Error()) == "" {
				t.Errorf("a fault without words: %+v", fault)
			}
		}
	})
}
