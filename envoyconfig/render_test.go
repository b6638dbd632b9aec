// SPDX-License-Identifier: Apache-2.0

package envoyconfig_test

import (
	"flag"
	"os"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/ambient22/ambient22/envoyconfig"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestRender shows the text form once.
func TestRender(t *testing.T) {
	r, err := envoyconfig.Build(articleMesh(), envoyconfig.Options{Node: nodeA, ProxyID: "ztunnel-rts54.istio-system"})
	if err != nil {
		t.Fatal(err)
	}
	const golden = "testdata/rendered-endpoints.json"
	got, err := envoyconfig.Render(r.Endpoints[:1])
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(golden, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := gocmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s differs (-want +got):\n%s", golden, diff)
	}
	for _, kind := range [][]*envoyconfig.Resource{r.Listeners, r.Clusters, r.Extensions, nil} {
		if _, err := envoyconfig.Render(kind); err != nil {
			t.Error(err)
		}
	}
}
