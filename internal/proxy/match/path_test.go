// SPDX-License-Identifier: Apache-2.0

package match

import (
	"net/netip"
	"testing"
)

func TestPathEndsWhereFindDoes(t *testing.T) {
	ports := &Node{Input: DestinationPort, Ports: map[uint16]Outcome{80: {Chain: "web"}}}
	dsts := &Node{Input: DestinationIP, IPs: map[netip.Addr]Outcome{netip.MustParseAddr("10.0.0.1"): {Next: ports}}}
	root := &Node{
		Input:   SourceIP,
		IPs:     map[netip.Addr]Outcome{netip.MustParseAddr("10.0.0.9"): {Next: dsts}},
		NoMatch: &Outcome{Chain: "pass"},
	}
	for _, c := range []struct {
		src, dst string
		levels   int
		chain    string
	}{
		{"10.0.0.9:1", "10.0.0.1:80", 3, "web"},
		{"10.0.0.9:1", "10.0.0.1:81", 3, ""},
		{"10.0.0.9:1", "10.0.0.2:80", 2, ""},
		{"10.0.0.8:1", "10.0.0.1:80", 1, "pass"},
	} {
		src, dst := netip.MustParseAddrPort(c.src), netip.MustParseAddrPort(c.dst)
		path := root.Path(src, dst)
		chain, _ := root.Find(src, dst)
		if len(path) != c.levels || path[len(path)-1].Out.Chain != c.chain || chain != c.chain {
			t.Errorf("%s to %s: %d levels to %q, Find says %q; want %d and %q",
				c.src, c.dst, len(path), path[len(path)-1].Out.Chain, chain, c.levels, c.chain)
		}
	}
}
