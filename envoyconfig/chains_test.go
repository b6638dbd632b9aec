// SPDX-License-Identifier: Apache-2.0

package envoyconfig_test

import (
	"testing"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"

	"github.com/ambient22/ambient22/envoyconfig"
)

func TestChains(t *testing.T) {
	r, err := envoyconfig.Build(articleMesh(), envoyconfig.Options{Node: nodeA})
	if err != nil {
		t.Fatal(err)
	}
	for _, resource := range r.Listeners {
		m, err := resource.Message()
		if err != nil {
			t.Fatal(err)
		}
		l := m.(*listenerv3.Listener)
		want := len(l.GetFilterChains())
		if l.GetDefaultFilterChain() != nil {
			want++
		}
		if got := resource.Chains(); got != want {
			t.Errorf("%s: %d chains, want %d", resource.Name, got, want)
		}
	}
	if n := r.Clusters[0].Chains(); n != 0 {
		t.Errorf("a cluster with %d chains", n)
	}
}
