// SPDX-License-Identifier: Apache-2.0

package match

import (
	"net/netip"
	"testing"
)

// tree has the shape of listing 09.
func tree() *Node {
	ip := netip.MustParseAddr
	service := &Node{Input: DestinationPort, Ports: map[uint16]Outcome{9080: {Chain: "service"}}}
	destinations := &Node{Input: DestinationIP, IPs: map[netip.Addr]Outcome{
		ip("10.8.14.226"): {Next: service},
		ip("10.4.3.20"):   {Chain: "pod"},
	}}
	sources := &Node{
		Input:   SourceIP,
		IPs:     map[netip.Addr]Outcome{ip("10.4.4.19"): {Next: destinations}},
		NoMatch: &Outcome{Chain: "passthrough"},
	}
	return &Node{
		Input:   DestinationPort,
		Ports:   map[uint16]Outcome{15001: {Chain: "blackhole"}},
		NoMatch: &Outcome{Next: sources},
	}
}

func TestTree(t *testing.T) {
	for _, tc := range []struct{ src, dst, want string }{
		{"10.4.4.19:1", "10.8.14.226:9080", "service"},
		{"10.4.4.19:1", "10.8.14.226:9081", ""},
		{"10.4.4.19:1", "10.4.3.20:22", "pod"},
		{"10.4.4.19:1", "1.1.1.1:443", ""},
		{"10.4.4.20:1", "1.1.1.1:443", "passthrough"},
		{"10.4.4.20:1", "10.4.3.20:15001", "blackhole"},
	} {
		got, ok := tree().Find(netip.MustParseAddrPort(tc.src), netip.MustParseAddrPort(tc.dst))
		if got != tc.want || ok != (tc.want != "") {
			t.Errorf("%s to %s: %q, %v; want %q", tc.src, tc.dst, got, ok, tc.want)
		}
	}
}

func TestLongestPrefixWins(t *testing.T) {
	var p Prefixes[string]
	for _, s := range []string{"10.0.0.0/8", "10.4.3.20/32", "10.4.0.0/16", "0.0.0.0/1"} {
		if err := p.Add(netip.MustParsePrefix(s), s); err != nil {
			t.Fatal(err)
		}
	}
	for addr, want := range map[string]string{
		"10.4.3.20": "10.4.3.20/32", "10.4.3.21": "10.4.0.0/16", "10.9.9.9": "10.0.0.0/8", "1.2.3.4": "0.0.0.0/1", "200.1.1.1": "",
	} {
		if got, ok := p.Find(netip.MustParseAddr(addr)); got != want || ok != (want != "") {
			t.Errorf("%s: %q, %v; want %q", addr, got, ok, want)
		}
	}
	if err := p.Add(netip.Prefix{}, "any"); err != nil {
		t.Fatal(err)
	}
	if got, _ := p.Find(netip.MustParseAddr("200.1.1.1")); got != "any" {
		t.Errorf("fallback: %q", got)
	}
	if err := p.Add(netip.Prefix{}, "any"); err == nil {
		t.Error("two chains for every address were taken")
	}
	if err := p.Add(netip.MustParsePrefix("10.4.3.99/16"), "x"); err == nil {
		t.Error("the same prefix twice was taken")
	}
}
