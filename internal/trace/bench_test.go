// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"fmt"
	"net/netip"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ambient22/ambient22/internal/dump"
	"github.com/ambient22/ambient22/internal/dump/iptsave"
)

// BenchmarkNode follows the article's captured SYN through all of node A's rules:
// with every step recorded and without.
func BenchmarkNode(b *testing.B) {
	s := nodeA().space(b)
	p := tcp("10.4.4.19:40000", "10.8.14.226:9080").via("veth19")
	for _, record := range []bool{true, false} {
		b.Run(fmt.Sprintf("steps=%v", record), func(b *testing.B) {
			w := &Walk{Record: record}
			b.ReportAllocs()
			begin := cpuTime(b)
			for b.Loop() {
				s.Receive(p, nil, w)
			}
			if w.Verdict != Sent {
				b.Fatal(w.Verdict)
			}
			report(b, begin)
		})
	}
}

// BenchmarkNodeConns is the same with a connection table that grows.
func BenchmarkNodeConns(b *testing.B) {
	s := nodeA().space(b)
	p := tcp("10.4.4.19:40000", "10.8.14.226:9080").via("veth19")
	w, c := &Walk{Record: true}, NewConns()
	b.ReportAllocs()
	begin := cpuTime(b)
	for i := 0; b.Loop(); i++ {
		if i%50000 == 0 {
			c = NewConns()
		}
		p.Src = netip.AddrPortFrom(p.Src.Addr(), uint16(10000+i%50000))
		s.Receive(p, c, w)
	}
	report(b, begin)
}

// cpuTime is what this process has used, which a busy machine does not change.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func report(b *testing.B, begin time.Duration) {
	b.ReportMetric(float64(b.N)/(cpuTime(b)-begin).Seconds(), "packets/cpu-s")
}

// kubeProxy is what kube-proxy writes for that many services of three endpoints:
// eleven rules each.
func kubeProxy(services int) string {
	var head, rules strings.Builder
	head.WriteString("*nat\n:PREROUTING ACCEPT [0:0]\n:INPUT ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n:KUBE-SERVICES - [0:0]\n:KUBE-MARK-MASQ - [0:0]\n")
	rules.WriteString("-A PREROUTING -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES\n-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000\n")
	for i := range services {
		svc, vip := fmt.Sprintf("KUBE-SVC-%010d", i), fmt.Sprintf("10.96.%d.%d", i/250, 1+i%250)
		fmt.Fprintf(&head, ":%s - [0:0]\n", svc)
		fmt.Fprintf(&rules, "-A KUBE-SERVICES -d %s/32 -p tcp -m comment --comment \"ns/svc-%d:http cluster IP\" -m tcp --dport 80 -j %s\n", vip, i, svc)
		fmt.Fprintf(&rules, "-A %s ! -s 10.0.0.0/9 -d %s/32 -p tcp -m comment --comment \"ns/svc-%d:http cluster IP\" -m tcp --dport 80 -j KUBE-MARK-MASQ\n", svc, vip, i)
		for j, chance := range []string{"-m statistic --mode random --probability 0.33333333349 ", "-m statistic --mode random --probability 0.50000000000 ", ""} {
			sep, ip := fmt.Sprintf("KUBE-SEP-%010d", i*3+j), fmt.Sprintf("10.%d.%d.%d", 10+j, i/250, 1+i%250)
			fmt.Fprintf(&head, ":%s - [0:0]\n", sep)
			fmt.Fprintf(&rules, "-A %s -m comment --comment \"ns/svc-%d:http -> %s:8080\" %s-j %s\n", svc, i, ip, chance, sep)
			fmt.Fprintf(&rules, "-A %s -s %s/32 -m comment --comment \"ns/svc-%d:http\" -j KUBE-MARK-MASQ\n", sep, ip, i)
			fmt.Fprintf(&rules, "-A %s -p tcp -m comment --comment \"ns/svc-%d:http\" -m tcp -j DNAT --to-destination %s:8080\n", sep, i, ip)
		}
	}
	return head.String() + rules.String() + "COMMIT\n"
}

// BenchmarkKubeProxy reads, compiles and follows: a node with 50,000 rules.
func BenchmarkKubeProxy(b *testing.B) {
	const services = 4546
	text := kubeProxy(services)
	b.Logf("%d rules, %d bytes", strings.Count(text, "\n-A "), len(text))
	var parse, compile, walk time.Duration
	for b.Loop() {
		begin := time.Now()
		save, err := iptsave.Parse("nat", text)
		if err != nil {
			b.Fatal(err)
		}
		parsed := time.Now()
		ns := &dump.Netns{Legacy: save, Routes: nodeA().netns(b).Routes, Sysctls: hostSysctls()}
		s, err := Compile(ns, Choosing(FirstWay))
		if err != nil {
			b.Fatal(err)
		}
		compiled := time.Now()
		w := &Walk{Record: true}
		s.Receive(tcp("10.4.4.19:4000", "10.96.18.40:80").via("eth0"), nil, w)
		if w.Verdict != Sent || w.Packet.Dst.String() != "10.10.18.40:8080" {
			b.Fatal(w.Verdict, w.Packet)
		}
		parse, compile, walk = parsed.Sub(begin), compiled.Sub(parsed), time.Since(compiled)
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	b.ReportMetric(parse.Seconds()*1000, "ms-parse")
	b.ReportMetric(compile.Seconds()*1000, "ms-compile")
	b.ReportMetric(walk.Seconds()*1000, "ms-walk")
	b.ReportMetric(float64(m.Sys)/(1<<20), "MiB-from-OS")
}
