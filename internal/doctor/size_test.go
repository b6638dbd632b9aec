// SPDX-License-Identifier: Apache-2.0

package doctor_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/ambient22/ambient22/internal/doctor"
	"github.com/ambient22/ambient22/internal/dump"
	"github.com/ambient22/ambient22/internal/dump/iproute"
	"github.com/ambient22/ambient22/internal/dump/iptsave"
	"github.com/ambient22/ambient22/internal/dump/iptsave/gen"
	"github.com/ambient22/ambient22/internal/dump/setsave"
)

// bigNode is node A with kube-proxy's rules for many services and many more pods.
func bigNode(t *testing.T, rules, pods int) *dump.Node {
	t.Helper()
	n := nodeA(t)
	proxy, err := iptsave.Parse("", gen.KubeProxy(gen.For(rules)))
	if err != nil {
		t.Fatal(err)
	}
	nat := n.Host.Legacy.Table("nat")
	for _, c := range proxy.Table("nat").Chains {
		if old := nat.Chain(c.Name); old == nil {
			nat.Chains = append(nat.Chains, c)
		} else if c.Policy == "" {
			old.Rules = append(old.Rules, c.Rules...)
		}
	}
	for i := range pods {
		ip := netip.AddrFrom4([4]byte{10, 4, 4, byte(50 + i)})
		n.Workloads.Pods = append(n.Workloads.Pods, dump.Pod{
			Namespace: "crowd", Name: fmt.Sprintf("pod-%03d", i), IP: ip, Node: n.Workloads.Node, Enrolled: true, Captured: true,
		})
		for _, s := range n.Host.Sets {
			s.Entries = append(s.Entries, setsave.Entry{Elem: ip.String()})
		}
		to := netip.PrefixFrom(ip, 32)
		n.Host.Routes = append(n.Host.Routes,
			&iproute.Route{Type: "unicast", Dst: to, Table: 100, Via: netip.MustParseAddr("192.168.126.2"), Dev: "istioin", Src: netip.MustParseAddr("10.4.4.1")},
			&iproute.Route{Type: "unicast", Dst: to, Table: 254, Dev: "veth6c1b90e4", Scope: "link"})
	}
	return n
}

// TestBigNode: 50,000 rules of kube-proxy and a crowd of pods.
func TestBigNode(t *testing.T) {
	const pods = 20
	n := bigNode(t, 50_000, pods)
	n.Ztunnel.ConfigDump = nil // it does not know the crowd
	start := time.Now()
	r := examine(t, doctor.Input{Node: n})
	t.Logf("examined in %v", time.Since(start).Round(time.Millisecond))
	for _, p := range r.Pods {
		if p.Namespace == "crowd" && p.Capture != doctor.Captured {
			t.Fatalf("%s is %s: %+v", p.Name, p.Capture, p.Reasons)
		}
	}
}
