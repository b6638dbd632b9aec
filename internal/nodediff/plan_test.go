// SPDX-License-Identifier: Apache-2.0

package nodediff_test

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/ambient22/ambient22/internal/dump/dumptest"
	"github.com/ambient22/ambient22/internal/nodediff"
)

// TestLabIsAsPlanned: what the lab's own programs made has no difference, whichever
// tunnel, variant and profile.
func TestLabIsAsPlanned(t *testing.T) {
	rules := map[string]int{dumptest.Geneve: 35, dumptest.VXLAN: 35, dumptest.NFT: 35, dumptest.Hardened: 36}
	for _, fixture := range dumptest.Lab() {
		t.Run(fixture, func(t *testing.T) {
			for _, n := range dumptest.Open(t, fixture) {
				r, err := nodediff.Plan(n, nodediff.Options{})
				if err != nil {
					t.Fatal(err)
				}
				for _, f := range r.Findings {
					if f.Kind.Differs() || f.Kind == nodediff.Unshown {
						t.Errorf("%s %s %s: want %q, have %q %v %s", f.Kind, f.Section, f.Place, f.Want, f.Have, f.Fields, f.Note)
					}
					if f.Kind == nodediff.Equal && f.Why == "" {
						t.Errorf("%s %s: %q has no explanation", f.Section, f.Place, f.Want)
					}
				}
				g := r.Generations
				if len(g) != 1 || g[0].Name != nodediff.Geneve || g[0].Want != rules[fixture] || g[0].Have != rules[fixture] {
					t.Errorf("recognised %+v, want legacy Geneve with %d rules", g, rules[fixture])
				}
			}
		})
	}
}

// TestGivenParameters: a flag is right, and what the dump says otherwise is a finding.
func TestGivenParameters(t *testing.T) {
	n := dumptest.Open(t, dumptest.Geneve)[0]
	r, err := nodediff.Plan(n, nodediff.Options{ZtunnelIP: netip.MustParseAddr("10.4.4.99")})
	if err != nil {
		t.Fatal(err)
	}
	remote := func(f nodediff.Finding) bool {
		return f.Kind == nodediff.Changed && f.Place == "istioout" && slices.Contains(f.Fields, nodediff.Field{Name: "remote", Want: "10.4.4.99", Have: "10.4.4.18"})
	}
	contradicts := func(f nodediff.Finding) bool {
		return f.Kind == nodediff.Contradiction && f.Place == "ztunnel IP" && f.Fields[0].Have == "10.4.4.18"
	}
	if !slices.ContainsFunc(r.Findings, remote) || !slices.ContainsFunc(r.Findings, contradicts) {
		t.Errorf("no finding names the remote and the contradiction: %+v", r.Findings)
	}
}

// TestScope: only the namespace that is asked for is compared.
func TestScope(t *testing.T) {
	n := dumptest.Open(t, dumptest.Geneve)[0]
	for _, scope := range []string{"host", "ztunnel"} {
		r, err := nodediff.Plan(n, nodediff.Options{Scope: scope})
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range r.Findings {
			if f.Space != scope {
				t.Errorf("scope %s has a finding in %s: %s %s", scope, f.Space, f.Section, f.Place)
			}
		}
	}
}
