// SPDX-License-Identifier: Apache-2.0

package noderoute_test

import (
	"context"
	"strings"
	"testing"

	"github.com/ambient22/ambient22/noderoute"
	"github.com/ambient22/ambient22/noderoute/netnstest"
	"github.com/google/go-cmp/cmp"
)

// ztunnelA is the article's ztunnel pod on node A.
func ztunnelA(t testing.TB) noderoute.PodConfig {
	return noderoute.PodConfig{PodName: "ztunnel-rts54", LogRule: true, Tunnel: netnstest.Tunnel(t)}
}

// buildPod makes the inside of a pod in the test's namespace.
func buildPod(t *testing.T) {
	t.Helper()
	netnstest.Run(t, "sysctl -qw net.ipv6.conf.default.disable_ipv6=1")
	netnstest.Run(t, "sysctl -qw net.ipv4.conf.all.rp_filter=1")
	netnstest.Run(t, "ip link add eth0 mtu 1460 type veth peer name host0 mtu 1460")
	netnstest.Run(t, "ip link set host0 up")
	netnstest.Run(t, "ip link set eth0 up")
	netnstest.Run(t, "ip addr add 10.4.4.18/24 dev eth0")
	netnstest.Run(t, "ip route add default via 10.4.4.1 dev eth0")
	netnstest.Settle(t)
}

func initPod(t *testing.T, n *noderoute.Node, c noderoute.PodConfig) noderoute.Result {
	t.Helper()
	r, err := n.InitPod(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestInitPodPrintsTheListings(t *testing.T) {
	forVariants(t, func(t *testing.T, v noderoute.Variant) {
		buildPod(t)
		n := newNode(t, v)
		if r := initPod(t, n, ztunnelA(t)); r.Execs != 1 {
			t.Errorf("%d writing processes", r.Execs)
		}
		save := netnstest.Run(t, "iptables-"+v.String()+"-save")
		wantListing(t, tableOf(save, "mangle"), "listing-06-ztunnel-a.iptables-save.txt",
			":PREROUTING ACCEPT [185880:96984381]", ":PREROUTING ACCEPT", ":INPUT ACCEPT [185886:96984813]", ":INPUT ACCEPT",
			":FORWARD ACCEPT [0:0]", ":FORWARD ACCEPT", ":OUTPUT ACCEPT [167491:24099839]", ":OUTPUT ACCEPT",
			":POSTROUTING ACCEPT [167491:24099839]", ":POSTROUTING ACCEPT")
		wantListing(t, save, "listing-18-ztunnel-b.iptables-save.txt")
		wantListing(t, netnstest.Run(t, "ip rule"), "listing-07-ztunnel-a.ip-rule.txt")
		wantListing(t, netnstest.Run(t, "ip route show table 100"), "listing-08-ztunnel-a.table-100.txt")
		for table, want := range map[string]string{
			"101": "default via 192.168.127.1 dev pistioout\n10.4.4.1 dev eth0 scope link\n",
			"102": "default via 192.168.126.1 dev pistioin\n10.4.4.1 dev eth0 scope link\n",
		} {
			out := strings.ReplaceAll(netnstest.Run(t, "ip route show table "+table), " \n", "\n")
			if out != want {
				t.Errorf("table %s:\n%s", table, out)
			}
		}
		for _, rule := range []string{
			"-A PREROUTING ! -d 10.4.4.18/32 -i eth0 -p tcp -j MARK --set-xmark 0x4d3/0xfff",
			"-A OUTPUT -p tcp -m tcp --dport 15088 -j REDIRECT --to-ports 15008",
		} {
			if !strings.Contains(save, rule+"\n") {
				t.Errorf("no rule %s in\n%s", rule, save)
			}
		}
		for _, d := range []string{"all", "default", "eth0", "pistioin", "pistioout"} {
			if got := strings.TrimSpace(netnstest.Run(t, "sysctl -n net.ipv4.conf."+d+".rp_filter")); got != "0" {
				t.Errorf("rp_filter of %s is %s", d, got)
			}
		}
		out := netnstest.Run(t, "ip addr show pistioout")
		if !strings.Contains(out, "qlen 1000") || !strings.Contains(out, "inet 192.168.127.2/30 scope global pistioout") || !strings.Contains(out, "mtu 1410") {
			t.Errorf("pistioout:\n%s", out)
		}
	})
}

func TestInitPodAgainAndCleanup(t *testing.T) {
	forVariants(t, func(t *testing.T, v noderoute.Variant) {
		buildPod(t)
		// A service mesh's or a CNI plugin's own rules inside the pod.
		netnstest.Input(t, "iptables-"+v.String()+"-restore --noflush", `*mangle
-A PREROUTING -p icmp -j ACCEPT
COMMIT
*nat
-A OUTPUT -p udp -j ACCEPT
COMMIT
`)
		before := dump(t)
		n := newNode(t, v)
		c := ztunnelA(t)
		initPod(t, n, c)
		if r := initPod(t, n, c); r.Writes() != 0 {
			t.Errorf("a second init: %+v", r)
		}
		if problems, err := n.PreflightPod(context.Background(), c); err != nil || len(problems) > 0 {
			t.Errorf("preflight of a programmed pod: %v, %v", problems, err)
		}

		// Another name and another port: only that changes, in one commit.
		c.PodName = "ztunnel-with-a-very-long-name-z4qmh"
		r := initPod(t, n, c)
		if diff := cmp.Diff([]string{"iptables -t mangle: repair our 5 rules at the head of PREROUTING"}, r.Changes); diff != "" {
			t.Errorf("changes differ (-want +got):\n%s", diff)
		}
		save := netnstest.Run(t, "iptables-"+v.String()+"-save")
		if !strings.Contains(save, `-A PREROUTING -j LOG --log-prefix "mangle pre [ ztunnel-with-a-v"`) {
			t.Errorf("the prefix is not cut at 29 characters:\n%s", save)
		}
		c.LogRule = false
		initPod(t, n, c)
		if out := netnstest.Run(t, "iptables-"+v.String()+"-save"); strings.Contains(out, "LOG") {
			t.Errorf("the LOG rule is left:\n%s", out)
		}
		if out := tableOf(netnstest.Run(t, "iptables-"+v.String()+"-save"), "mangle"); !strings.HasSuffix(out, "-A PREROUTING -p icmp -j ACCEPT\n") {
			t.Errorf("the foreign rule is not behind ours:\n%s", out)
		}

		// The pod's address changes (a test's; a real pod keeps its own).
		if _, err := n.CleanupPod(context.Background()); err != nil {
			t.Fatal(err)
		}
		wantSame(t, before, dump(t))
	})
}

func TestPodDriftIsRepaired(t *testing.T) {
	netnstest.Enter(t)
	buildPod(t)
	n := newNode(t, noderoute.NFT)
	initPod(t, n, ztunnelA(t))
	good := dump(t)
	for _, breaking := range []string{
		"iptables-nft -t mangle -F PREROUTING",
		"iptables-nft -t mangle -D PREROUTING 2",
		"iptables-nft -t nat -F OUTPUT",
		"ip rule del priority 20003",
		"ip route flush table 100",
		"ip route del default table 102",
		"sysctl -qw net.ipv4.conf.eth0.rp_filter=1",
	} {
		netnstest.Run(t, breaking)
		if r := initPod(t, n, ztunnelA(t)); len(r.Changes) != 1 {
			t.Errorf("%s: %v", breaking, r.Changes)
		}
		wantSame(t, good, dump(t))
	}
}

func TestPreflightPodNames(t *testing.T) {
	cases := map[string]struct {
		spoil []string
		want  []string
	}{
		"no default route":   {[]string{"ip route del default"}, []string{"no default route", "ip route show default"}},
		"no eth0":            {[]string{"ip link del eth0"}, []string{"no eth0"}},
		"link-local gateway": {[]string{"ip route replace default via 169.254.1.1 dev eth0 onlink"}, []string{"169.254.1.1", "Calico"}},
		"foreign rule":       {[]string{"ip rule add priority 20001 from 10.9.0.0/16 lookup 77"}, []string{"the priority 20001"}},
		"foreign route":      {[]string{"ip route add 10.99.0.0/16 dev eth0 table 102"}, []string{"route is in table 102"}},
		"foreign device":     {[]string{"ip link add pistioin type bridge"}, []string{"ip link show pistioin"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			netnstest.Enter(t)
			buildPod(t)
			for _, line := range c.spoil {
				netnstest.Run(t, line)
			}
			problems, err := newNode(t, noderoute.NFT).PreflightPod(context.Background(), ztunnelA(t))
			if err != nil {
				t.Fatal(err)
			}
			wantProblem(t, problems, c.want...)
		})
	}
}

func TestPreflightPodNamesMissingTPROXY(t *testing.T) {
	netnstest.Enter(t)
	buildPod(t)
	spoilRestore(t, "TPROXY")
	problems, err := newNode(t, noderoute.NFT).PreflightPod(context.Background(), ztunnelA(t))
	if err != nil {
		t.Fatal(err)
	}
	wantProblem(t, problems, "lacks the iptables target TPROXY", "xt_TPROXY")
	if len(problems) != 1 {
		t.Errorf("problems:\n%s", lines(problems))
	}
}
