// SPDX-License-Identifier: Apache-2.0

package iproute

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestRouteValues(t *testing.T) {
	p, a := netip.MustParsePrefix, netip.MustParseAddr
	zero := p("0.0.0.0/0")
	for line, want := range map[string]Route{
		"default via 192.168.127.2 dev istioout": {Type: "unicast", Dst: zero, Table: TableMain, Via: a("192.168.127.2"), Dev: "istioout"},
		"local default dev lo scope host ":       {Type: "local", Dst: zero, Table: TableMain, Dev: "lo", Scope: "host"},
		"10.4.3.15 via 192.168.126.2 dev istioin table 100 src 10.4.3.1": {Type: "unicast", Dst: p("10.4.3.15/32"), Table: 100, Via: a("192.168.126.2"),
			Dev: "istioin", Src: a("10.4.3.1")},
		"10.4.3.17 via 192.168.126.2 dev istioin src 10.4.3.": {Type: "unicast", Dst: p("10.4.3.17/32"), Table: TableMain, Via: a("192.168.126.2"),
			Dev: "istioin", Extra: []Word{{3, "src 10.4.3."}}},
		"10.73.0.0/24 via 10.77.0.1 dev d1 table 102 onlink linkdown": {Type: "unicast", Dst: p("10.73.0.0/24"), Table: 102, Via: a("10.77.0.1"), Dev: "d1",
			Flags: []string{"onlink", "linkdown"}},
		"10.72.0.0/24 dev d0 proto kernel mtu lock 1300 window 1000 advmss 1260": {Type: "unicast", Dst: p("10.72.0.0/24"), Table: TableMain, Dev: "d0",
			Proto: "kernel", MTU: 1300, MTULock: true, Extra: []Word{{4, "window 1000 advmss 1260"}}},
		"unreachable 10.61.0.0/16 metric 50":    {Type: "unreachable", Dst: p("10.61.0.0/16"), Table: TableMain, Metric: 50},
		"10.79.0.0/24 via inet6 fe80::1 dev d0": {Type: "unicast", Dst: p("10.79.0.0/24"), Table: TableMain, Via: a("fe80::1"), Dev: "d0"},
		"default via inet6 fe80::1 dev d0":      {Type: "unicast", Dst: zero, Table: TableMain, Via: a("fe80::1"), Dev: "d0"},
		"default via fe80::1 dev d0 metric 1024 pref medium": {Type: "unicast", Dst: p("::/0"), Table: TableMain, Via: a("fe80::1"), Dev: "d0", Metric: 1024,
			Extra: []Word{{4, "pref medium"}}, IPv6: true},
		"10.80.0.0/24  encap ip id 5 src 0.0.0.0 dst 10.1.0.9 tos 0 dev tun0  scope link": {Type: "unicast", Dst: p("10.80.0.0/24"), Table: TableMain,
			Dev: "tun0", Scope: "link", Extra: []Word{{1, "encap ip id 5 src 0.0.0.0 dst 10.1.0.9 tos 0"}}},
		"10.90.0.0/24 nhid 10 via 10.1.0.2 dev d0": {Type: "unicast", Dst: p("10.90.0.0/24"), Table: TableMain, NHID: 10, Via: a("10.1.0.2"), Dev: "d0"},
		"10.50.0.0/16 \n\tnexthop via 10.1.0.2 dev d0 weight 1 \n\tnexthop dev d1 weight 5 onlink ": {Type: "unicast", Dst: p("10.50.0.0/16"), Table: TableMain,
			Nexthops: []Nexthop{{Via: a("10.1.0.2"), Dev: "d0", Weight: 1}, {Dev: "d1", Weight: 5, Flags: []string{"onlink"}}}},
	} {
		got, err := ParseRoutes("", line, 0)
		if err != nil || len(got) != 1 {
			t.Errorf("%s: %v", line, err)
			continue
		}
		want.Line = 1
		if d := cmp.Diff(want, *got[0], values); d != "" {
			t.Errorf("%s (-want +got):\n%s", line, d)
		}
	}
}

// A table's name of rt_tables is one number in rules and in routes.
func TestNamedTables(t *testing.T) {
	rules, err := ParseRules("", fixtures(t, "rule")["named-tables"])
	if err != nil {
		t.Fatal(err)
	}
	routes, err := ParseRoutes("", fixtures(t, "route")["named-tables"], 0)
	if err != nil {
		t.Fatal(err)
	}
	in, out := routes[0], routes[2]
	if rules[1].Table != out.Table || rules[1].TableName != "outbound" || in.Table == out.Table || in.TableName != "inbound" {
		t.Errorf("rule %v, routes %v and %v", rules[1], in, out)
	}
}

// "default" alone does not tell its family; ip prints IPv4 first.
func TestFamilyOfDefault(t *testing.T) {
	all, err := ParseRoutes("", "default dev wg0 scope link\nlocal default dev lo table 100 scope host\n2001:db8::/32 dev a metric 1024\ndefault dev wg0 metric 1024\n"+
		"default via 10.0.0.1 dev eth0\nunreachable default dev lo metric 4294967295 error -101\n", 0)
	if err != nil {
		t.Fatal(err)
	}
	for i, six := range []bool{false, false, true, true, false, true} {
		if all[i].IPv6 != six || all[i].Dst.Addr().Is6() != six {
			t.Errorf("%s: IPv6 is %v", all[i], all[i].IPv6)
		}
	}
}

func TestOneTable(t *testing.T) {
	all, err := ParseRoutes("", fixtures(t, "route")["listing-03"], 101)
	if err != nil {
		t.Fatal(err)
	}
	if all[0].Table != 101 || all[0].String() != "default via 192.168.127.2 dev istioout" {
		t.Errorf("%+v prints as %s", all[0], all[0])
	}
	all[0].Dev, all[1].Table = "istioin", 102
	if got, want := PrintRoutes(all), "default via 192.168.127.2 dev istioin\n10.4.4.18 dev veth52b75946 table 102 scope link\n"; got != want {
		t.Errorf("after a change:\n%s", got)
	}
}

func manyRoutes(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "10.%d.%d.%d via 192.168.126.2 dev istioin table 100 src 10.4.4.1 \n", i>>16&255, i>>8&255, i&255)
	}
	return b.String()
}

func BenchmarkParseRoutes(b *testing.B) {
	text := manyRoutes(100_000)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		if all, err := ParseRoutes("", text, 0); err != nil || len(all) != 100_000 {
			b.Fatal(len(all), err)
		}
	}
}
