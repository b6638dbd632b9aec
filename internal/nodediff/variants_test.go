// SPDX-License-Identifier: Apache-2.0

package nodediff_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ambient22/ambient22/internal/dump"
	"github.com/ambient22/ambient22/internal/dump/dumptest"
	"github.com/ambient22/ambient22/internal/dump/iproute"
	"github.com/ambient22/ambient22/internal/dump/iptsave"
	"github.com/ambient22/ambient22/internal/dump/iptsave/gen"
	"github.com/ambient22/ambient22/internal/nodediff"
	"github.com/ambient22/ambient22/noderoute"
)

// setChain puts rules of a plan into a dump's chain.
func setChain(t *testing.T, save *iptsave.Save, table, chain string, rules []string) {
	t.Helper()
	c := save.Table(table).Chain(chain)
	c.Rules = nil
	for _, text := range rules {
		r, err := iptsave.ParseRule("-A " + chain + " " + text)
		if err != nil {
			t.Fatal(err)
		}
		c.Rules = append(c.Rules, r)
	}
}

func noDifference(t *testing.T, n *dump.Node) *nodediff.Report {
	t.Helper()
	r, err := nodediff.Plan(n, nodediff.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range r.Findings {
		if f.Kind.Differs() {
			t.Errorf("%s %s %s: want %q, have %q %v %s", f.Kind, f.Section, f.Place, f.Want, f.Have, f.Fields, f.Note)
		}
	}
	return r
}

// TestDNSCapture: what the option adds is part of the data path.
func TestDNSCapture(t *testing.T) {
	n := dumptest.Open(t, dumptest.Geneve)[0]
	setChain(t, n.Host.Legacy, "nat", "ztunnel-PREROUTING", []string{
		"-m mark --mark 0x100/0x100 -j ACCEPT",
		"-p udp -m udp --dport 53 -m set --match-set ztunnel-pods-ips src -j DNAT --to-destination 10.4.4.18:15053",
	})
	r := noDifference(t, n)
	if got := parameter(r.Generations[0], "DNS capture"); got != "on" {
		t.Errorf("DNS capture is %q, want on", got)
	}
}

// TestDraining: what a node has while a ztunnel drains is no difference.
func TestDraining(t *testing.T) {
	n := dumptest.Open(t, dumptest.VXLAN)[0]
	old := noderoute.Drain{Ztunnel: noderoute.Ztunnel{IP: netip.MustParseAddr("10.4.4.17"), Veth: "veth0ld"}, Slot: 2}
	plan, err := noderoute.PlanHost(
		noderoute.HostConfig{ZtunnelIP: netip.MustParseAddr("10.4.4.18"), HostIP: netip.MustParseAddr("10.4.4.1")},
		noderoute.Facts{Ztunnel: noderoute.Hop{Dev: "veth300a1d80", Bits: 32}}.Held([]noderoute.Drain{old}),
	)
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range plan.Tables {
		for _, c := range table.Own {
			setChain(t, n.Host.Legacy, table.Name, c.Name, c.Rules)
		}
	}
	var rules strings.Builder
	for _, r := range plan.Rules {
		rules.WriteString(r.String() + "\n")
	}
	if n.Host.Rules, err = iproute.ParseRules("", "0:\tfrom all lookup local\n"+rules.String()+"32766:\tfrom all lookup main\n"); err != nil {
		t.Fatal(err)
	}
	for _, r := range plan.Routes {
		if r.Table < noderoute.TableDrain {
			continue
		}
		more, err := iproute.ParseRoutes("", r.String()+"\n", r.Table)
		if err != nil {
			t.Fatal(err)
		}
		n.Host.Routes = append(n.Host.Routes, more...)
	}
	for _, key := range []string{"rp_filter", "accept_local"} {
		n.Host.Sysctls["net.ipv4.conf.veth0ld."+key] = map[string]string{"rp_filter": "0", "accept_local": "1"}[key]
	}
	r := noDifference(t, n)
	if v := r.Generations[0].Variant; !strings.Contains(v, "1 ztunnel(s) draining") {
		t.Errorf("the variant is %q and says nothing of draining", v)
	}
}

// TestForeignRulesAreNoTrouble: 50,000 rules of kube-proxy are counted, and found quickly.
func TestForeignRulesAreNoTrouble(t *testing.T) {
	n := dumptest.Open(t, dumptest.NFT)[0]
	many, err := iptsave.Parse("", gen.KubeProxy(gen.For(50_000)))
	if err != nil {
		t.Fatal(err)
	}
	nat, theirs := n.Host.NFT.Table("nat"), many.Table("nat")
	rules := 0
	known := map[string]*iptsave.Chain{}
	for _, c := range nat.Chains {
		known[c.Name] = c
	}
	for _, c := range theirs.Chains {
		rules += len(c.Rules)
		if mine := known[c.Name]; mine != nil {
			mine.Rules = append(mine.Rules, c.Rules...)
		} else {
			nat.Chains = append(nat.Chains, c)
		}
	}
	if rules < 45_000 {
		t.Fatalf("only %d rules", rules)
	}
	start := time.Now()
	r := noDifference(t, n)
	took := time.Since(start)
	if took > 5*time.Second {
		t.Errorf("comparing took %v", took)
	}
	if i := slices.IndexFunc(r.Findings, func(f nodediff.Finding) bool { return f.Owner == "kube-proxy" && f.Count > 45_000 }); i < 0 {
		t.Error("kube-proxy's rules are not counted")
	}
	again := dumptest.Open(t, dumptest.NFT)[0]
	if _, err := nodediff.Compare(n, again, nodediff.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d rules: %v", rules, took)
}

// BenchmarkPlan compares a node that has 50,000 rules of others.
func BenchmarkPlan(b *testing.B) {
	n := dumptest.Open(b, dumptest.NFT)[0]
	many, err := iptsave.Parse("", gen.KubeProxy(gen.For(50_000)))
	if err != nil {
		b.Fatal(err)
	}
	n.Host.NFT.Table("nat").Chains = append(n.Host.NFT.Table("nat").Chains, many.Table("nat").Chains...)
	for b.Loop() {
		if _, err := nodediff.Plan(n, nodediff.Options{}); err != nil {
			b.Fatal(err)
		}
	}
}

// TestCompareDumps: between two dumps names of veths, addresses of hardware and counters
// do not count; everything else does, others' rules included.
func TestCompareDumps(t *testing.T) {
	a, b := dumptest.Open(t, dumptest.Geneve)[0], dumptest.Open(t, dumptest.Geneve)[0]
	rename(b.Host, "veth300a1d80", "calif00")
	r, err := nodediff.Compare(a, b, nodediff.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range r.Findings {
		if f.Kind.Differs() {
			t.Errorf("%s %s %s: want %q, have %q %v", f.Kind, f.Section, f.Place, f.Want, f.Have, f.Fields)
		}
	}
	services := b.Host.Legacy.Table("nat").Chain("KUBE-SERVICES")
	plain := *services.Rules[0]
	plain.Counters = nil
	gone := plain.String()
	services.Rules = services.Rules[1:]
	b.Host.Sysctls["net.ipv4.ip_forward"] = "0"
	if r, err = nodediff.Compare(a, b, nodediff.Options{}); err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range r.Findings {
		if f.Kind.Differs() {
			got = append(got, fmt.Sprintf("%s %s", f.Kind, f.Want))
		}
	}
	want := []string{"missing " + gone, "changed net.ipv4.ip_forward = 1"}
	if !slices.Equal(got, want) {
		t.Errorf("differences are %q, want %q", got, want)
	}
}

// rename gives a device of a namespace another name wherever it stands.
func rename(ns *dump.Netns, from, to string) {
	for _, l := range ns.Links {
		if l.Name == from {
			l.Name = to
		}
	}
	for _, r := range ns.Routes {
		if r.Dev == from {
			r.Dev = to
		}
	}
	for name, value := range ns.Sysctls {
		if other := strings.Replace(name, "."+from+".", "."+to+".", 1); other != name {
			delete(ns.Sysctls, name)
			ns.Sysctls[other] = value
		}
	}
	for _, table := range ns.Legacy.Tables {
		for _, c := range table.Chains {
			for i, r := range c.Rules {
				text := r.String()
				if _, after, is := strings.Cut(text, "] "); is {
					text = after
				}
				if other, err := iptsave.ParseRule(strings.Replace(text, "-i "+from+" ", "-i "+to+" ", 1)); err == nil {
					c.Rules[i] = other
				}
			}
		}
	}
}
