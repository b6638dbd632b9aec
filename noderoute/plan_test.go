// SPDX-License-Identifier: Apache-2.0

package noderoute_test

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/ambient22/ambient22/geneve"
	"github.com/ambient22/ambient22/internal/golden"
	"github.com/ambient22/ambient22/noderoute"
	"github.com/google/go-cmp/cmp"
)

func facts(c noderoute.HostConfig) noderoute.Facts {
	f := noderoute.Facts{Ztunnel: noderoute.Hop{Dev: "veth52b75946", MTU: 1460, Bits: 32}, Pods: map[netip.Addr]noderoute.Hop{}}
	for _, p := range c.Pods {
		f.Pods[p.IP] = noderoute.Hop{Dev: veth(p.IP), Bits: 32}
	}
	return f
}

func TestPlanHost(t *testing.T) {
	c := nodeA(t)
	c.Tunnel = geneve.Geneve
	p, err := noderoute.PlanHost(c, facts(c))
	if err != nil {
		t.Fatal(err)
	}
	golden.Check(t, "testdata/plan-node-a.txt", p.String())

	c.Tunnel, c.TunnelPort, c.DNSCapture, c.Hardened = geneve.VXLAN, 6089, true, true
	c.Pods = append(c.Pods, noderoute.Pod{UID: "six", IP: netip.MustParseAddr("fd00::6")})
	p, err = noderoute.PlanHost(c, facts(nodeA(t)))
	if err != nil {
		t.Fatal(err)
	}
	golden.Check(t, "testdata/plan-node-a-options.txt", p.String())
}

func TestPlanPod(t *testing.T) {
	f := noderoute.PodFacts{IP: netip.MustParseAddr("10.4.4.18"), Gateway: netip.MustParseAddr("10.4.4.1"), MTU: 1460}
	c := ztunnelA(t)
	c.Tunnel = geneve.Geneve
	p, err := noderoute.PlanPod(c, f)
	if err != nil {
		t.Fatal(err)
	}
	golden.Check(t, "testdata/plan-ztunnel-a.txt", p.String())
}

// The order of the pods does not matter.
func TestPlanIsStable(t *testing.T) {
	c := nodeB(t)
	a, err := noderoute.PlanHost(c, facts(c))
	if err != nil {
		t.Fatal(err)
	}
	for i, j := 0, len(c.Pods)-1; i < j; i, j = i+1, j-1 {
		c.Pods[i], c.Pods[j] = c.Pods[j], c.Pods[i]
	}
	b, err := noderoute.PlanHost(c, facts(c))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(a.String(), b.String()); diff != "" {
		t.Errorf("the plan depends on the order of the pods:\n%s", diff)
	}
}

func TestPlansThatCannotBe(t *testing.T) {
	six := netip.MustParseAddr("fd00::1")
	for name, spoil := range map[string]func(*noderoute.HostConfig, *noderoute.Facts){
		"IPv6 ztunnel":     func(c *noderoute.HostConfig, _ *noderoute.Facts) { c.ZtunnelIP = six },
		"IPv6 host":        func(c *noderoute.HostConfig, _ *noderoute.Facts) { c.HostIP = six },
		"no ztunnel":       func(c *noderoute.HostConfig, _ *noderoute.Facts) { c.ZtunnelIP = netip.Addr{} },
		"no route":         func(_ *noderoute.HostConfig, f *noderoute.Facts) { f.Ztunnel = noderoute.Hop{} },
		"ztunnel far away": func(_ *noderoute.HostConfig, f *noderoute.Facts) { f.Ztunnel.Via = six },
		"a bridge":         func(_ *noderoute.HostConfig, f *noderoute.Facts) { f.Ztunnel.Bits = 24 },
		"wildcard veth":    func(_ *noderoute.HostConfig, f *noderoute.Facts) { f.Ztunnel.Dev = "veth+" },
		"two rules in one": func(_ *noderoute.HostConfig, f *noderoute.Facts) { f.Ztunnel.Dev = "a\nCOMMIT" },
	} {
		t.Run(name, func(t *testing.T) {
			c := nodeA(t)
			f := facts(c)
			spoil(&c, &f)
			if _, err := noderoute.PlanHost(c, f); err == nil {
				t.Error("planned")
			} else if c.HostIP == six && !errors.Is(err, noderoute.ErrIPv6) {
				t.Error(err)
			}
		})
	}
	f := noderoute.PodFacts{IP: netip.MustParseAddr("10.4.4.18"), Gateway: netip.MustParseAddr("10.4.4.1")}
	for _, name := range []string{"", "a\" -j DROP", "a\nCOMMIT", "UPPER"} {
		if _, err := noderoute.PlanPod(noderoute.PodConfig{PodName: name, LogRule: true}, f); err == nil {
			t.Errorf("planned a LOG rule for the name %q", name)
		}
	}
	if _, err := noderoute.PlanPod(noderoute.PodConfig{}, f); err != nil {
		t.Errorf("without a LOG rule no name is needed: %v", err)
	}
}

func TestParseVariant(t *testing.T) {
	for _, v := range []noderoute.Variant{noderoute.Auto, noderoute.NFT, noderoute.Legacy} {
		if got, err := noderoute.ParseVariant(v.String()); got != v || err != nil {
			t.Errorf("ParseVariant(%q) = %v, %v", v.String(), got, err)
		}
	}
	if _, err := noderoute.ParseVariant("ebtables"); err == nil {
		t.Error("ParseVariant takes ebtables")
	}
}
