// SPDX-License-Identifier: Apache-2.0

package noderoute_test

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/ambient22/ambient22/geneve"
	"github.com/ambient22/ambient22/ipset"
	"github.com/ambient22/ambient22/noderoute"
	"github.com/ambient22/ambient22/noderoute/netnstest"
)

// The benchmarks run the two ways side by side, in the same namespace and in
// turns, and report how many times faster this project's is. "2022" is how the
// node agent of September 2022 did it: one iptables process per rule, and for
// each pod a shell that counts routes, an `ip route add`, and a set call.

// BenchmarkInstall measures programming an empty node.
func BenchmarkInstall(b *testing.B) {
	for _, v := range []noderoute.Variant{noderoute.NFT, noderoute.Legacy} {
		b.Run(v.String(), func(b *testing.B) {
			netnstest.Enter(b)
			c := nodeA(b)
			c.Pods = nil
			buildNode(b, c, v)
			n := newNode(b, v)
			// Both ways do the same: the rules of the plan.
			p, err := n.Plan(context.Background(), c)
			if err != nil {
				b.Fatal(err)
			}
			var old, ours time.Duration
			execs := 0
			for b.Loop() {
				old += timed(b, func() { install2022(b, p, v) })
				cleanup(b, n)
				ours += timed(b, func() { execs = apply(b, n, c).Execs })
				cleanup(b, n)
			}
			report(b, old, ours, 1)
			b.ReportMetric(float64(execs), "writing-processes")
		})
	}
}

// BenchmarkApplyUnchanged measures a whole check of a node that is as it
// should be.
func BenchmarkApplyUnchanged(b *testing.B) {
	for _, count := range []int{10, 1_000} {
		b.Run(fmt.Sprintf("%d", count), func(b *testing.B) {
			netnstest.Enter(b)
			c, n := benchNode(b, count)
			apply(b, n, c)
			for b.Loop() {
				if r := apply(b, n, c); r.Writes() != 0 {
					b.Fatalf("unchanged, and yet %+v", r)
				}
			}
		})
	}
}

// BenchmarkEnrol200 measures enrolling 200 pods that exist already.
func BenchmarkEnrol200(b *testing.B) {
	netnstest.Enter(b)
	c, n := benchNode(b, 200)
	var old, ours time.Duration
	for b.Loop() {
		old += timed(b, func() { enrol2022(b, c) })
		release(b, n, c)
		ours += timed(b, func() { enrol(b, n, c) })
		release(b, n, c)
	}
	report(b, old, ours, len(c.Pods))
}

// BenchmarkEnrol measures the cost per pod, which does not depend on how many
// pods there are: "at once" enrols all of them, "one more" a single pod on a
// node that has that many.
func BenchmarkEnrol(b *testing.B) {
	for _, count := range []int{10, 100, 1_000, 10_000} {
		b.Run(fmt.Sprintf("%d", count), func(b *testing.B) {
			netnstest.Enter(b)
			c, n := benchNode(b, count)
			var all, one time.Duration
			rounds := 0
			for b.Loop() {
				all += timed(b, func() { enrol(b, n, c) })
				last := c
				last.Pods = c.Pods[len(c.Pods)-1:]
				release(b, n, last)
				one += timed(b, func() { enrol(b, n, last) })
				release(b, n, c)
				rounds++
			}
			b.ReportMetric(micros(all)/float64(rounds*count), "µs/pod-at-once")
			b.ReportMetric(micros(one)/float64(rounds), "µs/one-more")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// BenchmarkDamagedSkipRule measures checking a node whose skip rule is missing: each
// pod's route is then looked for in the main table.
func BenchmarkDamagedSkipRule(b *testing.B) {
	netnstest.Enter(b)
	c, n := benchNode(b, 500)
	apply(b, n, c)
	for b.Loop() {
		b.StopTimer()
		netnstest.Run(b, "ip rule del priority 100")
		b.StartTimer()
		if r, err := n.Repair(context.Background(), c, noderoute.Rules); err != nil || len(r.Changes) != 1 {
			b.Fatalf("repairing: %+v, %v", r, err)
		}
	}
}

// benchNode is a programmed node with pods that are not enrolled yet.
func benchNode(b *testing.B, count int) (noderoute.HostConfig, *noderoute.Node) {
	b.Helper()
	c := nodeA(b)
	c.Pods = nil
	buildNode(b, c, noderoute.NFT)
	n := newNode(b, noderoute.NFT)
	apply(b, n, c)
	addPods(b, &c, count)
	return c, n
}

// addPods hangs many pods on a node, as addPod does one, and adds them to a
// configuration.
func addPods(b *testing.B, c *noderoute.HostConfig, count int) {
	b.Helper()
	var links, routes strings.Builder
	ip := netip.MustParseAddr("10.8.0.0")
	for i := range count {
		ip = ip.Next()
		c.Pods = append(c.Pods, noderoute.Pod{UID: fmt.Sprintf("85c8c34e-7ae3-4d29-9582-%012d", i), IP: ip})
		fmt.Fprintf(&links, "link add v%d up type veth peer name p%d\n", i, i)
		fmt.Fprintf(&routes, "route add %s dev v%d\n", ip, i)
	}
	netnstest.Input(b, "ip -batch -", links.String())
	netnstest.Input(b, "ip -batch -", routes.String())
}

func enrol(b *testing.B, n *noderoute.Node, c noderoute.HostConfig) {
	r, err := n.UpdatePods(context.Background(), c, c.Pods, nil)
	if err != nil || len(r.Refused) > 0 || r.Execs+r.Listings > 0 {
		b.Fatalf("enrolling: %v, refused %v, %d processes", err, r.Refused, r.Execs+r.Listings)
	}
}

func release(b *testing.B, n *noderoute.Node, c noderoute.HostConfig) {
	if _, err := n.UpdatePods(context.Background(), c, nil, c.Pods); err != nil {
		b.Fatal(err)
	}
}

func cleanup(b *testing.B, n *noderoute.Node) {
	if _, err := n.Cleanup(context.Background()); err != nil {
		b.Fatal(err)
	}
}

// install2022 makes one process per rule, and one to see whether there are any.
func install2022(b *testing.B, p noderoute.Plan, v noderoute.Variant) {
	links, err := geneve.Dial()
	if err != nil {
		b.Fatal(err)
	}
	defer links.Close()
	if err := links.Apply(geneve.Diff(p.Devices, nil)); err != nil {
		b.Fatal(err)
	}
	for _, y := range p.Sysctls {
		if err := os.WriteFile(fmt.Sprintf("/proc/sys/net/ipv4/conf/%s/%s", y.Device, y.Key), []byte(y.Value), 0); err != nil {
			b.Fatal(err)
		}
	}
	setCall(b, ipset.Changes{Name: p.Set.Name, Create: true})
	iptables := "iptables-" + v.String() + " -t "
	if _, err := netnstest.Try(iptables + "mangle -C OUTPUT -j ztunnel-OUTPUT"); err == nil {
		b.Fatal("the node is not empty")
	}
	for _, t := range p.Tables {
		for _, chain := range t.Own {
			netnstest.Run(b, iptables+t.Name+" -N "+chain.Name)
		}
		for _, chain := range t.Head {
			netnstest.Run(b, iptables+t.Name+" -I "+chain.Name+" "+chain.Rules[0])
		}
		for _, chain := range t.Own {
			for _, rule := range chain.Rules {
				netnstest.Run(b, iptables+t.Name+" -A "+chain.Name+" "+rule)
			}
		}
	}
	for _, r := range p.Routes {
		netnstest.Run(b, fmt.Sprintf("ip route add table %d %s", r.Table, r))
	}
	for _, r := range p.Rules {
		_, rest, _ := strings.Cut(r.String(), "\t")
		netnstest.Run(b, fmt.Sprintf("ip rule add priority %d %s", r.Priority, rest))
	}
}

// enrol2022 makes three processes of a shell's, one of ip's and one set call
// per pod.
func enrol2022(b *testing.B, c noderoute.HostConfig) {
	for _, p := range c.Pods {
		counted := exec.Command("bash", "-c", fmt.Sprintf("ip route show table 100 | grep %s | wc -l", p.IP))
		if out, err := counted.CombinedOutput(); err != nil {
			b.Fatalf("%v: %s", err, out)
		}
		netnstest.Run(b, fmt.Sprintf("ip route add table 100 %s via 192.168.126.2 dev istioin src %s", p.IP, c.HostIP))
		setCall(b, ipset.Changes{Name: noderoute.SetName, Add: []ipset.Entry{{IP: p.IP, Comment: p.UID}}})
	}
}

func setCall(b *testing.B, ch ipset.Changes) {
	conn, err := ipset.Dial()
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	if err := conn.Apply(ch); err != nil {
		b.Fatal(err)
	}
}

func timed(b *testing.B, f func()) time.Duration {
	b.Helper()
	start := time.Now()
	f()
	return time.Since(start)
}

func report(b *testing.B, old, ours time.Duration, per int) {
	b.Helper()
	b.ReportMetric(micros(old)/float64(b.N*per), "µs-2022")
	b.ReportMetric(micros(ours)/float64(b.N*per), "µs-ours")
	b.ReportMetric(float64(old)/float64(ours), "times-faster")
	b.ReportMetric(0, "ns/op")
}

func micros(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }
