// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"log/slog"
	"net/netip"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ambient22/ambient22/noderoute"
)

// What becomes of connections when ztunnels change is counted and said, once.
func TestDrainedConnectionsAreCounted(t *testing.T) {
	var log strings.Builder
	registry := prometheus.NewRegistry()
	a := New(Config{Log: slog.New(slog.NewTextHandler(&log, nil)), Metrics: NewMetrics(registry)})
	old := netip.MustParseAddr("10.4.4.18")
	p := &pass{}
	full := noderoute.Result{Undrained: []netip.Addr{old}, Kinds: map[noderoute.Kinds]int{noderoute.Chains: 1}}
	over := noderoute.Result{Replaced: old, Drained: 7, Kinds: full.Kinds}
	for _, r := range []noderoute.Result{over, full, full, {}, {Ended: true, Kinds: full.Kinds}} {
		a.drained(r, p)
	}
	if got := total(t, registry, "ambient_node_drained_connections_total"); got != 7 {
		t.Errorf("%v connections are counted", got)
	}
	for _, want := range []string{"before=10.4.4.18 connections=7", "given_up=[10.4.4.18]", "does not drain any more"} {
		if n := strings.Count(log.String(), want); n != 1 {
			t.Errorf("%d times %q in\n%s", n, want, log.String())
		}
	}
	// What comes and goes with a ztunnel is nobody's damage.
	a.drifted(over, p, 0)
	a.drifted(noderoute.Result{Ended: true, Kinds: full.Kinds}, p, 0)
	if got := total(t, registry, "ambient_node_drift_total"); got != 0 {
		t.Errorf("%v things count as drift", got)
	}
}

// total is the sum of a counter over its labels.
func total(t *testing.T, from prometheus.Gatherer, name string) (sum float64) {
	t.Helper()
	families, err := from.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			if family.GetName() == name {
				sum += m.GetCounter().GetValue()
			}
		}
	}
	return sum
}
