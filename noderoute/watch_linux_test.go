// SPDX-License-Identifier: Apache-2.0

package noderoute_test

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ambient22/ambient22/noderoute"
	"github.com/ambient22/ambient22/noderoute/netnstest"
	"golang.org/x/sys/unix"
)

// watch follows a node until the test ends and hands over what is told.
func watch(t testing.TB, n *noderoute.Node, changed func(noderoute.Kinds)) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- n.Watch(ctx, changed) }()
	return func() {
		t.Helper()
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

// told waits until all of these kinds were told.
func told(t testing.TB, kinds <-chan noderoute.Kinds, want noderoute.Kinds) {
	t.Helper()
	limit := time.After(20 * time.Second)
	for got := noderoute.Kinds(0); got&want != want; {
		select {
		case k := <-kinds:
			got |= k
		case <-limit:
			t.Fatalf("told of %q, want %q", got, want)
		}
	}
}

// More events than the kernel keeps: nobody knows what was among them.
func TestWatchTellsOfEverythingAfterAnOverflow(t *testing.T) {
	netnstest.Enter(t)
	c := nodeA(t)
	buildNode(t, c, noderoute.NFT)
	n := newNode(t, noderoute.NFT)
	apply(t, n, c)
	kinds, blocked, first := make(chan noderoute.Kinds, 1000), make(chan struct{}), true
	netnstest.Run(t, "ip link add foreign up type veth peer name foreignp")
	netnstest.Run(t, "ip link set foreignp up")
	stop := watch(t, n, func(k noderoute.Kinds) {
		if first { // nothing is read as long as this takes
			first = false
			<-blocked
			return
		}
		kinds <- k
	})
	defer stop()
	read := sync.OnceFunc(func() { close(blocked) })
	defer read()
	var routes strings.Builder
	ip := netip.MustParseAddr("10.64.0.0")
	for range 40_000 {
		ip = ip.Next()
		fmt.Fprintf(&routes, "route add %s dev foreign\n", ip)
	}
	netnstest.Input(t, "ip -batch -", routes.String())
	read()
	told(t, kinds, noderoute.Everything)
}

// What this Node does to routes, rules and links itself it does not tell of.
func TestWatchPassesOverItsOwnEvents(t *testing.T) {
	netnstest.Enter(t)
	c := nodeA(t)
	buildNode(t, c, noderoute.NFT)
	n := newNode(t, noderoute.NFT)
	apply(t, n, c)
	kinds := make(chan noderoute.Kinds, 1000)
	stop := watch(t, n, func(k noderoute.Kinds) { kinds <- k })
	told(t, kinds, noderoute.Everything)
	for range 20 {
		if _, err := n.UpdatePods(context.Background(), c, nil, c.Pods); err != nil {
			t.Fatal(err)
		}
		if _, err := n.UpdatePods(context.Background(), c, c.Pods, nil); err != nil {
			t.Fatal(err)
		}
	}
	netnstest.Run(t, "ip rule del priority 101") // after this one, all before it were seen
	limit := time.After(20 * time.Second)
	for seen := noderoute.Kinds(0); seen&noderoute.Rules == 0; {
		select {
		case k := <-kinds:
			if seen = k; k&noderoute.Routes != 0 {
				t.Errorf("told of %q", k)
			}
		case <-limit:
			t.Fatal("not told of the rule")
		}
	}
	// Without a data path there is nothing to tell.
	cleanup := func() {
		if _, err := n.Cleanup(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	cleanup()
	for len(kinds) > 0 {
		<-kinds
	}
	netnstest.Run(t, "ip rule add priority 101 fwmark 0x100/0x100 lookup 101")
	netnstest.Run(t, "ip rule del priority 101")
	apply(t, n, c)
	netnstest.Run(t, "ip rule del priority 102")
	told(t, kinds, noderoute.Rules)
	stop()
}

// Repair looks at iptables only when asked to.
func TestRepairLooksAtWhatItIsAskedFor(t *testing.T) {
	forVariants(t, func(t *testing.T, v noderoute.Variant) {
		c := nodeA(t)
		buildNode(t, c, v)
		n := newNode(t, v)
		apply(t, n, c)
		good := dump(t)
		netnstest.Run(t, "ip rule del priority 101")
		netnstest.Run(t, "ip route flush table 101")
		netnstest.Run(t, "iptables-"+v.String()+" -t mangle -F ztunnel-PREROUTING")
		r, err := n.Repair(context.Background(), c, noderoute.Routes)
		if err != nil || r.Listings+r.Execs != 0 || r.Kinds[noderoute.Rules] != 1 || r.Kinds[noderoute.Routes] != 2 {
			t.Errorf("repairing routes: %+v, %v", r, err)
		}
		r, err = n.Repair(context.Background(), c, noderoute.Chains)
		if err != nil || r.Execs != 1 || r.Kinds[noderoute.Chains] != 1 || len(r.Changes) != 1 {
			t.Errorf("repairing chains: %+v, %v", r, err)
		}
		wantSame(t, good, dump(t))
		if r, err = n.Repair(context.Background(), c, noderoute.Everything); err != nil || r.Writes() != 0 {
			t.Errorf("repairing nothing: %+v, %v", r, err)
		}
	})
}

// BenchmarkWatch says how much of a processor following a quiet node takes: with so
// many pods, and with so many services' rules of kube-proxy in the legacy tables.
func BenchmarkWatch(b *testing.B) {
	for _, size := range []struct{ pods, services int }{{10, 0}, {100, 1_000}, {1_000, 0}, {100, 10_000}} {
		b.Run(fmt.Sprintf("%d-pods/%d-services", size.pods, size.services), func(b *testing.B) {
			netnstest.Enter(b)
			v := noderoute.NFT
			if size.services > 0 {
				v = noderoute.Legacy
			}
			c := nodeA(b)
			buildNode(b, c, v)
			n := newNode(b, v)
			apply(b, n, c)
			addPods(b, &c, size.pods)
			apply(b, n, c)
			var rules strings.Builder
			rules.WriteString("*nat\n")
			for i := range size.services {
				fmt.Fprintf(&rules, ":KUBE-SVC-%d - [0:0]\n", i)
				for range 3 {
					fmt.Fprintf(&rules, "-A KUBE-SVC-%d -m comment --comment \"default/service-%d:http\" -m statistic --mode random --probability 0.33 -j RETURN\n", i, i)
				}
				fmt.Fprintf(&rules, "-A KUBE-SERVICES -d 10.96.%d.%d/32 -p tcp -m comment --comment \"default/service-%d:http cluster IP\" -m tcp --dport 80 -j KUBE-SVC-%d\n", i/250, i%250, i, i)
			}
			rules.WriteString("COMMIT\n")
			netnstest.Input(b, "iptables-"+v.String()+"-restore --noflush", rules.String())
			const span = 5 * time.Second
			for b.Loop() {
				var before, after unix.Rusage
				kinds := make(chan noderoute.Kinds, 1000)
				stop := watch(b, n, func(k noderoute.Kinds) { kinds <- k })
				told(b, kinds, noderoute.Everything)
				if err := unix.Getrusage(unix.RUSAGE_SELF, &before); err != nil {
					b.Fatal(err)
				}
				<-time.After(span)
				if err := unix.Getrusage(unix.RUSAGE_SELF, &after); err != nil {
					b.Fatal(err)
				}
				stop()
				used := after.Utime.Nano() + after.Stime.Nano() - before.Utime.Nano() - before.Stime.Nano()
				b.ReportMetric(100*float64(used)/float64(span.Nanoseconds()), "%CPU")
			}
		})
	}
}

// What others do in chains of their own is not even told, in either variant.
func TestWatchPassesOverOthersChains(t *testing.T) {
	forVariants(t, func(t *testing.T, v noderoute.Variant) {
		c := nodeA(t)
		buildNode(t, c, v)
		n := newNode(t, v)
		apply(t, n, c)
		kinds := make(chan noderoute.Kinds, 1000)
		stop := watch(t, n, func(k noderoute.Kinds) { kinds <- k })
		defer stop()
		told(t, kinds, noderoute.Everything)
		for _, line := range []string{
			"-t nat -N KUBE-SVC-A", "-t nat -A KUBE-SVC-A -j RETURN", "-t nat -I KUBE-SERVICES -d 10.8.0.1 -j KUBE-SVC-A",
			"-t mangle -N AAA", "-t mangle -A AAA -j RETURN", "-t filter -I FORWARD -j ACCEPT",
		} {
			netnstest.Run(t, "iptables-"+v.String()+" "+line)
		}
		netnstest.Run(t, "ipset flush ztunnel-pods-ips")
		limit := time.After(20 * time.Second)
		for seen := noderoute.Kinds(0); seen&noderoute.Set == 0; {
			select {
			case k := <-kinds:
				if seen = k; k&noderoute.Chains != 0 {
					t.Errorf("told of %q", k)
				}
			case <-limit:
				t.Fatal("not told of the set")
			}
		}
		// Our own chains have moved in the table, and are still known.
		netnstest.Run(t, "iptables-"+v.String()+" -t mangle -D INPUT -j ztunnel-INPUT")
		told(t, kinds, noderoute.Chains)
	})
}
