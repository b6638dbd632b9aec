// SPDX-License-Identifier: Apache-2.0

package envoyconfig_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/ambient22/ambient22/envoyconfig"
	"github.com/ambient22/ambient22/internal/mesh"
)

// TestConsistent takes one resource after the other away: each is missed, except
// those that nothing refers to.
func TestConsistent(t *testing.T) {
	for name, c := range map[string]struct {
		scenario
		unreferenced []string
	}{
		"article": {
			scenario{change: func(*mesh.Snapshot) {}},
			[]string{envoyconfig.VirtualInboundHBONECluster, envoyconfig.PassthroughTCPCluster},
		},
		"upstream": {
			scenario{change: withPolicies, options: envoyconfig.Options{Profile: envoyconfig.Hardened, Dialect: envoyconfig.Upstream}},
			// All that this identity sends goes to its waypoint.
			[]string{envoyconfig.PassthroughTCPCluster, "outbound_pod_tunnel_clus_spiffe://cluster.local/ns/default/sa/shielded"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			missed(t, func() *envoyconfig.Resources { return buildScenario(t, c.scenario) }, func(name string) bool {
				return strings.HasPrefix(name, "ztunnel_") || slices.Contains(c.unreferenced, name)
			})
		})
	}
}

func missed(t *testing.T, build func() *envoyconfig.Resources, unreferenced func(string) bool) {
	t.Helper()
	for _, kind := range []func(*envoyconfig.Resources) *[]*envoyconfig.Resource{
		func(r *envoyconfig.Resources) *[]*envoyconfig.Resource { return &r.Listeners },
		func(r *envoyconfig.Resources) *[]*envoyconfig.Resource { return &r.Clusters },
		func(r *envoyconfig.Resources) *[]*envoyconfig.Resource { return &r.Endpoints },
		func(r *envoyconfig.Resources) *[]*envoyconfig.Resource { return &r.Extensions },
	} {
		for i, resource := range *kind(build()) {
			r := build()
			*kind(r) = slices.Delete(*kind(r), i, i+1)
			err := r.Consistent()
			if missed := err != nil; missed == unreferenced(resource.Name) {
				t.Errorf("without %q: %v", resource.Name, err)
			}
		}
	}
	r := build()
	r.Secrets = r.Secrets[:1]
	if err := r.Consistent(); err == nil || !strings.Contains(err.Error(), "asks for secret") {
		t.Errorf("without a secret: %v", err)
	}
	r = build()
	r.Clusters = append(r.Clusters, r.Clusters[0])
	if err := r.Consistent(); err == nil || !strings.Contains(err.Error(), "used twice") {
		t.Errorf("with a cluster twice: %v", err)
	}
}
