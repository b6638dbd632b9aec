// SPDX-License-Identifier: Apache-2.0

package story

import (
	"fmt"
	"strings"
	"testing"

	"github.com/ambient22/ambient22/internal/dump/dumptest"
	"github.com/ambient22/ambient22/internal/dump/iptsave"
)

// manyServices gives a table as many services as a large cluster's kube-proxy.
func manyServices(t testing.TB, text string, services int) string {
	t.Helper()
	var declared, rules strings.Builder
	for i := range services {
		fmt.Fprintf(&declared, ":KUBE-SVC-%05d - [0:0]\n", i)
		fmt.Fprintf(&rules, "-A KUBE-SERVICES -d 10.200.%d.%d/32 -p tcp -m comment --comment \"n/s%d:http cluster IP\" -m tcp --dport 80 -j KUBE-SVC-%05d\n", i/250, i%250+1, i, i)
		for j := range 4 {
			fmt.Fprintf(&rules, "-A KUBE-SVC-%05d -m comment --comment \"n/s%d:http -> 10.4.3.15:9080\" -m statistic --mode random --probability 0.%d5000000000 -j DNAT --to-destination 10.4.3.%d:9080\n", i, i, j+1, 15+j)
		}
	}
	text = strings.Replace(text, ":KUBE-SERVICES - [0:0]\n", ":KUBE-SERVICES - [0:0]\n"+declared.String(), 1)
	return strings.Replace(text, "-A KUBE-SEP-DETAILS", rules.String()+"-A KUBE-SEP-DETAILS", 1)
}

// Of thousands of rules that are not for a packet a story tells the first, and how
// many more there were.
func TestManyRules(t *testing.T) {
	nodes := dumptest.Open(t, dumptest.Geneve)
	text := manyServices(t, nodes[0].Host.Legacy.String(), 2000)
	save, err := iptsave.Parse("rules", text)
	if err != nil {
		t.Fatal(err)
	}
	nodes[0].Host.Legacy = save
	m := meshOf(t, nodes)
	s := told(t, m, Query{From: "10.4.4.30", To: "10.200.7.250:80", ExplainMiss: true, Answer: true})
	stops, folds := 0, 0
	for _, l := range s.Legs {
		for _, stop := range l.Stops {
			stops++
			if strings.HasSuffix(stop.Text, "more rules of chain KUBE-SERVICES are not for this packet.") {
				folds++
			}
		}
	}
	if folds == 0 || stops > 2000 {
		t.Errorf("%d stops, %d of them stand for many", stops, folds)
	}
	if !s.Outcome.Delivered || s.Outcome.Captured || len(s.Doubts) == 0 {
		t.Errorf("%+v, doubts %q: that a random choice was made should be told", s.Outcome, s.Doubts)
	}
}

func BenchmarkStory(b *testing.B) {
	nodes := dumptest.Open(b, dumptest.Geneve)
	save, err := iptsave.Parse("rules", manyServices(b, nodes[0].Host.Legacy.String(), 10000))
	if err != nil {
		b.Fatal(err)
	}
	nodes[0].Host.Legacy = save
	for b.Loop() {
		m, err := New(nodes)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := m.Trace(Query{From: "sleep", To: "productpage:9080", Answer: true, ExplainMiss: true}); err != nil {
			b.Fatal(err)
		}
	}
}
