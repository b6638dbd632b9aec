// SPDX-License-Identifier: Apache-2.0

package nodediff_test

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ambient22/ambient22/hack/topologies"
	"github.com/ambient22/ambient22/internal/dump"
	"github.com/ambient22/ambient22/internal/dump/dumptest"
	"github.com/ambient22/ambient22/internal/nodediff"
)

// TestAbsenceIsNotEmptiness: what a dump does not have is no difference, whatever it is.
func TestAbsenceIsNotEmptiness(t *testing.T) {
	for name, lose := range map[string]func(*dump.Netns){
		"iptables": func(ns *dump.Netns) { ns.NFT, ns.Legacy = nil, nil },
		"rules":    func(ns *dump.Netns) { ns.Rules = nil },
		"routes":   func(ns *dump.Netns) { ns.Routes = nil },
		"links":    func(ns *dump.Netns) { ns.Links = nil },
		"sets":     func(ns *dump.Netns) { ns.Sets = nil },
		"sysctls":  func(ns *dump.Netns) { ns.Sysctls = nil },
		"all but rules": func(ns *dump.Netns) {
			*ns = dump.Netns{Name: ns.Name, Rules: ns.Rules}
		},
		"all but sets": func(ns *dump.Netns) {
			*ns = dump.Netns{Name: ns.Name, Sets: ns.Sets}
		},
	} {
		t.Run(name, func(t *testing.T) {
			n := dumptest.Open(t, dumptest.Geneve)[0]
			lose(n.Host)
			lose(n.Ztunnel)
			n.Workloads = nil
			r, err := nodediff.Plan(n, nodediff.Options{})
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range r.Findings {
				if f.Kind.Differs() {
					t.Errorf("%s %s %s: want %q, have %q %v", f.Kind, f.Section, f.Place, f.Want, f.Have, f.Fields)
				}
			}
		})
	}
}

// TestHalfADump: a namespace that is missing is not compared, and one that has nothing
// is no generation's.
func TestHalfADump(t *testing.T) {
	for _, lose := range []func(*dump.Node){
		func(n *dump.Node) { n.Host = nil },
		func(n *dump.Node) { n.Ztunnel = nil },
		func(n *dump.Node) { n.Workloads, n.Pods = nil, nil },
	} {
		n := dumptest.Open(t, dumptest.Geneve)[0]
		lose(n)
		r := noDifference(t, n)
		if len(r.Generations) != 1 {
			t.Errorf("recognised %+v", r.Generations)
		}
	}
	for _, n := range []*dump.Node{{}, {Host: &dump.Netns{Name: "host"}}, {Ztunnel: &dump.Netns{Name: "ztunnel"}}} {
		if _, err := nodediff.Plan(n, nodediff.Options{}); !errors.Is(err, nodediff.ErrNone) {
			t.Errorf("an empty dump: %v, want ErrNone", err)
		}
		if _, err := nodediff.Listings([]*dump.Node{n}, topologies.Article()); !errors.Is(err, nodediff.ErrNone) {
			t.Errorf("an empty dump against the article: %v, want ErrNone", err)
		}
	}
	if _, err := nodediff.Compare(&dump.Node{Name: "a"}, &dump.Node{Name: "b"}, nodediff.Options{}); err == nil {
		t.Error("two empty dumps could be compared")
	}
}

// TestEveryListingAlone: one text is compared as far as it goes, and nothing is invented.
func TestEveryListingAlone(t *testing.T) {
	listings, err := fs.Sub(topologies.Article(), "listings")
	if err != nil {
		t.Fatal(err)
	}
	files, err := fs.Glob(listings, "*.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		text, err := fs.ReadFile(listings, name)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		nodes, err := dump.OpenAll(path)
		if err != nil {
			t.Fatal(err)
		}
		r, err := nodediff.Plan(nodes[0], nodediff.Options{})
		if strings.HasPrefix(name, "08-") { // "local default dev lo": anybody's
			if !errors.Is(err, nodediff.ErrNone) {
				t.Errorf("%s: %v, want ErrNone", name, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, f := range r.Findings {
			if f.Kind == nodediff.Missing || f.Kind == nodediff.Extra || f.Kind == nodediff.Moved {
				t.Errorf("%s: %s %s: %q %q", name, f.Kind, f.Place, f.Want, f.Have)
			}
		}
		if err := r.Text(io.Discard, nodediff.TextOptions{All: true}); err != nil {
			t.Error(err)
		}
	}
}
