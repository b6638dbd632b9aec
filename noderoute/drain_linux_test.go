// SPDX-License-Identifier: Apache-2.0

package noderoute_test

import (
	"context"
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/ambient22/ambient22/noderoute"
	"github.com/ambient22/ambient22/noderoute/netnstest"
)

// takenOver is node A after another ztunnel took over from the article's, which drains.
func takenOver(t testing.TB, v noderoute.Variant) (before, after noderoute.HostConfig) {
	t.Helper()
	before = nodeA(t)
	buildNode(t, before, v)
	after = before
	after.ZtunnelIP = netip.MustParseAddr("10.4.4.30")
	after.Draining = []netip.Addr{before.ZtunnelIP}
	addPod(t, after.ZtunnelIP)
	return before, after
}

// track puts connections into the kernel's list.
func track(t testing.TB, from netip.Addr, n int, mark string) {
	t.Helper()
	var s strings.Builder
	for i := range n {
		fmt.Fprintf(&s, "-I -p tcp -s %s -d 10.8.%d.%d --sport %d --dport 9080 --state ESTABLISHED -u SEEN_REPLY,ASSURED -t 600 -m %s\n",
			from, i>>8&0xff, i&0xff, 20000+i>>16, mark)
	}
	netnstest.Input(t, "conntrack --load-file -", s.String())
}

func tracked(t testing.TB, mark string) int {
	t.Helper()
	out, err := exec.Command("conntrack", "-L", "-p", "tcp", "--mark", mark).Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(out), "\n")
}

// While a ztunnel drains, its rules stand before the article's; a second run writes
// nothing; what is damaged is repaired; and once it is gone the node is the article's.
func TestDrain(t *testing.T) {
	forVariants(t, func(t *testing.T, v noderoute.Variant) {
		c, next := takenOver(t, v)
		n := newNode(t, v)
		clean := dump(t)
		apply(t, n, next)
		settled := dump(t) // with the new one alone
		apply(t, n, c)
		track(t, c.Pods[0].IP, 10, "0")
		track(t, netip.MustParseAddr("10.9.9.9"), 5, "0x210")
		track(t, netip.MustParseAddr("10.9.9.8"), 5, "0")
		r := apply(t, n, next)
		if r.Drained != 15 || r.Replaced != c.ZtunnelIP || tracked(t, "0x400/0xc00") != 15 || tracked(t, "0x610/0xe10") != 5 {
			t.Errorf("%d connections of %s drain: %d and %d are marked", r.Drained, r.Replaced, tracked(t, "0x400/0xc00"), tracked(t, "0x610/0xe10"))
		}
		if again := apply(t, n, next); again.Writes() != 0 {
			t.Errorf("a second run: %+v", again)
		}
		draining := dump(t)
		for _, damage := range []string{
			"ip rule del fwmark 0x400/0xc00 table 103", "ip rule del fwmark 0x400/0xc00 table 102",
			"ip route flush table 103", "iptables-" + v.String() + " -t mangle -F ztunnel-PREROUTING",
			"iptables-" + v.String() + " -t mangle -D ztunnel-OUTPUT 2",
		} {
			netnstest.Run(t, damage)
			if r, err := n.Repair(context.Background(), next, noderoute.Everything); err != nil || r.Ended || r.Replaced.IsValid() {
				t.Errorf("%s: %+v, %v", damage, r, err)
			}
			wantSame(t, draining, dump(t))
		}
		// A third takes over while the first still drains.
		third := next
		third.ZtunnelIP = netip.MustParseAddr("10.4.4.31")
		third.Draining = []netip.Addr{next.ZtunnelIP, c.ZtunnelIP}
		addPod(t, third.ZtunnelIP)
		if r := apply(t, n, third); r.Replaced != next.ZtunnelIP || r.Drained != 0 || tracked(t, "0x400/0xc00") != 15 {
			t.Errorf("the third: %+v", r)
		}
		// It fails, the second is active again.
		next.Draining = []netip.Addr{third.ZtunnelIP, c.ZtunnelIP}
		apply(t, n, next)
		// Both others go, one with its veth, unannounced.
		netnstest.Run(t, "ip link del "+veth(third.ZtunnelIP))
		next.Draining = next.Draining[1:]
		apply(t, n, next)
		wantSame(t, draining, dump(t))
		next.Draining = nil
		if r := apply(t, n, next); !r.Ended || tracked(t, "0x400/0xc00") != 0 || tracked(t, "0x210/0x210") != 5 {
			t.Errorf("the end: %+v, %d are marked", r, tracked(t, "0x400/0xc00"))
		}
		wantSame(t, settled, dump(t))
		if _, err := n.Cleanup(context.Background()); err != nil {
			t.Fatal(err)
		}
		left := dump(t)
		for line := range strings.Lines(clean) {
			if !strings.Contains(left, line) {
				t.Errorf("cleaned up, and gone: %s", line)
			}
		}
		if strings.Contains(left, veth(third.ZtunnelIP)) || strings.Contains(left, "0xc00") {
			t.Errorf("left behind:\n%s", left)
		}
	})
}

// The veth of a draining ztunnel goes before anybody says so: Repair takes away what
// speaks of it.
func TestDrainEndsWithItsVeth(t *testing.T) {
	netnstest.Enter(t)
	c, next := takenOver(t, noderoute.NFT)
	n := newNode(t, noderoute.NFT)
	apply(t, n, c)
	apply(t, n, next)
	netnstest.Run(t, "ip link del "+veth(c.ZtunnelIP))
	// Until then its connections go to the active one, which resets them.
	if out := netnstest.Run(t, "ip route get 10.8.0.1 from 10.4.4.19 iif "+veth(c.Pods[2].IP)+" mark 0x400"); !strings.Contains(out, veth(next.ZtunnelIP)) {
		t.Errorf("packets of the ztunnel that is gone: %s", out)
	}
	r, err := n.Repair(context.Background(), next, noderoute.Links)
	if err != nil || !r.Ended {
		t.Errorf("%+v, %v", r, err)
	}
	if out := dump(t); strings.Contains(out, veth(c.ZtunnelIP)) || strings.Contains(out, "0xc00") {
		t.Errorf("something speaks of it:\n%s", out)
	}
	// Its address belongs to a pod now.
	addPod(t, c.ZtunnelIP)
	next.Pods = append(next.Pods, noderoute.Pod{UID: "new", IP: c.ZtunnelIP})
	apply(t, n, next)
	if out := dump(t); strings.Contains(out, "0xc00") {
		t.Errorf("the pod with its address counts as a ztunnel:\n%s", out)
	}
}

// The controller is killed after any step, and a new one goes on: what is open on the
// old ztunnel is marked, whatever came in between.
func TestKilledWhileAZtunnelTakesOver(t *testing.T) {
	for most, all := 0, 1; most < all; most++ {
		t.Run(fmt.Sprint(most), func(t *testing.T) {
			netnstest.Enter(t)
			c, next := takenOver(t, noderoute.NFT)
			dir := t.TempDir()
			before := dump(t)
			apply(t, another(t, noderoute.Auto, dir), c)
			track(t, c.Pods[0].IP, 10, "0")
			var err error
			if all, err = another(t, noderoute.Auto, dir).ApplySteps(context.Background(), next, most); err != nil {
				t.Fatal(err)
			}
			n := another(t, noderoute.Auto, dir)
			apply(t, n, next)
			if again := apply(t, n, next); again.Writes() != 0 {
				t.Errorf("not settled: %+v", again)
			}
			// A slot that was begun with and forgotten is not used at once.
			if got := tracked(t, "0x400/0xc00") + tracked(t, "0x800/0xc00"); got != 10 {
				t.Errorf("%d connections are marked", got)
			}
			if _, err := n.Cleanup(context.Background()); err != nil {
				t.Fatal(err)
			}
			wantSame(t, before, dump(t))
		})
	}
}

// A node with many connections: how long marking them takes.
func TestSweepOfManyConnections(t *testing.T) {
	netnstest.Enter(t)
	c, next := takenOver(t, noderoute.NFT)
	n := newNode(t, noderoute.NFT)
	apply(t, n, c)
	const many = 100_000
	netnstest.Run(t, fmt.Sprintf("sysctl -qw net.netfilter.nf_conntrack_max=%d", 2*many))
	track(t, c.Pods[0].IP, many, "0")
	start := time.Now()
	r := apply(t, n, next)
	t.Logf("%d connections marked; the whole change took %v", r.Drained, time.Since(start).Round(time.Millisecond))
	if r.Drained != many || tracked(t, "0x400/0xc00") != many {
		t.Errorf("%d are marked", tracked(t, "0x400/0xc00"))
	}
}

// Others where draining ztunnels have their things: told beforehand, and passed over.
func TestDrainBesideOthers(t *testing.T) {
	netnstest.Enter(t)
	c, next := takenOver(t, noderoute.NFT)
	n := newNode(t, noderoute.NFT)
	look := func() string {
		found, err := n.Preflight(context.Background(), c)
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, p := range found {
			out = append(out, fmt.Sprintf("%v %s", p.Blocking, p))
		}
		return strings.Join(out, "\n")
	}
	if out := look(); out != "" {
		t.Errorf("on a node of its own: %s", out)
	}
	netnstest.Run(t, "ip rule add priority 5000 fwmark 0x800/0x800 lookup 300")
	netnstest.Run(t, "ip rule add priority 5001 fwmark 0x539 lookup 300")
	netnstest.Run(t, "ip route add 192.0.2.0/24 dev "+veth(c.Pods[0].IP)+" table 103")
	for _, want := range []string{"somebody else's rule looks at the mark bits 0xc00", "somebody else's routes are in 1 of the 3 tables"} {
		if out := look(); strings.Count(out, want) != 1 || strings.Contains(out, "true ") {
			t.Errorf("no %q in %s", want, out)
		}
	}
	apply(t, n, c)
	track(t, c.Pods[0].IP, 3, "0")
	if r := apply(t, n, next); r.Drained != 3 || tracked(t, "0x800/0xc00") != 3 {
		t.Errorf("%+v", r)
	}
	next.Draining = nil
	apply(t, n, next)
	if out := netnstest.Run(t, "ip route show table 103"); !strings.Contains(out, "192.0.2.0/24") {
		t.Error("somebody's route is gone")
	}
}
