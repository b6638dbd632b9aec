// SPDX-License-Identifier: Apache-2.0

package story

import (
	"bytes"
	"cmp"
	"slices"
	"strings"
	"testing"

	"github.com/ambient22/ambient22/internal/dump"
	"github.com/ambient22/ambient22/internal/dump/conntrack"
	"github.com/ambient22/ambient22/internal/dump/dumptest"
	"github.com/ambient22/ambient22/internal/dump/iproute"
	"github.com/ambient22/ambient22/internal/dump/iptsave"
	"github.com/ambient22/ambient22/internal/dump/setsave"
)

// broken is what is done to a namespace before the story is told.
type damage func(t *testing.T, ns *dump.Netns)

func chainOf(t *testing.T, ns *dump.Netns, table, chain string) *iptsave.Chain {
	t.Helper()
	c := ns.Legacy.Table(table).Chain(chain)
	if c == nil {
		t.Fatalf("there is no chain %s in %s", chain, table)
	}
	return c
}

// without takes the rules out that have all of the words.
func without(table, chain string, words ...string) damage {
	return func(t *testing.T, ns *dump.Netns) {
		c := chainOf(t, ns, table, chain)
		n := len(c.Rules)
		c.Rules = slices.DeleteFunc(c.Rules, func(r *iptsave.Rule) bool {
			return !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(r.String(), w) })
		})
		if len(c.Rules) == n {
			t.Fatalf("no rule of %s has %q", chain, words)
		}
	}
}

// first puts a rule before all others of its chain.
func first(table, line string) damage {
	return func(t *testing.T, ns *dump.Netns) {
		r, err := iptsave.ParseRule(line)
		if err != nil {
			t.Fatal(err)
		}
		c := chainOf(t, ns, table, r.Chain)
		c.Rules = slices.Insert(c.Rules, 0, r)
	}
}

// last puts a rule behind all others of its chain.
func last(table, line string) damage {
	return func(t *testing.T, ns *dump.Netns) {
		r, err := iptsave.ParseRule(line)
		if err != nil {
			t.Fatal(err)
		}
		c := chainOf(t, ns, table, r.Chain)
		c.Rules = append(c.Rules, r)
	}
}

func withoutIPRule(priority uint32) damage {
	return func(_ *testing.T, ns *dump.Netns) {
		ns.Rules = slices.DeleteFunc(ns.Rules, func(r *iproute.Rule) bool { return r.Priority == priority })
	}
}

func withIPRule(line string) damage {
	return func(t *testing.T, ns *dump.Netns) {
		rules, err := iproute.ParseRules("", line)
		if err != nil {
			t.Fatal(err)
		}
		ns.Rules = append(ns.Rules, rules...)
		slices.SortStableFunc(ns.Rules, func(a, b *iproute.Rule) int { return int(a.Priority) - int(b.Priority) })
	}
}

func withRoute(line string) damage {
	return func(t *testing.T, ns *dump.Netns) {
		routes, err := iproute.ParseRoutes("", line, 0)
		if err != nil {
			t.Fatal(err)
		}
		ns.Routes = append(ns.Routes, routes...)
	}
}

func withoutRoute(words ...string) damage {
	return func(t *testing.T, ns *dump.Netns) {
		n := len(ns.Routes)
		ns.Routes = slices.DeleteFunc(ns.Routes, func(r *iproute.Route) bool {
			return !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(r.String(), w) })
		})
		if len(ns.Routes) == n {
			t.Fatalf("no route has %q", words)
		}
	}
}

func withDevice(name string, change func(*iproute.Link)) damage {
	return func(_ *testing.T, ns *dump.Netns) {
		for _, l := range ns.Links {
			if l.Name == name {
				change(l)
			}
		}
	}
}

func down(l *iproute.Link) {
	l.Flags = slices.DeleteFunc(l.Flags, func(f string) bool { return f == "UP" || f == "LOWER_UP" })
}

func withSysctl(name, value string) damage {
	return func(_ *testing.T, ns *dump.Netns) { ns.Sysctls[name] = value }
}

func withoutMember(ip string) damage {
	return func(_ *testing.T, ns *dump.Netns) {
		for _, s := range ns.Sets {
			s.Entries = slices.DeleteFunc(s.Entries, func(e setsave.Entry) bool { return e.Elem == ip })
		}
	}
}

func withConn(line string) damage {
	return func(t *testing.T, ns *dump.Netns) {
		conns, err := conntrack.Parse("", line)
		if err != nil {
			t.Fatal(err)
		}
		ns.Conns = append(ns.Conns, conns...)
	}
}

func replaced(from, to string) damage {
	return func(t *testing.T, ns *dump.Netns) {
		if !bytes.Contains(ns.ConfigDump, []byte(from)) {
			t.Fatalf("the config_dump lacks %s", from)
		}
		ns.ConfigDump = bytes.ReplaceAll(ns.ConfigDump, []byte(from), []byte(to))
	}
}

type missCase struct {
	name     string
	in       string // host-a, ztunnel-a, host-b, ztunnel-b; host-a where empty
	do       damage
	from, to string // sleep to productpage:9080 where empty
	udp      bool
	captured bool
	want     string // in Miss.Sentence
	kind     string // of the stop that Miss names; "" any
}

// The ways to miss the mesh, each with its first reason.
func TestExplainMiss(t *testing.T) {
	const sleepPort = "src=10.4.4.19 dst=10.8.14.226 sport=40000 dport=9080"
	for _, c := range []missCase{
		{name: "nothing", captured: true, want: "It was captured, and nothing kept it from its way.", kind: "rule"},
		{name: "not in the set", from: "10.4.4.30", want: "Its source 10.4.4.30 is not in the set ztunnel-pods-ips, which has the addresses of the node's captured pods: 10.4.4.7, 10.4.4.11, 10.4.4.19.", kind: "rule"},
		{name: "taken out of the set", do: withoutMember("10.4.4.19"), want: "The node controller does count default/sleep-5644bdc767-2dfg7 as captured.", kind: "rule"},
		{name: "UDP", udp: true, to: "10.4.3.30:53", want: "It is UDP, and only TCP is captured.", kind: "rule"},
		{name: "the node", from: "gke-jimmy-cluster-default-pool-d5041909-d10i", to: "10.4.3.20:9080", want: "It comes from the node itself"},
		{name: "a pod on its node's network", from: "node-exporter-v4l7n", to: "10.4.3.20:9080", want: "default/node-exporter-v4l7n uses its node's network"},
		{name: "the ztunnel", from: "ztunnel-rts54", to: "10.4.3.20:15008", want: "It comes from the ztunnel itself", kind: "rule"},
		{name: "to the ztunnel", to: "ztunnel-rts54:15021", want: "It is for the ztunnel's own pod", kind: "route"},
		{name: "the capturing rule is gone", do: without("mangle", "ztunnel-PREROUTING", "match-set"), want: "The rule that captures is not in chain ztunnel-PREROUTING"},
		{name: "the capturing rule asks for UDP", do: func(t *testing.T, ns *dump.Netns) {
			without("mangle", "ztunnel-PREROUTING", "match-set")(t, ns)
			last("mangle", "-A ztunnel-PREROUTING -p udp -m set --match-set ztunnel-pods-ips src -j MARK --set-xmark 0x100/0x100")(t, ns)
		}, want: "The rule that captures is not as it should be, and does not match this packet", kind: "rule"},
		{name: "the capturing rule asks for the destination", do: func(t *testing.T, ns *dump.Netns) {
			without("mangle", "ztunnel-PREROUTING", "match-set")(t, ns)
			last("mangle", "-A ztunnel-PREROUTING -p tcp -m set --match-set ztunnel-pods-ips dst -j MARK --set-xmark 0x100/0x100")(t, ns)
		}, want: "asks whether the packet's dst is in the set", kind: "rule"},
		{name: "the capturing rule asks for no set of the dump", do: func(_ *testing.T, ns *dump.Netns) { ns.Sets = nil }, want: "there is no such set in the dump"},
		{name: "the capturing rule gives another mark", do: func(t *testing.T, ns *dump.Netns) {
			without("mangle", "ztunnel-PREROUTING", "match-set")(t, ns)
			last("mangle", "-A ztunnel-PREROUTING -p tcp -m set --match-set ztunnel-pods-ips src -j MARK --set-xmark 0x10/0x10")(t, ns)
		}, want: "The rule that captures gives mark 0x10, and ip rule 101 looks for 0x100/0x100.", kind: "rule"},
		{name: "the mark is taken away again", do: last("mangle", "-A PREROUTING -j MARK --set-xmark 0x0/0xffffffff"), want: "then a rule of chain PREROUTING takes that bit away", kind: "rule"},
		{name: "no jump", do: without("mangle", "PREROUTING", "-j ztunnel-PREROUTING"), want: "No rule of PREROUTING in table mangle jumps to ztunnel-PREROUTING"},
		{name: "another rule accepts first", do: first("mangle", "-A PREROUTING -i veth6c1b90e4 -j ACCEPT"), want: "Before the jump to ztunnel-PREROUTING, a rule of chain PREROUTING decides", kind: "rule"},
		{name: "another rule gives the skip mark", do: first("mangle", "-A PREROUTING -p tcp -j MARK --set-xmark 0x200/0x200"), want: `A rule of chain PREROUTING gives it mark 0x200, in which this data path reads "pass by"`, kind: "rule"},
		{name: "our own chain accepts too early", do: first("mangle", "-A ztunnel-PREROUTING -p tcp -j ACCEPT"), want: "that does not belong there decides before the one that captures", kind: "rule"},
		{name: "the pod's veth taken for the ztunnel's", do: first("mangle", "-A ztunnel-PREROUTING -i veth6c1b90e4 -j MARK --set-xmark 0x220/0x220"), want: "The rules take device veth6c1b90e4, which it came in by, for the ztunnel's veth", kind: "rule"},
		{name: "none of our rules", do: func(_ *testing.T, ns *dump.Netns) { ns.Legacy = &iptsave.Save{} }, want: "has none of this data path's rules"},
		{name: "an old connection", do: withConn("tcp      6 431999 ESTABLISHED " + sleepPort + " src=10.4.3.20 dst=10.4.4.19 sport=9080 dport=40000 [ASSURED] mark=544 use=1\n"), want: "Its connection has the conntrack mark 0x220", kind: "rule"},
		{name: "no ip rule 101", do: withoutIPRule(101), want: "the ip rule that leads this mark to table 101 is missing or changed"},
		{name: "no ip rule 101, but a default route", do: func(t *testing.T, ns *dump.Netns) {
			withoutIPRule(101)(t, ns)
			withRoute("default via 10.168.15.1 dev eth0\n")(t, ns)
		}, want: "the ip rule that leads this mark to table 101 is missing or changed, so the main table takes it", kind: "route"},
		{name: "a foreign ip rule before", do: func(t *testing.T, ns *dump.Netns) {
			withIPRule("50:\tfrom 10.4.4.0/24 lookup 77\n")(t, ns)
			withRoute("default via 10.168.15.1 dev eth0 table 77\n")(t, ns)
		}, want: "the ip rule of priority 50 comes before 101 and has a route for it", kind: "route"},
		{name: "IPVS", do: withRoute("local 10.8.14.226 dev kube-ipvs0 table local proto kernel scope host src 10.8.14.226\n"), want: "the service's address is the node's own on kube-ipvs0", kind: "route"},
		{name: "nothing in table 101", do: withoutRoute("default", "table 101"), want: "table 101 has no route for it", kind: "route"},
		{name: "table 101 leads elsewhere", do: func(t *testing.T, ns *dump.Netns) {
			withoutRoute("default", "table 101")(t, ns)
			withRoute("default via 10.168.15.1 dev eth0 table 101\n")(t, ns)
		}, want: "Table 101 leads it to eth0 and not to istioout", kind: "route"},
		{name: "table 101 lacks the ztunnel", do: withoutRoute("10.4.4.18", "table 101"), want: "would be led into istioout again"},
		{name: "istioout is down", do: withDevice("istioout", down), want: "istioout"},
		{name: "istioout is down, and its routes are gone", do: func(t *testing.T, ns *dump.Netns) {
			withDevice("istioout", down)(t, ns)
			withoutRoute("dev istioout", "table 101")(t, ns)
		}, want: "istioout is down, and the kernel takes a device's routes away with it", kind: "route"},
		{name: "the node does not forward", do: func(_ *testing.T, ns *dump.Netns) {
			for name := range ns.Sysctls {
				if name == "net.ipv4.ip_forward" || strings.HasSuffix(name, ".forwarding") {
					ns.Sysctls[name] = "0"
				}
			}
		}, want: "the node does not forward packets", kind: "route"},
		{name: "istioout leads elsewhere", do: withDevice("istioout", func(l *iproute.Link) { l.Tunnel.VNI = 7 }), want: "No Geneve device in the pod ztunnel-rts54 has network number 7"},
		{name: "pistioout hears somebody else", in: "ztunnel-a", do: withDevice("pistioout", func(l *iproute.Link) { l.Tunnel.Remote = l.Addrs[0].Prefix.Addr() }), want: "takes only what 192.168.127.2 sends to port 6081"},
		{name: "reverse path filter", do: withSysctl("net.ipv4.conf.veth6c1b90e4.rp_filter", "1"), want: "the kernel refuses its source address"},
		{name: "no TPROXY", in: "ztunnel-a", do: without("mangle", "PREROUTING", "15001"), want: "No TPROXY rule takes what comes out of pistioout"},
		{name: "no ip rule for TPROXY's mark", in: "ztunnel-a", do: withoutIPRule(20000), want: "the ip rule that leads 0x400 to table 100 is missing"},
		{name: "nothing local", in: "ztunnel-a", do: withoutRoute("local default"), want: "table 100 has no local route"},
		{name: "nobody listens", in: "ztunnel-a", do: replaced(`"port_value": 15001`, `"port_value": 15991`), want: "TPROXY gives it to port 15001"},

		{name: "the node changed the destination", do: without("nat", "ztunnel-PREROUTING", "ACCEPT"), captured: true, want: "the node had changed its destination from 10.8.14.226:9080 to 10.4.3.20:9080"},
		{name: "not among the listener's sources", in: "ztunnel-a", do: replaced(`"10.4.4.19": {`, `"10.4.4.99": {`), captured: true, want: "the ztunnel's listener has no chain for the source 10.4.4.19"},
		{name: "an unknown service", in: "ztunnel-a", do: replaced(`"10.8.14.226": {`, `"10.8.14.99": {`), captured: true, want: "the ztunnel knows neither a service nor a pod with the address 10.8.14.226"},
		{name: "an unknown port", to: "productpage:81", captured: true, want: "default/productpage has no port 81 that the ztunnel knows"},
		{name: "a target outside the mesh", to: "10.4.3.30:8080", captured: true, want: "the ztunnel knows neither a service nor a pod with the address 10.4.3.30"},
		{name: "a policy", from: "notsleep", captured: true, want: "No policy allows spiffe://cluster.local/ns/default/sa/notsleep", kind: "verdict"},
		{name: "the answer has no rule", do: without("mangle", "ztunnel-PREROUTING", "-i istioout", "MARK"), captured: true, want: "The answer is lost: it does not come back to sleep-5644bdc767-2dfg7, but ends in the pod ztunnel-rts54, at port 15006."},
		{name: "the answer is not remembered", in: "ztunnel-b", do: without("mangle", "PREROUTING", "0x4d3"), captured: true, want: "no rule marks it 0x4d3"},
		{name: "the answer goes another way", in: "ztunnel-a", do: withoutIPRule(20001), captured: true, want: "should go back through istioout"},
	} {
		t.Run(c.name, func(t *testing.T) { checkMiss(t, c) })
	}
}

func checkMiss(t *testing.T, c missCase) {
	nodes := dumptest.Open(t, dumptest.Geneve)
	spaces := map[string]*dump.Netns{"": nodes[0].Host, "host-a": nodes[0].Host, "ztunnel-a": nodes[0].Ztunnel, "host-b": nodes[1].Host, "ztunnel-b": nodes[1].Ztunnel}
	if c.do != nil {
		c.do(t, spaces[c.in])
	}
	q := Query{From: cmp.Or(c.from, "sleep"), To: cmp.Or(c.to, "productpage:9080"), ExplainMiss: true, Answer: true}
	if c.udp {
		q.Protocol = "udp"
	}
	s := told(t, meshOf(t, nodes), q)
	if s.Miss.Captured != c.captured || s.Outcome.Captured != c.captured || !strings.Contains(s.Miss.Sentence, c.want) {
		t.Errorf("captured %v: %s\nwant %v: ...%s...\noutcome: %+v\ndoubts: %q", s.Miss.Captured, s.Miss.Sentence, c.captured, c.want, s.Outcome, s.Doubts)
	}
	if c.name != "nothing" && s.Miss.Remedy == "" {
		t.Error("it says nothing that could be done")
	}
	if kind := kindOf(s, s.Miss.Stop); c.kind != "" && kind != c.kind {
		t.Errorf("the reason is at a stop %s of kind %q, want %q", s.Miss.Stop, kind, c.kind)
	}
}

func kindOf(s *Story, id string) string {
	for _, l := range s.Legs {
		for _, stop := range l.Stops {
			if stop.ID == id {
				return stop.Kind
			}
		}
	}
	return ""
}
