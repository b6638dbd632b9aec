// SPDX-License-Identifier: Apache-2.0

package envoyconfig_test

import (
	"testing"

	"github.com/ambient22/ambient22/envoyconfig"
	"github.com/ambient22/ambient22/internal/golden"
)

// TestRender shows the text form once.
func TestRender(t *testing.T) {
	r, err := envoyconfig.Build(articleMesh(), envoyconfig.Options{Node: nodeA, ProxyID: "ztunnel-rts54.istio-system"})
	if err != nil {
		t.Fatal(err)
	}
	got, err := envoyconfig.Render(r.Endpoints[:1])
	if err != nil {
		t.Fatal(err)
	}
	golden.Check(t, "testdata/rendered-endpoints.json", got)
	for _, kind := range [][]*envoyconfig.Resource{r.Listeners, r.Clusters, r.Extensions, nil} {
		if _, err := envoyconfig.Render(kind); err != nil {
			t.Error(err)
		}
	}
}
