// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/ambient22/ambient22/internal/lab/evidence"
)

// callCase is one way that traffic takes, and what it shows of itself.
type callCase struct {
	name string
	from string // host
	url  string
	seen string // address the server must see
	// wire is what may pass between the nodes: "hbone", "plain" or "" for
	// nothing.
	wire string
	// moves and stays are rules (host, table, rule) whose counters do.
	moves, stays [][3]string
}

const tproxyOn = "--on-ip 127.0.0.1 --tproxy-mark 0x400/0xfff"

var callCases = []callCase{
	{
		name: "a service on the other node", from: "sleep", url: "http://productpage:9080/", seen: "10.4.4.18", wire: "hbone",
		moves: [][3]string{{"ztunnel-b", "mangle", "-A PREROUTING -i pistioin -p tcp -m tcp --dport 15008 -j TPROXY --on-port 15008 " + tproxyOn}},
	},
	{
		name: "a pod's own address on the other node", from: "sleep", url: "http://10.4.3.20:9080/", seen: "10.4.4.18", wire: "hbone",
		moves: [][3]string{{"ztunnel-b", "mangle", "-A PREROUTING -i pistioin -p tcp -m tcp --dport 15008 -j TPROXY --on-port 15008 " + tproxyOn}},
	},
	{
		name: "a service on the same node", from: "sleep", url: "http://httpbin:8000/", seen: "10.4.4.18", wire: "",
		moves: [][3]string{{"ztunnel-a", "nat", "-A OUTPUT -p tcp -m tcp --dport 15088 -j REDIRECT --to-ports 15008"}},
		stays: [][3]string{{"ztunnel-a", "mangle", "-A PREROUTING -i pistioin -p tcp -m tcp --dport 15008 -j TPROXY --on-port 15008 " + tproxyOn}},
	},
	{
		// From another pod: in the upstream dialect sleep would go on with the
		// connection of the case before.
		name: "a pod's own address on the same node", from: "notsleep", url: "http://10.4.4.11:80/", seen: "10.4.4.18", wire: "",
		moves: [][3]string{{"ztunnel-a", "nat", "-A OUTPUT -p tcp -m tcp --dport 15088 -j REDIRECT --to-ports 15008"}},
	},
	{
		name: "from outside the mesh to a pod in it", from: "outside-a", url: "http://10.4.3.15:9080/", seen: "10.4.4.30", wire: "plain",
		moves: [][3]string{{"ztunnel-b", "mangle", "-A PREROUTING -i pistioin -p tcp -j TPROXY --on-port 15006 " + tproxyOn}},
		stays: [][3]string{{"node-a", "mangle", "-A ztunnel-PREROUTING -p tcp -m set --match-set ztunnel-pods-ips src -j MARK --set-xmark 0x100/0x100"}},
	},
	{
		name: "from outside the mesh to a service, by kube-proxy", from: "outside-a", url: "http://details:9080/", seen: "10.4.4.30", wire: "plain",
		moves: [][3]string{
			{"node-a", "nat", "-A KUBE-SEP-DETAILS -p tcp -m comment --comment \"default/details:http\" -m tcp -j DNAT --to-destination 10.4.3.15:9080"},
			{"ztunnel-b", "mangle", "-A PREROUTING -i pistioin -p tcp -j TPROXY --on-port 15006 " + tproxyOn},
		},
	},
	{
		name: "from the mesh to a pod outside it", from: "sleep", url: "http://10.4.3.30:8080/", seen: "10.4.4.19", wire: "plain",
		moves: [][3]string{
			{"ztunnel-a", "mangle", "-A PREROUTING ! -d 10.4.4.18/32 -i eth0 -p tcp -j MARK --set-xmark 0x4d3/0xfff"},
			{"node-a", "mangle", "-A ztunnel-PREROUTING ! -i veth300a1d80 -m connmark --mark 0x210/0x210 -j MARK --set-xmark 0x40/0x40"},
		},
	},
	{
		name: "the kubelet's probe of a captured pod", from: "node-b", url: "http://10.4.3.20:9080/health", seen: "10.4.3.1", wire: "",
		moves: [][3]string{{"node-b", "mangle", "-A ztunnel-OUTPUT -s 10.4.3.1/32 -j MARK --set-xmark 0x220/0xffffffff"}},
		stays: [][3]string{{"ztunnel-b", "mangle", "-A PREROUTING -i pistioin -p tcp -j TPROXY --on-port 15006 " + tproxyOn}},
	},
	{
		name: "a pod of node B to a pod of node A", from: "productpage", url: "http://httpbin:8000/", seen: "10.4.3.14", wire: "hbone",
		moves: [][3]string{{"ztunnel-a", "mangle", "-A PREROUTING -i pistioin -p tcp -m tcp --dport 15008 -j TPROXY --on-port 15008 " + tproxyOn}},
	},
	{
		name: "two pods of node B", from: "productpage", url: "http://details:9080/", seen: "10.4.3.14", wire: "",
		moves: [][3]string{{"ztunnel-b", "nat", "-A OUTPUT -p tcp -m tcp --dport 15088 -j REDIRECT --to-ports 15008"}},
	},
	{
		name: "a pod calls itself by its service", from: "httpbin", url: "http://httpbin:8000/", seen: "10.4.4.18", wire: "",
	},
}

// Every way takes the rules it should, shows the server the right address, and
// lets no plain byte between the nodes that should be in a tunnel.
func TestWays(t *testing.T) {
	inEveryForm(t, func(t *testing.T, l *Lab) {
		for _, c := range callCases {
			t.Run(c.name, func(t *testing.T) { checkWay(t, l, &c) })
		}
	})
}

// idleBytes is more than a tunnel between two calls says at once.
const idleBytes = 128

func checkWay(t *testing.T, l *Lab, c *callCase) {
	tap, err := evidence.OpenTap(l.Net.Namespace("node-a"), podDevice)
	if err != nil {
		t.Fatal(err)
	}
	defer tap.Close()
	rules := append(expect(l, c.moves, true), expect(l, c.stays, false)...)
	before := readCounters(t, l, rules)
	call, err := l.Call(t.Context(), c.from, c.url)
	if err != nil {
		t.Fatal(err)
	}
	peer, err := netip.ParseAddrPort(call.Peer)
	if call.Status != 200 || err != nil || peer.Addr().String() != c.seen {
		t.Errorf("status %d, the server saw %s; want 200 and %s", call.Status, call.Peer, c.seen)
	}
	frames, err := tap.Drain()
	if err != nil {
		t.Fatal(err)
	}
	w := evidence.ReadWire(frames, hbonePort, []string{"HTTP/1.1 200 OK"})
	got := ""
	switch {
	case len(w.Plain) > 0:
		got = "plain"
	case len(w.Other) > 0:
		got = "something else: " + strings.Join(w.Other, "; ")
	case evidence.Longest(frames, hbonePort) > idleBytes:
		// Less is the end of an earlier call, which may still be on its way.
		got = "hbone"
	}
	if got != c.wire {
		t.Errorf("between the nodes: %q, want %q", got, c.wire)
	}
	after := readCounters(t, l, rules)
	for host := range before {
		for _, m := range evidence.Move(host, before[host], after[host], rules) {
			if !m.OK() {
				t.Errorf("%s %s: %s went from %d to %d (there: %v), expected to move: %v", m.Host, m.Table, m.Rule, m.Before, m.After, !m.Lost, m.Moves)
			}
		}
	}
}

func expect(l *Lab, rules [][3]string, moves bool) []evidence.Expectation {
	var out []evidence.Expectation
	for _, r := range rules {
		out = append(out, evidence.Expectation{Host: r[0], Table: r[1], Rule: l.rule(r[2]), Moves: moves})
	}
	return out
}

func readCounters(t *testing.T, l *Lab, rules []evidence.Expectation) map[string]evidence.Counters {
	t.Helper()
	all := map[string]evidence.Counters{}
	for _, r := range rules {
		if _, known := all[r.Host]; known {
			continue
		}
		c, err := evidence.ParseCounters(output(t, l, r.Host, "iptables-save", "-c"))
		if err != nil {
			t.Fatal(err)
		}
		all[r.Host] = c
	}
	return all
}
