// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"io/fs"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/ambient22/ambient22/hack/topologies"
	"github.com/ambient22/ambient22/internal/lab/evidence"
	"github.com/ambient22/ambient22/internal/lab/listing"
)

// listingZtunnel is the ztunnel's address in the article's listing of a node's rules,
// gkeRule a rule of GKE's own in it.
const listingZtunnel = "10.4.4.18"

func gkeRule() []string {
	return []string{"OUTPUT", "-s", "169.254.169.254/32", "-j", "DROP"}
}

// acceptRule is the rule that keeps captured connections from kube-proxy's.
const acceptRule = "-A ztunnel-PREROUTING -m mark --mark 0x100/0x100 -j ACCEPT"

// counted are the packet counters of a node's rules.
type counted evidence.Counters

func (w *world) counters(t *testing.T, node string) counted {
	t.Helper()
	c, err := evidence.ParseCounters(mustInNetwork(t, node, "iptables-save", "-c"))
	if err != nil {
		t.Fatal(err)
	}
	return counted(c)
}

// of adds up the counters of a table's rules that contain a text.
func (c counted) of(table, text string) (packets uint64) {
	for key, n := range c {
		if key.Table == table && strings.Contains(key.Rule, text) {
			packets += n
		}
	}
	return packets
}

// testOrder holds what a node prints beside kube-proxy against the article's first
// listing, and counts where captured connections go.
func (w *world) testOrder(t *testing.T) {
	t.Run("listing 01", w.testListing)
	for _, node := range nodes() {
		t.Run("jumps on "+node, func(t *testing.T) { w.testJumps(t, node) })
		t.Run("connections on "+node, func(t *testing.T) { w.testPastKubeProxy(t, node) })
	}
}

// testListing: node-a has the address of the article's node A.
func (w *world) testListing(t *testing.T) {
	node := nodes()[0]
	folder, err := fs.Sub(topologies.Article(), "listings")
	if err != nil {
		t.Fatal(err)
	}
	set, err := listing.Load(folder)
	if err != nil {
		t.Fatal(err)
	}
	first := &set.Listings[0]
	printed := mustInNetwork(t, node, strings.Fields(first.Command)...)
	printed = strings.ReplaceAll(printed, w.ztunnel[node].Status.PodIP+"/32", listingZtunnel+"/32")
	result := set.Compare(first, printed, listing.Names{})
	if result.Status != listing.Reproduced {
		t.Fatalf("listing %02d %s: %s\n%s", first.Number, result.Status, result.Detail, printed)
	}
	lines := strings.Count(strings.TrimSpace(first.Text), "\n") + 1
	figure(t, "iptables-save of %s beside kube-proxy contains the article's listing 01 (%d lines), line by line and in order", node, lines)
}

// testJumps: ours is the first of every built-in chain, kube-proxy's come after it.
func (w *world) testJumps(t *testing.T, node string) {
	for table, chains := range map[string][]string{
		"nat":    {"PREROUTING", "POSTROUTING"},
		"mangle": {"PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"},
	} {
		for _, chain := range chains {
			rules := strings.Split(strings.TrimSpace(mustInNetwork(t, node, "iptables", "-t", table, "-S", chain)), "\n")[1:]
			if len(rules) == 0 || rules[0] != "-A "+chain+" -j ztunnel-"+chain {
				t.Errorf("%s, table %s: %s begins with %v", node, table, chain, rules)
			}
			if table == "nat" && !slices.ContainsFunc(rules, func(r string) bool { return strings.Contains(r, " -j KUBE-") }) {
				t.Errorf("%s: %s has nothing of kube-proxy: %v", node, chain, rules)
			}
		}
	}
}

// testPastKubeProxy: a captured connection is accepted before kube-proxy's chains.
func (w *world) testPastKubeProxy(t *testing.T, node string) {
	const calls = 20
	theirs := "-A KUBE-SERVICES -d " + w.vip + "/32 -p tcp"
	before := w.counters(t, node)
	for range calls {
		if _, err := w.sleep[node].page(t.Context(), net.JoinHostPort(w.vip, "9080")); err != nil {
			t.Fatal(err)
		}
	}
	after := w.counters(t, node)
	accepted, entered := after.of("nat", acceptRule)-before.of("nat", acceptRule), after.of("nat", theirs)-before.of("nat", theirs)
	// A late packet of a connection that is over counts as a new one.
	if accepted < calls || entered != 0 {
		t.Errorf("of %d connections ours accepted %d, and kube-proxy's rules for the address took %d", calls, accepted, entered)
	}
	figure(t, "%s: %d captured connections to a ClusterIP: our ACCEPT in nat +%d, kube-proxy's rules for the address in KUBE-SERVICES +%d", node, calls, accepted, entered)
}
