// SPDX-License-Identifier: Apache-2.0

package nodediff_test

import (
	"os"
	"testing"

	"github.com/ambient22/ambient22/internal/dump"
	"github.com/ambient22/ambient22/internal/dump/iptsave"
	"github.com/ambient22/ambient22/internal/nodediff"
)

// shape is a node of which only one iptables-save is known.
func shape(t *testing.T, path string) *dump.Node {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	save, err := iptsave.Parse(path, string(text))
	if err != nil {
		t.Fatal(err)
	}
	return &dump.Node{Name: path, Host: &dump.Netns{Name: dump.HostSpace, NFT: save}}
}

// TestShapes holds the public shapes against the generation that they are of. A
// shape that is complete has no difference.
func TestShapes(t *testing.T) {
	const folder = "../dump/iptsave/testdata/"
	for _, c := range []struct{ file, generation, variant string }{
		{"sidecar-redirect-legacy.txt", nodediff.Sidecar, "REDIRECT"},
		{"sidecar-redirect-nft.txt", nodediff.Sidecar, "REDIRECT"},
		{"sidecar-tproxy-legacy.txt", nodediff.Sidecar, "TPROXY"},
		{"sidecar-tproxy-nft.txt", nodediff.Sidecar, "TPROXY"},
		{"inpod-ambient-legacy.txt", nodediff.InPod, "REDIRECT"},
		{"inpod-ambient-nft.txt", nodediff.InPod, "REDIRECT"},
		{"calico-nft.txt", "", ""},
		{"docker-legacy.txt", "", ""},
		{"flannel-nft.txt", "", ""},
		{"gke-legacy.txt", "", ""},
		{"kube-proxy-nft.txt", "", ""},
		{"plain-host-nft.txt", "", ""},
	} {
		t.Run(c.file, func(t *testing.T) {
			n := shape(t, folder+c.file)
			found, err := nodediff.Recognise(n)
			if err != nil {
				t.Fatal(err)
			}
			if c.generation == "" {
				if len(found) != 0 {
					t.Fatalf("recognised %v, want nothing", found)
				}
				return
			}
			if len(found) != 1 || found[0].Name != c.generation || found[0].Variant != c.variant {
				t.Fatalf("recognised %+v, want %s (%s)", found, c.generation, c.variant)
			}
			r, err := nodediff.Plan(n, nodediff.Options{})
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range r.Findings {
				if f.Kind.Differs() {
					t.Errorf("%s %s: want %q, have %q %v", f.Kind, f.Place, f.Want, f.Have, f.Fields)
				}
			}
		})
	}
}
