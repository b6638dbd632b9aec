// SPDX-License-Identifier: Apache-2.0

package story

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/ambient22/ambient22/internal/dump"
	"github.com/ambient22/ambient22/internal/dump/dumptest"
	"github.com/ambient22/ambient22/internal/dump/iproute"
	"github.com/ambient22/ambient22/internal/dump/iptsave"
	"github.com/ambient22/ambient22/internal/dump/setsave"
)

// withRules gives a pod of the fixture the rules of another generation of the mesh,
// and takes the pod out of the set and of table 100.
func withRules(t *testing.T, file, pod string) *Mesh {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "dump", "iptsave", "testdata", file))
	if err != nil {
		t.Fatal(err)
	}
	save, err := iptsave.Parse(file, string(text))
	if err != nil {
		t.Fatal(err)
	}
	nodes := dumptest.Open(t, dumptest.Geneve)
	found := false
	for _, n := range nodes {
		for _, p := range n.Pods {
			if strings.HasPrefix(p.Name, pod) {
				p.Legacy, found = save, true
				// What in-pod ambient and TPROXY have besides their rules.
				p.Rules = append(p.Rules, &iproute.Rule{Priority: 32764, Mark: 0x111, Mask: 0xfff, Action: "lookup", Table: 100, SuppressPrefix: -1})
				leaveMesh(n, p)
			}
		}
	}
	if !found {
		t.Fatalf("there is no pod %s", pod)
	}
	return meshOf(t, nodes)
}

func leaveMesh(n *dump.Node, p *dump.Netns) {
	ip := firstV4(p.Links[len(p.Links)-1].Addrs).String()
	for _, s := range n.Host.Sets {
		s.Entries = slices.DeleteFunc(s.Entries, func(e setsave.Entry) bool { return e.Elem == ip })
	}
	n.Host.Routes = slices.DeleteFunc(n.Host.Routes, func(r *iproute.Route) bool {
		return r.Table == 100 && r.Dst.IsSingleIP() && r.Dst.Addr().String() == ip
	})
}

// Pods of other generations redirect within the pod; a story says where, and ends.
func TestOtherGenerations(t *testing.T) {
	for _, c := range []struct{ file, from, to, port, direction string }{
		{"sidecar-redirect-legacy.txt", "sleep", "productpage:9080", "15001", "goes out"},
		{"inpod-ambient-legacy.txt", "sleep", "productpage:9080", "15001", "goes out"},
	} {
		t.Run(c.file, func(t *testing.T) {
			s := told(t, withRules(t, c.file, "default/sleep"), Query{From: c.from, To: c.to, ExplainMiss: true})
			want := "The pod's own rules lead what " + c.direction + " to port " + c.port + " within the pod"
			if s.Outcome.Captured || !s.Outcome.Unknown || !strings.Contains(s.Outcome.Sentence, lower(want)) {
				t.Errorf("%+v", s.Outcome)
			}
			if s.Miss.Captured || !strings.Contains(s.Miss.Sentence, want) || s.Miss.Remedy == "" {
				t.Errorf("%+v", s.Miss)
			}
		})
	}
}

// What comes in to such a pod is led to its proxy as well.
func TestIntoAnotherGeneration(t *testing.T) {
	for _, c := range []struct{ file, port string }{
		{"sidecar-redirect-legacy.txt", "15006"},
		{"inpod-ambient-legacy.txt", "15006"},
	} {
		t.Run(c.file, func(t *testing.T) {
			s := told(t, withRules(t, c.file, "default/details"), Query{From: "10.4.4.30", To: "10.4.3.15:9080"})
			text := ""
			for _, stop := range s.Legs[len(s.Legs)-1].Stops {
				if stop.Kind == "socket" {
					text = stop.Text
				}
			}
			if !strings.Contains(text, "what comes in to port "+c.port+" within the pod") {
				t.Errorf("%q, %+v", text, s.Outcome)
			}
		})
	}
}
