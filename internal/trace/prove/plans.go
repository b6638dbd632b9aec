// SPDX-License-Identifier: Apache-2.0

package prove

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/ambient22/ambient22/ipset"
	"github.com/ambient22/ambient22/noderoute"
)

// host is a node as this project programs it, with some pods, beside services as
// kube-proxy does them.
func host(seed uint64) (World, *scene, error) {
	s := planned(seed)
	addr := netip.MustParseAddr
	hostIP, ztunnel := addr("10.4.4.1"), addr("10.4.4.2")
	config := noderoute.HostConfig{
		ZtunnelIP: ztunnel, HostIP: hostIP, Hardened: s.chance(2), DNSCapture: s.chance(3),
	}
	facts := noderoute.Facts{Ztunnel: noderoute.Hop{Dev: "vethzt", MTU: 1500, Bits: 32}, Pods: map[netip.Addr]noderoute.Hop{}}
	node := netip.MustParsePrefix("10.128.0.2/24")
	local := netip.PrefixFrom(hostIP, 32)
	s.links = []Link{
		{"eth0", []netip.Prefix{node}},
		{noderoute.DeviceInbound, []netip.Prefix{netip.MustParsePrefix("192.168.126.1/30")}},
		{noderoute.DeviceOutbound, []netip.Prefix{netip.MustParsePrefix("192.168.127.1/30")}},
		{"vethzt", []netip.Prefix{local}},
	}
	s.own = []netip.Addr{hostIP, hostIP, node.Addr(), addr("192.168.126.1"), addr("192.168.127.1")}
	s.see(ztunnel, "vethzt")
	s.see(addr("10.128.0.1"), "eth0")
	w := World{Routes: []string{"default via 10.128.0.1 dev eth0", "10.4.4.2 dev vethzt scope link"}}
	for i := range s.between(1, 5) {
		ip, veth := later(addr("10.4.4.10"), i), fmt.Sprintf("vethpod%d", i)
		s.links = append(s.links, Link{veth, []netip.Prefix{local}})
		s.see(ip, veth)
		w.Routes = append(w.Routes, fmt.Sprintf("%s dev %s scope link", ip, veth))
		facts.Pods[ip] = noderoute.Hop{Dev: veth, Bits: 32}
		if i == 0 || !s.chance(4) {
			config.Pods = append(config.Pods, noderoute.Pod{UID: fmt.Sprintf("uid-%d", i), IP: ip})
			// What comes out of the tunnels has pods' addresses, too.
			s.see(ip, pick(s.dice, noderoute.DeviceInbound, noderoute.DeviceOutbound, "vethzt", veth))
		}
	}
	if s.chance(3) {
		old := addr("10.4.4.3")
		s.links = append(s.links, Link{"vethold", []netip.Prefix{local}})
		s.see(old, "vethold")
		w.Routes = append(w.Routes, "10.4.4.3 dev vethold scope link")
		config.Draining = []netip.Addr{old}
		facts.Draining = []noderoute.Ztunnel{{IP: old, Veth: "vethold"}}
	}
	s.far = []netip.Addr{addr("10.4.5.9"), addr("10.4.5.10"), addr("10.96.0.10"), addr("10.96.3.4"), addr("8.8.8.8")}
	plan, err := noderoute.PlanHost(config, facts)
	if err != nil {
		return World{}, nil, fmt.Errorf("planning a node: %w", err)
	}
	w.Name = fmt.Sprintf("node %d", seed)
	return s.finish(w, plan, s.services()), s, nil
}

// pod is a ztunnel pod as this project programs it.
func pod(seed uint64) (World, *scene, error) {
	s := planned(seed)
	addr := netip.MustParseAddr
	own, gateway := netip.MustParsePrefix("10.4.4.2/24"), addr("10.4.4.1")
	plan, err := noderoute.PlanPod(noderoute.PodConfig{PodName: "ztunnel-abcde", LogRule: s.chance(2)},
		noderoute.PodFacts{IP: own.Addr(), Gateway: gateway, MTU: 1500})
	if err != nil {
		return World{}, nil, fmt.Errorf("planning a ztunnel pod: %w", err)
	}
	s.links = []Link{
		{"eth0", []netip.Prefix{own}},
		{noderoute.PodDeviceInbound, []netip.Prefix{netip.MustParsePrefix("192.168.126.2/30")}},
		{noderoute.PodDeviceOutbound, []netip.Prefix{netip.MustParsePrefix("192.168.127.2/30")}},
	}
	s.own = []netip.Addr{own.Addr(), own.Addr(), addr("192.168.126.2"), addr("192.168.127.2"), addr("127.0.0.1")}
	s.see(gateway, "eth0")
	for i := range 4 {
		s.see(later(addr("10.4.4.10"), i), pick(s.dice, "eth0", noderoute.PodDeviceInbound, noderoute.PodDeviceOutbound))
	}
	s.far = []netip.Addr{addr("10.4.5.9"), addr("10.4.4.11"), addr("10.96.0.10"), addr("10.96.3.4")}
	w := World{Name: fmt.Sprintf("ztunnel pod %d", seed), Routes: []string{"default via 10.4.4.1 dev eth0"}}
	return s.finish(w, plan, nil), s, nil
}

func planned(seed uint64) *scene {
	s := &scene{dice: newDice(seed), marks: marks(), behind: map[netip.Addr]string{}}
	s.variant = pick(s.dice, "nft", "legacy")
	s.ports = []uint16{53, 80, 80, 443, 8080, 9080, 6081, 15001, 15006, 15008, 15008, 15053, 15088}
	for _, a := range []string{"127.0.0.1", "0.0.0.0", "192.168.127.0"} {
		s.odd = append(s.odd, netip.MustParseAddr(a))
	}
	for _, a := range []string{"255.255.255.255", "10.128.0.255", "10.4.4.255", "192.168.126.3", "192.168.127.3"} {
		s.casts = append(s.casts, netip.MustParseAddr(a))
	}
	return s
}

// see puts a neighbour behind a device.
func (s *scene) see(a netip.Addr, dev string) {
	s.near = append(s.near, a)
	s.behind[a] = dev
}

// finish turns a plan into the words that build it, behind what is there already.
func (s *scene) finish(w World, p noderoute.Plan, others []Table) World {
	w.Variant, w.Links, w.Listeners = s.variant, s.links, listeners()
	for _, value := range p.Sysctls {
		w.Sysctls = append(w.Sysctls, value.String())
	}
	for _, r := range p.Routes {
		w.Routes = append(w.Routes, fmt.Sprintf("%s table %d", r, r.Table))
	}
	for _, r := range p.Rules {
		priority, rest, _ := strings.Cut(r.String(), ":\t")
		w.Rules = append(w.Rules, "pref "+priority+" "+rest)
	}
	if p.Set != nil {
		w.Sets = append(w.Sets, "create "+p.Set.Name+" "+ipset.TypeHashIP+" comment")
		for _, e := range p.Set.Entries {
			w.Sets = append(w.Sets, fmt.Sprintf("add %s %s comment %q", p.Set.Name, e.IP, e.Comment))
		}
	}
	for _, t := range p.Tables {
		w.Tables = append(w.Tables, merged(t, others))
	}
	return w
}

// merged is a plan's table with the rules of others behind its own.
func merged(t noderoute.Table, others []Table) Table {
	out := Table{Name: t.Name}
	for _, name := range builtin(t.Name) {
		out.Chains = append(out.Chains, ":"+name+" ACCEPT [0:0]")
	}
	for _, list := range [][]noderoute.Chain{t.Own, t.Head} {
		for _, c := range list {
			if !strings.Contains(strings.Join(out.Chains, "\n")+" ", ":"+c.Name+" ") {
				out.Chains = append(out.Chains, ":"+c.Name+" - [0:0]")
			}
			for _, r := range c.Rules {
				out.Rules = append(out.Rules, "-A "+c.Name+" "+r)
			}
		}
	}
	for _, o := range others {
		if o.Name == t.Name {
			out.Chains, out.Rules = append(out.Chains, o.Chains...), append(out.Rules, o.Rules...)
		}
	}
	return out
}

func builtin(table string) []string {
	if table == "nat" {
		return []string{"PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"}
	}
	return []string{"PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"}
}

// services are two of them in the shape that kube-proxy gives them, with one
// endpoint each: which of several is taken nobody could foretell.
func (s *scene) services() []Table {
	return []Table{{
		Name: "nat",
		Chains: []string{
			":KUBE-MARK-MASQ - [0:0]", ":KUBE-POSTROUTING - [0:0]", ":KUBE-SERVICES - [0:0]", ":KUBE-NODEPORTS - [0:0]",
			":KUBE-SVC-A - [0:0]", ":KUBE-SEP-A - [0:0]", ":KUBE-SVC-B - [0:0]", ":KUBE-SEP-B - [0:0]",
		},
		Rules: []string{
			`-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES`,
			`-A OUTPUT -m comment --comment "kubernetes service portals" -j KUBE-SERVICES`,
			`-A POSTROUTING -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING`,
			`-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000`,
			`-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN`,
			`-A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0`,
			`-A KUBE-POSTROUTING -m comment --comment "kubernetes service traffic requiring SNAT" -j MASQUERADE`,
			`-A KUBE-SERVICES -d 10.96.0.10/32 -p udp -m udp --dport 53 -j KUBE-SVC-A`,
			`-A KUBE-SERVICES -d 10.96.3.4/32 -p tcp -m tcp --dport 80 -j KUBE-SVC-B`,
			`-A KUBE-SERVICES -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS`,
			`-A KUBE-NODEPORTS -p tcp -m tcp --dport 9080 -j KUBE-SVC-B`,
			`-A KUBE-SVC-A ! -s 10.4.0.0/16 -d 10.96.0.10/32 -p udp -m udp --dport 53 -j KUBE-MARK-MASQ`,
			`-A KUBE-SVC-A -j KUBE-SEP-A`,
			`-A KUBE-SEP-A -s 10.4.5.9/32 -j KUBE-MARK-MASQ`,
			`-A KUBE-SEP-A -p udp -m udp -j DNAT --to-destination 10.4.5.9:53`,
			`-A KUBE-SVC-B -j KUBE-SEP-B`,
			`-A KUBE-SEP-B -s 10.4.4.10/32 -j KUBE-MARK-MASQ`,
			`-A KUBE-SEP-B -p tcp -m tcp -j DNAT --to-destination 10.4.4.10:8080`,
		},
	}}
}
