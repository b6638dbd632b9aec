// SPDX-License-Identifier: Apache-2.0

package nodediff_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ambient22/ambient22/hack/topologies"
	"github.com/ambient22/ambient22/internal/dump"
	"github.com/ambient22/ambient22/internal/dump/dumptest"
	"github.com/ambient22/ambient22/internal/nodediff"
)

// article is the article's listings as somebody has them who copied them into files.
func article(t *testing.T) []*dump.Node {
	t.Helper()
	listings, err := fs.Sub(topologies.Article(), "listings")
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	files, err := fs.ReadDir(listings, ".")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if ext := filepath.Ext(f.Name()); ext != ".txt" && ext != ".json" {
			continue
		}
		text, err := fs.ReadFile(listings, f.Name())
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, f.Name()), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	nodes, err := dump.OpenAll(folder)
	if err != nil {
		t.Fatal(err)
	}
	if len(nodes) != 2 {
		t.Fatalf("the listings are of %d nodes, want 2", len(nodes))
	}
	return nodes
}

func parameter(g nodediff.Generation, name string) string {
	for _, p := range g.Parameters {
		if p.Name == name {
			return p.Value
		}
	}
	return ""
}

// TestArticleIsRecognised: the listings alone tell the generation and its parameters.
func TestArticleIsRecognised(t *testing.T) {
	nodes := article(t)
	for i, want := range []map[string]string{
		{"ztunnel IP": "10.4.4.18", "host IP": "10.4.4.1", "veth": "veth300a1d80", "tunnel": "geneve", "tunnel port": "6081", "ztunnel name": "ztunnel-rts54", "profile": "article"},
		{"ztunnel IP": "10.4.3.14", "host IP": "10.4.3.1", "veth": "veth28865c45", "pods": "10.4.3.15 10.4.3.16 10.4.3.17 10.4.3.18 10.4.3.19 10.4.3.20"},
	} {
		found, err := nodediff.Recognise(nodes[i])
		if err != nil {
			t.Fatal(err)
		}
		if len(found) != 1 || found[0].Name != nodediff.Geneve {
			t.Fatalf("recognised %+v, want legacy Geneve", found)
		}
		for name, value := range want {
			if got := parameter(found[0], name); got != value {
				t.Errorf("node %d: %s is %q, want %q", i, name, got, value)
			}
		}
	}
}

// named is a finding that a comparison must have.
type named struct {
	kind    nodediff.Kind
	listing int
	field   nodediff.Field
	line    string // part of the line that is there
}

func (n named) is(f nodediff.Finding) bool {
	return f.Kind == n.kind && f.Listing == n.listing && strings.Contains(f.Have, n.line) &&
		(n.field.Name == "" || slices.Contains(f.Fields, n.field))
}

func mustName(t *testing.T, r *nodediff.Report, all []named) {
	t.Helper()
	for _, n := range all {
		if !slices.ContainsFunc(r.Findings, n.is) {
			t.Errorf("no finding of %s: listing %d, %v, %q", r.Node, n.listing, n.field, n.line)
		}
	}
}

// TestSlipsInTheListings: somebody who only has the listings learns from diff where
// they contradict themselves.
func TestSlipsInTheListings(t *testing.T) {
	nodes := article(t)
	a, err := nodediff.Plan(nodes[0], nodediff.Options{})
	if err != nil {
		t.Fatal(err)
	}
	mustName(t, a, []named{
		{nodediff.Contradiction, 0, nodediff.Field{Name: "veth", Want: "veth300a1d80", Have: "veth52b75946"}, "10.4.4.18 dev veth52b75946"},
		{nodediff.Contradiction, 0, nodediff.Field{Name: "ztunnel IP", Want: "10.4.4.18", Have: "10.4.2.1"}, "eth0"},
		{nodediff.Contradiction, 0, nodediff.Field{Name: "brd", Want: "10.4.2.255", Have: "10.4.4.255"}, "10.4.2.1/24"},
		{nodediff.Changed, 0, nodediff.Field{Name: "remote", Want: "10.4.4.1", Have: "10.4.2.1"}, "pistioin"},
		{nodediff.Changed, 0, nodediff.Field{Name: "remote", Want: "10.4.4.1", Have: "10.4.2.1"}, "pistioout"},
		{nodediff.Changed, 0, nodediff.Field{Name: "dev", Want: "veth300a1d80", Have: "veth52b75946"}, "10.4.4.18"},
	})
	b, err := nodediff.Plan(nodes[1], nodediff.Options{})
	if err != nil {
		t.Fatal(err)
	}
	mustName(t, b, []named{
		{nodediff.Changed, 0, nodediff.Field{Name: "src", Want: "10.4.3.1", Have: "10.4.3."}, "10.4.3.17 via"},
		{nodediff.Changed, 0, nodediff.Field{Name: "src", Want: "10.4.3.1", Have: "10.4.3."}, "10.4.3.18 via"},
	})
	for _, r := range []*nodediff.Report{a, b} {
		for _, f := range r.Findings {
			if f.Kind == nodediff.Missing || f.Kind == nodediff.Extra || f.Kind == nodediff.Moved {
				t.Errorf("%s: %s %s, which the article only leaves out: %q", r.Node, f.Kind, f.Place, f.Want+f.Have)
			}
		}
	}
}

// TestSlipsAgainstTheArticle: whoever compares a node with the article learns of its
// slips, those that only its text has included.
func TestSlipsAgainstTheArticle(t *testing.T) {
	for _, c := range []struct {
		name    string
		nodes   []*dump.Node
		differs bool
	}{
		{"the listings", article(t), true},
		{"the lab", dumptest.Open(t, dumptest.Geneve), false},
		{"the lab with VXLAN", dumptest.Open(t, dumptest.VXLAN), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			reports, err := nodediff.Listings(c.nodes, topologies.Article())
			if err != nil {
				t.Fatal(err)
			}
			mustName(t, reports[0], []named{
				{nodediff.Slip, 3, nodediff.Field{Name: "text", Want: "veth300a1d80", Have: "veth52b75946"}, ""},
				{nodediff.Slip, 5, nodediff.Field{Name: "text", Want: "10.4.4.18/24", Have: "10.4.2.1/24"}, "inet"},
				{nodediff.Slip, 5, nodediff.Field{Name: "text", Want: "10.4.4.1", Have: "10.4.2.1"}, "id 1000"},
				{nodediff.Slip, 5, nodediff.Field{Name: "text", Want: "10.4.4.1", Have: "10.4.2.1"}, "id 1001"},
				{nodediff.Slip, 9, nodediff.Field{Name: "text", Want: "10.8.14.226", Have: "10.8.4.226"}, ""},
				{nodediff.Slip, 11, nodediff.Field{}, "cluster_name"},
			})
			mustName(t, reports[1], []named{
				{nodediff.Slip, 16, nodediff.Field{Name: "text", Want: "src 10.4.3.1", Have: "src 10.4.3."}, "10.4.3.17"},
				{nodediff.Slip, 16, nodediff.Field{Name: "text", Want: "src 10.4.3.1", Have: "src 10.4.3."}, "10.4.3.18"},
			})
			for _, r := range reports {
				if r.Differs() != c.differs {
					t.Errorf("%s differs: %v, want %v", r.Node, r.Differs(), c.differs)
				}
				for _, text := range []string{"after listing 06", "after listing 07", "outbound_pod_tunnel_clus_"} {
					if !strings.Contains(strings.Join(r.Notes, "\n"), text) {
						t.Errorf("%s: the notes don't speak of %q", r.Node, text)
					}
				}
			}
		})
	}
}
