// SPDX-License-Identifier: Apache-2.0

package trace_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/ambient22/ambient22/internal/dump"
	"github.com/ambient22/ambient22/internal/dump/dumptest"
	"github.com/ambient22/ambient22/internal/trace"
)

// What a dump lacks is not taken for empty: a walk that needs it says so and ends.
func TestLacking(t *testing.T) {
	for _, c := range []struct {
		name string
		take func(*dump.Netns)
		want string
	}{
		{"no iptables-save", func(ns *dump.Netns) {
			ns.Legacy, ns.NFT = nil, nil
			ns.Missing[dump.KindLegacySave] = "not installed"
		}, "the dump has no iptables-save (not installed)"},
		{"a part of iptables-save", func(ns *dump.Netns) { ns.Partial[dump.KindLegacySave] = "cut off after 900 bytes" },
			"the dump has only a part of iptables-legacy-save (cut off after 900 bytes)"},
		{"no ip rules", func(ns *dump.Netns) { ns.Rules, ns.Missing[dump.KindRules] = nil, "not in this dump" },
			"the dump has no ip rules (not in this dump), and which table is asked depends on them"},
		{"no routes", func(ns *dump.Netns) { ns.Routes, ns.Missing[dump.KindRoutes] = nil, "not in this dump" },
			"the dump has no routes (not in this dump)"},
		{"some tables' routes", func(ns *dump.Netns) { ns.Routes, ns.Partial[dump.KindRoutes] = nil, "only table 7" },
			"the dump does not have all routes (only table 7)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			host := dumptest.Open(t, dumptest.Geneve)[0].Host
			c.take(host)
			s, err := trace.Compile(host)
			if err != nil {
				t.Fatal(err)
			}
			var w trace.Walk
			p := trace.Packet{Protocol: 6, TCPFlags: 2, In: "eth0", Src: netip.MustParseAddrPort("8.8.8.8:40000"), Dst: netip.MustParseAddrPort("1.1.1.1:80")}
			s.Receive(p, nil, &w)
			if w.Verdict != trace.Unknown || !strings.Contains(strings.Join(w.Doubt, "\n"), c.want) {
				t.Errorf("%v, doubts %q, want %q", w.Verdict, w.Doubt, c.want)
			}
		})
	}
}
