// SPDX-License-Identifier: Apache-2.0

package iptsave

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestRoundTrip(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no fixtures: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			save, err := Parse(file, string(text))
			if err != nil {
				t.Fatal(err)
			}
			blank(save)
			if got := save.String(); got != string(text) {
				t.Error(firstDifference(string(text), got))
			}
		})
	}
}

func load(t *testing.T, name string) *Save {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name+".txt"))
	if err != nil {
		t.Fatal(err)
	}
	save, err := Parse(name, string(text))
	if err != nil {
		t.Fatal(err)
	}
	return save
}

// TestFixturesAreUnderstood: outside of the fixture that shows what is not
// modelled, hardly anything is left over.
func TestFixturesAreUnderstood(t *testing.T) {
	allowed := map[string]bool{"-m rpfilter --validmark --invert": true, "-m tcpmss --mss 1400:1536": true}
	for _, name := range []string{
		"calico-nft", "calico-legacy", "docker-nft", "docker-listed-nft", "flannel-nft", "gke-nft", "inpod-ambient-nft", "kube-proxy-nft",
		"kube-proxy-ip6-nft", "listing-01-node-a", "listing-06-ztunnel-a", "listing-14-node-b", "listing-18-ztunnel-b", "old-1.3", "old-1.4.7",
		"plain-host-legacy", "sidecar-redirect-nft", "sidecar-tproxy-legacy",
	} {
		for _, table := range load(t, name).Tables {
			for _, chain := range table.Chains {
				for _, rule := range chain.Rules {
					if words := rule.Unmodelled(); words != "" && !allowed[words] {
						t.Errorf("%s, %s: %q is not understood", name, rule, words)
					}
				}
			}
		}
	}
}

// TestVariantsAgree: both variants print the same rules, so they are read alike.
func TestVariantsAgree(t *testing.T) {
	for _, name := range []string{"calico", "docker", "flannel", "gke", "inpod-ambient", "plain-host", "sidecar-redirect", "sidecar-tproxy"} {
		nft, legacy := load(t, name+"-nft"), load(t, name+"-legacy")
		if nft.Variant != "nf_tables" || legacy.Variant != "legacy" || nft.Version != "1.8.9" || legacy.Version != "1.8.9" {
			t.Errorf("%s: %s %s and %s %s", name, nft.Version, nft.Variant, legacy.Version, legacy.Variant)
		}
		for _, table := range nft.Tables {
			for _, chain := range table.Chains {
				other := legacy.Table(table.Name).Chain(chain.Name)
				if other == nil || other.Policy != chain.Policy || len(other.Rules) != len(chain.Rules) {
					t.Errorf("%s: chain %s of %s is not the same", name, chain.Name, table.Name)
					continue
				}
				for i, rule := range chain.Rules {
					if rule.String() != other.Rules[i].String() {
						t.Errorf("%s: %s and %s", name, rule, other.Rules[i])
					}
				}
			}
		}
	}
}

func TestListings(t *testing.T) {
	first := load(t, "listing-01-node-a")
	if len(first.Tables) != 2 || len(first.Omits) != 3 {
		t.Fatalf("%d tables, left out at %v", len(first.Tables), first.Omits)
	}
	nat, mangle := first.Table("nat"), first.Table("mangle")
	if nat == nil || nat.Deduced == "" || len(nat.Chain("ztunnel-PREROUTING").Rules) != 1 {
		t.Error("the first part is not read as nat")
	}
	if mangle == nil || mangle.Deduced != "" || len(mangle.Chain("ztunnel-PREROUTING").Rules) != 15 {
		t.Error("the second part is not read as mangle")
	}
	for name, line := range map[string]int{"listing-06-ztunnel-a": 2, "listing-14-node-b": 0, "listing-18-ztunnel-b": 0} {
		save := load(t, name)
		if len(save.Tables) != 1 || save.Table("mangle") == nil || save.Tables[0].Line != line {
			t.Errorf("%s is not read as one part of mangle", name)
		}
	}
	if policy := load(t, "listing-06-ztunnel-a").Table("mangle").Chain("INPUT"); policy.Policy != "ACCEPT" || *policy.Counters != (Counters{185886, 96984813}) {
		t.Errorf("%s", policy)
	}
}

// TestRemarks: an article may have written behind the lines.
func TestRemarks(t *testing.T) {
	text := "*nat\n:X - [0:0]      # a chain of ours\n-A X -j RETURN    # and back\n# Explained.\n\nCOMMIT  # done\n"
	save, err := Parse("", text)
	if err != nil {
		t.Fatal(err)
	}
	if target := save.Table("nat").Chain("X").Rules[0].Target; target != (Verdict{"RETURN"}) {
		t.Errorf("the target is %v", target)
	}
	if got := save.String(); got != text {
		t.Error(firstDifference(text, got))
	}
	if len(save.Notes) != 0 {
		t.Errorf("notes %q", save.Notes)
	}
}

func TestNotes(t *testing.T) {
	want := []string{
		"iptables-legacy tables present, use iptables-legacy-save to see them",
		"Table `nat' contains incompatible base-chains, use 'nft' tool to list them.",
	}
	if got := load(t, "warnings-nft").Notes; !slices.Equal(got, want) {
		t.Errorf("notes %q, want %q", got, want)
	}
}

// TestUnknownChain: in a whole save, what no chain is named after is a target that
// is not known; in a listing it may be a chain that was left out.
func TestUnknownChain(t *testing.T) {
	whole, err := Parse("", "*nat\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -j ELSEWHERE\nCOMMIT\n")
	if err != nil {
		t.Fatal(err)
	}
	if words := whole.Tables[0].Chains[0].Rules[0].Unmodelled(); words != "-j ELSEWHERE" {
		t.Errorf("%q is not understood", words)
	}
	part, err := Parse("", "-A PREROUTING -j ELSEWHERE\n")
	if err != nil {
		t.Fatal(err)
	}
	if words := part.Tables[0].Chains[0].Rules[0].Unmodelled(); words != "" {
		t.Errorf("%q is not understood", words)
	}
}

// TestChangesArePrinted: the text is made from the model.
func TestChangesArePrinted(t *testing.T) {
	save, err := Parse("", "*mangle\n:A - [0:0]\n:B - [0:0]\n-A A -j RETURN\n-A A -i x -j B\n-A B -m mark --mark 0x1 -j DROP\nCOMMIT\n")
	if err != nil {
		t.Fatal(err)
	}
	table := save.Table("mangle")
	a, b := table.Chain("A"), table.Chain("B")
	a.Rules[0], a.Rules[1] = a.Rules[1], a.Rules[0]
	b.Rules[0].Matches = []Match{Mark{Value: 2, Mask: 0xff}}
	b.Rules = append(b.Rules, &Rule{Chain: "B", Target: Jump{Chain: "C"}})
	table.Chains = append(table.Chains, &Chain{Name: "C", Counters: &Counters{}, Rules: []*Rule{{Chain: "C", Target: SetMark{MarkOp{Value: 1, Mask: 1}}}}})
	want := "*mangle\n:A - [0:0]\n:B - [0:0]\n:C - [0:0]\n-A A -i x -j B\n-A A -j RETURN\n-A B -m mark --mark 0x2/0xff -j DROP\n-A B -j C\n-A C -j MARK --set-xmark 0x1/0x1\nCOMMIT\n"
	if got := save.String(); got != want {
		t.Error(firstDifference(want, got))
	}
	built := &Save{Tables: []*Table{{Name: "nat", Chains: []*Chain{{Name: "A", Rules: []*Rule{{Chain: "A", Target: Verdict{"DROP"}}}}}}}}
	if got, want := built.String(), "*nat\n:A -\n-A A -j DROP\nCOMMIT\n"; got != want {
		t.Errorf("built %q, want %q", got, want)
	}
}

// TestWrittenByHand: what people write for iptables-restore, and their remarks, keep
// their form; what stands behind an option is no remark.
func TestWrittenByHand(t *testing.T) {
	const text = "* nat # ours\n-N A\n:B - [0:0]  #more\n-A OUTPUT -j A   #remark\n-A A -i #0 -j B\n-A A -j RETURN #\"\nCOMMIT #end\n"
	save, err := Parse("x", text)
	if err != nil {
		t.Fatal(err)
	}
	blank(save)
	if got := save.String(); got != text {
		t.Error(firstDifference(text, got))
	}
	nat := save.Table("nat")
	if nat == nil || len(nat.Chains) != 3 {
		t.Fatalf("%+v", save.Tables)
	}
	for _, r := range append(nat.Chain("OUTPUT").Rules, nat.Chain("A").Rules...) {
		if words := r.Unmodelled(); words != "" {
			t.Errorf("line %d: %s is left over", r.Line, words)
		}
	}
	if in, ok := nat.Chain("A").Rules[0].Matches[0].(InInterface); !ok || in.Name != "#0" {
		t.Errorf("the device is %v", nat.Chain("A").Rules[0].Matches)
	}
}
