// SPDX-License-Identifier: Apache-2.0

package meshsize_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ambient22/ambient22/envoyconfig"
	"github.com/ambient22/ambient22/internal/kube"
	"github.com/ambient22/ambient22/internal/manifest"
	"github.com/ambient22/ambient22/internal/mesh"
	"github.com/ambient22/ambient22/internal/meshsize"
)

const nodeA = "gke-jimmy-cluster-default-pool-d5041909-d10i"

func article(t *testing.T) (*mesh.Snapshot, envoyconfig.Options) {
	t.Helper()
	s, err := manifest.Load("../manifest/testdata/two-pods", manifest.Options{TrustDomain: "cluster.local", Mode: kube.ModeDefault, Node: nodeA})
	if err != nil {
		t.Fatal(err)
	}
	return s, envoyconfig.Options{Node: nodeA, ProxyID: s.ProxyID(nodeA)}
}

// TestArticle says what one more is in the smallest of meshes. The new and changed
// resources are counted by hand: two accounts, two services of one port.
func TestArticle(t *testing.T) {
	s, o := article(t)
	r, err := meshsize.Of(s, o)
	if err != nil {
		t.Fatal(err)
	}
	type counts struct{ New, Changed int }
	got := map[string]map[string]counts{}
	for _, step := range r.Steps {
		got[step.What] = map[string]counts{}
		for _, g := range step.Kinds {
			if g.New+g.Changed+g.Removed > 0 {
				got[step.What][g.Kind] = counts{g.New, g.Changed}
			}
			if g.Removed > 0 {
				t.Errorf("%s takes %d %s away", step.What, g.Removed, g.Kind)
			}
		}
	}
	want := map[string]map[string]counts{
		// A tunnel listener; three capture listeners; a cluster per service and three tunnel clusters.
		"pod, new identity, on this node": {"listeners": {1, 3}, "clusters": {5, 0}, "endpoints": {2, 0}, "extensions": {0, 1}},
		// Its own certificate is not the one that tunnels are opened with.
		"pod, known identity, on this node":    {"listeners": {0, 3}, "extensions": {0, 1}},
		"pod, new identity, on another node":   {"listeners": {1, 1}, "clusters": {2, 0}, "endpoints": {2, 0}},
		"pod, known identity, on another node": {"listeners": {0, 1}},
		"service, one port, two endpoints":     {"listeners": {0, 1}, "clusters": {2, 0}, "endpoints": {2, 0}},
		"endpoint of a service":                {"endpoints": {0, 2}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestSums: growing by a step ends at the size of the mesh with that step.
func TestSums(t *testing.T) {
	s, o := article(t)
	for _, o.Dialect = range []envoyconfig.Dialect{envoyconfig.Istio116, envoyconfig.Upstream} {
		for _, o.Profile = range []envoyconfig.Profile{envoyconfig.Article, envoyconfig.Hardened} {
			now, err := envoyconfig.Build(s, o)
			if err != nil {
				t.Fatal(err)
			}
			before := meshsize.Measure(now)
			for _, c := range meshsize.OneMore(s, nodeA) {
				then, err := envoyconfig.Build(c.Mesh, o)
				if err != nil {
					t.Fatalf("%s: %v", c.Name, err)
				}
				after := meshsize.Measure(then)
				for i, g := range meshsize.Compare(now, then) {
					if before[i].Bytes+g.Bytes != after[i].Bytes || before[i].Resources+g.New-g.Removed != after[i].Resources {
						t.Errorf("%s: %+v and %+v are not %+v", c.Name, before[i], g, after[i])
					}
					if g.Whole < g.Resent || g.Resent < g.Bytes {
						t.Errorf("%s: %+v", c.Name, g)
					}
				}
			}
		}
	}
}

// TestOneMoreLeavesTheMeshAlone: the cases share what they don't change.
func TestOneMoreLeavesTheMeshAlone(t *testing.T) {
	s, o := article(t)
	before, err := envoyconfig.Build(s, o)
	if err != nil {
		t.Fatal(err)
	}
	meshsize.OneMore(s, nodeA)
	after, err := envoyconfig.Build(s, o)
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range meshsize.Compare(before, after) {
		if g.New+g.Changed+g.Removed > 0 {
			t.Errorf("%+v", g)
		}
	}
}

// TestEmptyMesh: what there is no occasion for is left out.
func TestEmptyMesh(t *testing.T) {
	s := &mesh.Snapshot{TrustDomain: "cluster.local", Nodes: []mesh.Node{{Name: "alone"}}}
	r, err := meshsize.Of(s, envoyconfig.Options{Node: "alone"})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, step := range r.Steps {
		names = append(names, step.What)
	}
	if diff := cmp.Diff([]string{"pod, new identity, on this node", "service, one port, two endpoints"}, names); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
