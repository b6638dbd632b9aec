// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"fmt"
	"testing"
)

// TestSets asks one packet of many sets: TCP from 10.1.0.5:1000 to 10.2.0.5:80, in
// by a, with mark 7.
func TestSets(t *testing.T) {
	const other = "create inner hash:ip family inet hashsize 1024 maxelem 65536\nadd inner 10.1.0.5\ncreate empty hash:net family inet\n"
	for name, x := range map[string]struct {
		typ, elems, match string
		want              answer
	}{
		"an address":                    {"hash:ip family inet", "10.1.0.5", "src", yes},
		"another address":               {"hash:ip family inet", "10.1.0.6", "src", no},
		"the destination":               {"hash:ip family inet", "10.1.0.5", "dst", no},
		"an address in a net of a set":  {"hash:ip family inet netmask 24", "10.1.0.0", "src", yes},
		"a net":                         {"hash:net family inet", "10.1.0.0/16", "src", yes},
		"an exception":                  {"hash:net family inet", "10.1.0.0/16|10.1.0.0/24 nomatch", "src", no},
		"an exception from it":          {"hash:net family inet", "10.1.0.0/16|10.1.0.0/24 nomatch|10.1.0.5", "src", yes},
		"an exception elsewhere":        {"hash:net family inet", "10.1.0.0/16|10.1.1.0/24 nomatch", "src", yes},
		"address and port":              {"hash:ip,port family inet", "10.2.0.5,tcp:80", "dst,dst", yes},
		"address and the source's port": {"hash:ip,port family inet", "10.2.0.5,tcp:1000", "dst,src", yes},
		"of UDP":                        {"hash:ip,port family inet", "10.2.0.5,udp:80", "dst,dst", no},
		"net and port":                  {"hash:net,port family inet", "10.2.0.0/24,tcp:80", "dst,dst", yes},
		"net and port, an exception":    {"hash:net,port family inet", "10.2.0.0/16,tcp:80|10.2.0.0/24,tcp:80 nomatch", "dst,dst", no},
		"address, port, address":        {"hash:ip,port,ip family inet", "10.1.0.5,tcp:80,10.2.0.5", "src,dst,dst", yes},
		"address, port, net":            {"hash:ip,port,net family inet", "10.1.0.5,tcp:80,10.2.0.0/16", "src,dst,dst", yes},
		"net, net":                      {"hash:net,net family inet", "10.1.0.0/16,10.2.0.0/16", "src,dst", yes},
		"net, net the other way":        {"hash:net,net family inet", "10.1.0.0/16,10.2.0.0/16", "dst,src", no},
		"net and device":                {"hash:net,iface family inet", "10.1.0.0/16,a", "src,src", yes},
		"net and another device":        {"hash:net,iface family inet", "10.1.0.0/16,b", "src,src", no},
		"a net of another device hides": {"hash:net,iface family inet", "10.1.0.0/16,a|10.1.0.0/24,b", "src,src", no},
		"address and mark":              {"hash:ip,mark family inet", "10.1.0.5,0x00000007", "src,src", yes},
		"a map of addresses":            {"bitmap:ip range 10.1.0.0-10.1.0.255", "10.1.0.5", "src", yes},
		"a map of ports":                {"bitmap:port range 0-1024", "80", "dst", yes},
		"a list":                        {"list:set size 8", "empty|inner", "src", yes},
		"a list that has it not":        {"list:set size 8", "empty", "src", no},
		"too few directions":            {"hash:ip,port family inet", "10.2.0.5,tcp:80", "dst", no},
		"addresses of Ethernet":         {"hash:mac hashsize 1024", "00:11:22:33:44:55", "src", maybe},
		"a list with one missing":       {"list:set size 8", "gone", "src", maybe},
		"IPv6":                          {"hash:ip family inet6", "fd00::1", "src", no},
	} {
		t.Run(name, func(t *testing.T) {
			r := router()
			r.sets = other + "create s " + x.typ + "\n"
			for elem := range splitBar(x.elems) {
				r.sets += "add s " + elem + "\n"
			}
			r.legacy = withRules("filter", "-A FORWARD -m set --match-set s "+x.match+" -j DROP\n")
			w := receive(r.space(t), tcp("10.1.0.5:1000", "10.2.0.5:80").via("a").marked(7), nil)
			want := map[answer]string{yes: "verdict=dropped", no: "verdict=sent", maybe: "verdict=unknown"}[x.want]
			w.want(t, want+fmt.Sprintf(" doubts=%d", x.want/2))
		})
	}
}
