// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"io/fs"
	"strings"
	"testing"

	"github.com/ambient22/ambient22/hack/manifests"
)

// TestManifestsAreAccepted has the API server check every plain manifest. They are
// for a namespace that the data path has or has not at the time, so another one
// stands in for it.
func TestManifestsAreAccepted(t *testing.T) {
	const ns = "manifests"
	namespace(t, ns)
	names, err := fs.Glob(manifests.Files(), "*.yaml")
	if err != nil || len(names) == 0 {
		t.Fatalf("the manifests: %v, %v", names, err)
	}
	for _, name := range names {
		text, err := fs.ReadFile(manifests.Files(), name)
		if err != nil {
			t.Fatal(err)
		}
		said, err := kubectl(t.Context(), strings.ReplaceAll(string(text), "istio-system", ns), "apply", "--dry-run=server", "-f", "-")
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		want := strings.Count(string(text), "\nkind: ")
		if got := strings.Count(said, "(server dry run)"); got != want {
			t.Errorf("%s: %d of %d objects were checked:\n%s", name, got, want, said)
		}
		figure(t, "the API server accepts the %d objects of hack/manifests/%s", want, name)
	}
}
