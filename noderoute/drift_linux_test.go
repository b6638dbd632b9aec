// SPDX-License-Identifier: Apache-2.0

package noderoute_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/ambient22/ambient22/noderoute"
	"github.com/ambient22/ambient22/noderoute/netnstest"
	"github.com/google/go-cmp/cmp"
)

// Each case breaks a programmed node in one way and says what repairs it:
// nothing else may be touched.
func TestDriftIsRepaired(t *testing.T) {
	kind := netnstest.Tunnel(t).String()
	add := func(name string, vni, network int) string {
		s := fmt.Sprintf("ip link add %s %s id %d remote 10.4.4.18 dstport 6081 addr 192.168.%d.1/30 brd 192.168.%d.3 txqueuelen 0",
			name, kind, vni, network, network)
		if kind == "vxlan" {
			s += " mtu 1410"
		}
		return s
	}
	cases := map[string]struct {
		breaking []string
		want     []string
	}{
		"chain flushed": {
			[]string{"IPTABLES -t mangle -F ztunnel-PREROUTING"},
			[]string{"iptables -t mangle: write chain ztunnel-PREROUTING (15 rules)"},
		},
		"rule added to a chain of ours": {
			[]string{"IPTABLES -t nat -I ztunnel-PREROUTING -j RETURN"},
			[]string{"iptables -t nat: write chain ztunnel-PREROUTING (1 rules)"},
		},
		"rule changed": {
			[]string{"IPTABLES -t mangle -R ztunnel-FORWARD 1 -m mark --mark 0x220/0x220 -j ACCEPT"},
			[]string{"iptables -t mangle: write chain ztunnel-FORWARD (2 rules)"},
		},
		"jump moved": {
			[]string{"IPTABLES -t nat -D PREROUTING -j ztunnel-PREROUTING", "IPTABLES -t nat -A PREROUTING -j ztunnel-PREROUTING"},
			[]string{"iptables -t nat: repair our 1 rules at the head of PREROUTING"},
		},
		"jump doubled": {
			[]string{"IPTABLES -t mangle -A INPUT -j ztunnel-INPUT"},
			[]string{"iptables -t mangle: repair our 2 rules at the head of INPUT"},
		},
		"jump gone": {
			[]string{"IPTABLES -t mangle -D OUTPUT -j ztunnel-OUTPUT"},
			[]string{"iptables -t mangle: put our 1 rules at the head of OUTPUT"},
		},
		"somebody came before the jump": {
			[]string{"IPTABLES -t mangle -I FORWARD -p icmp -j ACCEPT"},
			[]string{"iptables -t mangle: repair our 1 rules at the head of FORWARD"},
		},
		"chain of an older install": {
			[]string{"IPTABLES -t nat -N ztunnel-OUTPUT", "IPTABLES -t nat -A OUTPUT -j ztunnel-OUTPUT"},
			[]string{"iptables -t nat: remove our 1 rules at the head of OUTPUT", "iptables -t nat: delete chain ztunnel-OUTPUT"},
		},
		"rule deleted": {
			[]string{"ip rule del priority 101"},
			[]string{"ip rule add 101:\tfrom all fwmark 0x100/0x100 lookup 101"},
		},
		"route deleted": {
			[]string{"ip route del 10.4.4.19 table 100"},
			[]string{"ip route add table 100 10.4.4.19 via 192.168.126.2 dev istioin src 10.4.4.1"},
		},
		"route changed": {
			[]string{"ip route replace 10.4.4.18 dev istioin table 101"},
			[]string{"ip route add table 101 10.4.4.18 dev veth040412 scope link"},
		},
		"route of a pod that is gone": {
			[]string{"ip route add 10.4.4.99 via 192.168.126.2 dev istioin table 100"},
			[]string{"ip route del table 100 10.4.4.99 via 192.168.126.2 dev istioin"},
		},
		"set flushed": {
			[]string{"ipset flush ztunnel-pods-ips"},
			[]string{`ipset add ztunnel-pods-ips 10.4.4.7 comment "b1"`, `ipset add ztunnel-pods-ips 10.4.4.11 comment "b2"`,
				`ipset add ztunnel-pods-ips 10.4.4.19 comment "85c8c34e-7ae3-4d29-9582-0819e2b10c69"`},
		},
		"stranger in the set": {
			[]string{"ipset add ztunnel-pods-ips 10.4.4.99"},
			[]string{"ipset del ztunnel-pods-ips 10.4.4.99"},
		},
		"sysctl changed": {
			[]string{"sysctl -qw net.ipv4.conf.veth040413.rp_filter=1"},
			[]string{"sysctl net/ipv4/conf/veth040413/rp_filter=0 (was 1)"},
		},
		"device deleted": {
			[]string{"ip link del istioout"},
			[]string{
				add("istioout", 1001, 127),
				"sysctl net/ipv4/conf/istioout/rp_filter=0 (was not there yet)",
				"sysctl net/ipv4/conf/istioout/accept_local=1 (was not there yet)",
				"ip route add table 101 default via 192.168.127.2 dev istioout",
			},
		},
		"device down": {
			[]string{"ip link set istioout down"},
			[]string{"ip link set istioout up", "ip route add table 101 default via 192.168.127.2 dev istioout"},
		},
		"device with another port": {
			[]string{"ip link del istioin", "ip link add istioin type " + kind + " id 1000 remote 10.4.4.18 dstport 6082"},
			[]string{
				"ip link del istioin",
				add("istioin", 1000, 126),
				"sysctl net/ipv4/conf/istioin/rp_filter=0 (was not there yet)",
				"sysctl net/ipv4/conf/istioin/accept_local=1 (was not there yet)",
				"ip route add table 100 10.4.4.7 via 192.168.126.2 dev istioin src 10.4.4.1",
				"ip route add table 100 10.4.4.11 via 192.168.126.2 dev istioin src 10.4.4.1",
				"ip route add table 100 10.4.4.19 via 192.168.126.2 dev istioin src 10.4.4.1",
			},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			forVariants(t, func(t *testing.T, v noderoute.Variant) {
				config := nodeA(t)
				buildNode(t, config, v)
				n := newNode(t, v)
				apply(t, n, config)
				good := dump(t)
				for _, line := range c.breaking {
					netnstest.Run(t, strings.ReplaceAll(line, "IPTABLES", "iptables-"+v.String()))
				}
				r := apply(t, n, config)
				if diff := cmp.Diff(c.want, r.Changes); diff != "" {
					t.Errorf("changes differ (-want +got):\n%s", diff)
				}
				if again := apply(t, n, config); again.Writes() != 0 {
					t.Errorf("not settled: %+v", again)
				}
				if !strings.HasPrefix(name, "device") && name != "somebody came before the jump" && !strings.HasPrefix(name, "chain of") {
					wantSame(t, good, dump(t))
				}
			})
		})
	}
}

// The active ztunnel changes: everything is turned over in place, and other
// pods' routes and entries are not even looked at.
func TestZtunnelSwitch(t *testing.T) {
	forVariants(t, func(t *testing.T, v noderoute.Variant) {
		c := nodeA(t)
		buildNode(t, c, v)
		next := c
		next.ZtunnelIP = netip.MustParseAddr("10.4.4.30")
		addPod(t, next.ZtunnelIP)
		before := dump(t)
		n := newNode(t, v)
		apply(t, n, c)
		index := indexes(t)
		r := apply(t, n, next)
		want := []string{
			"iptables -t mangle: write chain ztunnel-PREROUTING (19 rules)",
			"ip route add table 101 10.4.4.30 dev veth04041e scope link",
			"ip route add table 102 10.4.4.30 dev veth04041e scope link",
			"ip route add table 102 default via 10.4.4.30 dev veth04041e onlink",
			"ip route add table 100 10.4.4.30 dev veth04041e scope link",
			"ip link set istioin remote 10.4.4.30",
			"ip link set istioout remote 10.4.4.30",
			"iptables -t mangle: write chain ztunnel-PREROUTING (15 rules)",
			"ip route del table 100 10.4.4.18 dev veth040412 scope link",
			"ip route del table 101 10.4.4.18 dev veth040412 scope link",
			"ip route del table 102 10.4.4.18 dev veth040412 scope link",
		}
		var got []string
		for _, line := range r.Changes {
			if !strings.HasPrefix(line, "sysctl ") {
				got = append(got, line)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("changes differ (-want +got):\n%s", diff)
		}
		if r.Execs != 2 {
			t.Errorf("%d writing processes", r.Execs)
		}
		if now := indexes(t); now != index {
			t.Error("the devices were made anew")
		}
		// The new state is the same as a fresh install's for the new ztunnel.
		if again := apply(t, n, next); again.Writes() != 0 {
			t.Errorf("not settled: %+v", again)
		}
		if out := dump(t); strings.Contains(out, "veth040412 scope link table") || strings.Contains(out, "-i veth040412") {
			t.Errorf("the old ztunnel is still spoken of:\n%s", out)
		}
		if got := strings.TrimSpace(netnstest.Run(t, "sysctl -n net.ipv4.conf.veth040412.rp_filter")); got != "2" {
			t.Errorf("rp_filter of the old ztunnel's veth is %s", got)
		}
		if _, err := n.Cleanup(context.Background()); err != nil {
			t.Fatal(err)
		}
		wantSame(t, before, dump(t))
	})
}

// indexes are the devices' interface indexes.
func indexes(t *testing.T) string {
	t.Helper()
	var out string
	for _, d := range []string{noderoute.DeviceInbound, noderoute.DeviceOutbound} {
		index, _, _ := strings.Cut(netnstest.Run(t, "ip -o link show "+d), ":")
		out += d + " " + index + "\n"
	}
	return out
}

// The old ztunnel is gone before the new one is active.
func TestZtunnelSwitchAfterTheOldOneWent(t *testing.T) {
	netnstest.Enter(t)
	c := nodeA(t)
	buildNode(t, c, noderoute.NFT)
	n := newNode(t, noderoute.NFT)
	apply(t, n, c)
	netnstest.Run(t, "ip link del veth040412")
	c.ZtunnelIP = netip.MustParseAddr("10.4.4.30")
	addPod(t, c.ZtunnelIP)
	if r := apply(t, n, c); r.Execs != 1 {
		t.Errorf("%d writing processes", r.Execs)
	}
	if again := apply(t, n, c); again.Writes() != 0 {
		t.Errorf("not settled: %+v", again)
	}
}

// The old ztunnel's address belongs to an enrolled pod by now: nothing of that
// pod's may be left alone as if it still were the ztunnel.
func TestZtunnelSwitchAfterItsAddressWasGivenAway(t *testing.T) {
	netnstest.Enter(t)
	c := nodeA(t)
	buildNode(t, c, noderoute.NFT)
	n := newNode(t, noderoute.NFT)
	apply(t, n, c)
	c.Pods = append(c.Pods, noderoute.Pod{UID: "heir", IP: c.ZtunnelIP})
	c.ZtunnelIP = netip.MustParseAddr("10.4.4.30")
	addPod(t, c.ZtunnelIP)
	if r := apply(t, n, c); r.Execs != 1 || !strings.Contains(strings.Join(r.Changes, "\n"), `10.4.4.18 comment "heir"`) {
		t.Errorf("%d writing processes:\n%s", r.Execs, strings.Join(r.Changes, "\n"))
	}
	if again := apply(t, n, c); again.Writes() != 0 {
		t.Errorf("not settled: %+v", again)
	}
	if out := netnstest.Run(t, "ip route show table all"); strings.Contains(out, "10.4.4.18 dev veth040412 table") {
		t.Errorf("routes of the old ztunnel:\n%s", out)
	}
}

func TestPodsComeAndGo(t *testing.T) {
	netnstest.Enter(t)
	c := nodeA(t)
	buildNode(t, c, noderoute.NFT)
	n := newNode(t, noderoute.NFT)
	all := c.Pods
	c.Pods = nil
	apply(t, n, c)
	empty := dump(t)

	r, err := n.UpdatePods(context.Background(), c, all, nil)
	if err != nil || r.Execs+r.Listings != 0 || len(r.Changes) != len(all) {
		t.Fatalf("enrolling: %+v, %v", r, err)
	}
	with := c
	with.Pods = all
	if r := apply(t, n, with); r.Writes() != 0 {
		t.Errorf("Apply after UpdatePods: %+v", r)
	}
	// An address changes hands in one call: the entry is the new pod's.
	again := noderoute.Pod{UID: "reborn", IP: all[0].IP}
	if _, err := n.UpdatePods(context.Background(), c, []noderoute.Pod{again}, all[:1]); err != nil {
		t.Fatal(err)
	}
	if out := netnstest.Run(t, "ipset list ztunnel-pods-ips"); !strings.Contains(out, `10.4.4.19 comment "reborn"`) {
		t.Errorf("the set:\n%s", out)
	}
	if _, err := n.UpdatePods(context.Background(), c, nil, all); err != nil {
		t.Fatal(err)
	}
	wantSame(t, empty, dump(t))
	// Releasing once more, and releasing pods whose veth is gone, is no error.
	netnstest.Run(t, "ip link del veth040413")
	if _, err := n.UpdatePods(context.Background(), c, nil, all); err != nil {
		t.Fatal(err)
	}
	addPod(t, all[0].IP)
	if _, err := n.Cleanup(context.Background()); err != nil {
		t.Fatal(err)
	}
}

func TestPodsThatCannotTakePart(t *testing.T) {
	netnstest.Enter(t)
	c := nodeA(t)
	buildNode(t, c, noderoute.NFT)
	bad := []noderoute.Pod{
		{UID: "six", IP: netip.MustParseAddr("fd00::6")},
		{UID: "elsewhere", IP: netip.MustParseAddr("10.4.9.9")},
		{UID: "twice", IP: netip.MustParseAddr("10.4.4.7")},
		{UID: "hostnetwork", IP: c.HostIP},
		{UID: "ztunnel", IP: c.ZtunnelIP},
	}
	want := map[string]error{
		"six": noderoute.ErrIPv6, "elsewhere": noderoute.ErrNoRoute, "twice": noderoute.ErrDuplicate, "hostnetwork": nil, "ztunnel": nil,
	}
	check := func(refused []*noderoute.PodError) {
		t.Helper()
		for _, e := range refused {
			reason, known := want[e.Pod.UID]
			if !known || (reason != nil && !errors.Is(e, reason)) || !strings.Contains(e.Error(), e.Pod.UID) {
				t.Errorf("refused: %v", e)
			}
		}
		if len(refused) != len(want) {
			t.Errorf("refused are %v", refused)
		}
	}
	n := newNode(t, noderoute.NFT)
	good := c
	c.Pods = append(bad, c.Pods...)
	check(apply(t, n, c).Refused)
	if r := apply(t, n, good); r.Writes() != 0 {
		t.Errorf("the pods left out were half-programmed: %+v", r)
	}
	delete(want, "twice") // nobody else in this call has its address
	r, err := n.UpdatePods(context.Background(), good, append(bad[:2:2], bad[3:]...), nil)
	if err != nil {
		t.Fatal(err)
	}
	check(r.Refused)
}

func TestApplyWithoutARouteToTheZtunnel(t *testing.T) {
	netnstest.Enter(t)
	c := nodeA(t)
	buildNode(t, c, noderoute.NFT)
	netnstest.Run(t, "ip route del 10.4.4.18")
	r, err := newNode(t, noderoute.NFT).Apply(context.Background(), c)
	if !errors.Is(err, noderoute.ErrNoRoute) || r.Writes() != 0 {
		t.Errorf("Apply: %v, %+v", err, r)
	}
}
