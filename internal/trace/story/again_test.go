// SPDX-License-Identifier: Apache-2.0

package story

import (
	"strings"
	"testing"

	"github.com/ambient22/ambient22/internal/dump/dumptest"
)

// A SYN that is lost may leave a marked connection behind, and get through when it is
// sent again. The story stays that of the first one, and says so.
func TestSentAgain(t *testing.T) {
	nodes := dumptest.Open(t, dumptest.Geneve)
	for _, r := range nodes[0].Host.Rules {
		if r.Priority == 100 {
			r.Mask = 0xfff
		}
	}
	q := Query{From: "sleep", To: "httpbin", Answer: true}
	s := told(t, meshOf(t, nodes), q)
	if s.Outcome.Delivered || !s.Outcome.Again || !strings.Contains(strings.Join(s.Remarks, " "), "A second later it is sent again, finds its connection known") {
		t.Errorf("%+v\n%q", s.Outcome, s.Remarks)
	}

	// What is lost for another reason is lost again.
	nodes = dumptest.Open(t, dumptest.Geneve)
	withoutIPRule(20000)(t, nodes[0].Ztunnel)
	if s := told(t, meshOf(t, nodes), q); s.Outcome.Again || len(s.Remarks) > 0 {
		t.Errorf("%+v\n%q", s.Outcome, s.Remarks)
	}
}
