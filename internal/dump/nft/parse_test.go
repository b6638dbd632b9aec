// SPDX-License-Identifier: Apache-2.0

package nft

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ambient22/ambient22/internal/dump/syntax"
)

func fixtures(tb testing.TB) map[string]string {
	tb.Helper()
	files, err := filepath.Glob("testdata/*.nft")
	if err != nil || len(files) == 0 {
		tb.Fatalf("no fixtures: %v", err)
	}
	texts := map[string]string{}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			tb.Fatal(err)
		}
		texts[filepath.Base(f)] = string(b)
	}
	return texts
}

func TestRoundTrip(t *testing.T) {
	for file, text := range fixtures(t) {
		rs, err := Parse(file, text)
		if err != nil {
			t.Error(err)
			continue
		}
		if got := Print(rs); got != text {
			t.Errorf("%s is printed as\n%s", file, got)
		}
		for _, tab := range rs.Tables {
			if !tab.kept.Reprinted() {
				t.Errorf("%s: the model's own form differs:\n%s", file, tab)
			}
		}
	}
}

// summary is what was understood, in a line for each chain.
func summary(rs *Ruleset) string {
	var b strings.Builder
	for _, t := range rs.Tables {
		fmt.Fprintf(&b, "%s %s iptables=%v:", t.Family, t.Name, t.Iptables)
		for _, o := range t.Others {
			if o.Kind != "" {
				fmt.Fprintf(&b, " %s", o.Kind)
			}
		}
		b.WriteString("\n")
		for _, c := range t.Chains {
			fmt.Fprintf(&b, "  %s %d rules", c.Name, len(c.Rules))
			if c.Hook != "" {
				fmt.Fprintf(&b, " %s %s %d %s %s", c.Type, c.Hook, c.Priority, c.Policy, c.Devices)
			}
			b.WriteString("\n")
		}
	}
	return b.String()
}

func TestStructure(t *testing.T) {
	want := `inet my iptables=false: comment counter quota set set map
  other 1 rules
  inp 6 rules filter input -5 drop 
  natty 0 rules nat postrouting 100 accept 
  rawy 0 rules filter prerouting -300 accept 
  rty 0 rules route output -150 accept 
netdev nd iptables=false:
  ing 0 rules filter ingress -500 accept device "d0"
ip6 empty iptables=false:
arp aa iptables=false: flags
inet my2 iptables=false: ct
ip mangle iptables=true:
  PREROUTING 2 rules filter prerouting -150 accept 
  zt 1 rules
`
	for _, file := range []string{"mixed.nft", "handles.nft", "stateless.nft"} {
		rs, err := Parse(file, fixtures(t)[file])
		if err != nil {
			t.Fatal(err)
		}
		if got := summary(rs); got != want {
			t.Errorf("%s:\n%s", file, got)
		}
	}
}

// Comments and log prefixes with braces and unbalanced quotes, an element in a line
// of its own, a chain in a rule: none of it ends a chain.
func TestBraces(t *testing.T) {
	text := "table ip x {\n\tchain a {\n\t\tlog prefix \"} {\" comment \"a \"b\"\n\t\tlog prefix \"{ \"\n\t\tip saddr 1.2.3.4 jump {\n\t\t\taccept\n\t\t} # handle 4\n" +
		"\t\tip daddr { 10.0.0.1,\n\t\t\t   10.0.0.2 } drop\n\t}\n\n\tmap m {\n\t\ttype ipv4_addr : verdict\n\t\telements = { 10.0.0.1 comment \"}\" : drop,\n\t\t\t     10.0.0.2 : accept }\n\t}\n\n\tchain b {\n\t}\n}\n"
	rs, err := Parse("", text)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := summary(rs), "ip x iptables=false: map\n  a 4 rules\n  b 0 rules\n"; got != want || Print(rs) != text {
		t.Errorf("%s", got)
	}
}

func TestManaged(t *testing.T) {
	warning := "# Warning: table ip other is managed by iptables-nft, do not touch!\n"
	for text, want := range map[string]bool{
		warning + "table ip other {\n}\n": true,
		"table ip filter {\n}\n":          false,
		"table ip filter {\n\tchain INPUT {\n\t\ttype filter hook input priority filter; policy accept;\n\t}\n}\n":   true,
		"table ip filter {\n\tchain input {\n\t\ttype filter hook input priority filter; policy accept;\n\t}\n}\n":   false,
		"table inet filter {\n\tchain INPUT {\n\t\ttype filter hook input priority filter; policy accept;\n\t}\n}\n": false,
	} {
		rs, err := Parse("", text)
		if err != nil || rs.Tables[0].Iptables != want {
			t.Errorf("%s%v %v", text, rs.Tables[0].Iptables, err)
		}
	}
}

func TestChanged(t *testing.T) {
	rs, err := Parse("", fixtures(t)["mixed.nft"])
	if err != nil {
		t.Fatal(err)
	}
	m := rs.Tables[len(rs.Tables)-1]
	m.Chains[0].Rules = append(m.Chains[0].Rules, "accept")
	m.Chains[0].Policy = "drop"
	m.Chains = append(m.Chains, &Chain{Name: "new", Rules: []string{"drop"}})
	got := m.String()
	for _, want := range []string{"\t\ttype filter hook prerouting priority -150; policy drop;\n", "\t\taccept\n\t}\n", "\tchain new {\n\t\tdrop\n\t}\n}\n"} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing in\n%s", want, got)
		}
	}
}

func TestErrors(t *testing.T) {
	for text, want := range map[string]string{
		"chain x {\n}\n":                 `f:1:1: a table is expected`,
		"table x {\n}\n":                 `f:1:10: a table's family, name and opening brace are expected`,
		"table ip x { chain y { } }\n":   `f:1:14: the opening brace is expected to end its line, as nft prints it`,
		"table ip x {\n":                 `f:1:1: the table ip x has no closing brace`,
		"table ip x {\n\tchain y {\n}\n": `f:2:2: the chain y has no closing brace`,
		"table ip x {\n\tset y {\n}\n":   `f:2:2: the set has no closing brace`,
		"table ip x {\n\tchain y {\n\t\ttype filter hook input priority high;\n\t}\n}\n": `f:3:26: "high" is no priority`,
		"table ip x {\n\tchain y {\n\t\ttype filter hook priority mangle\n":              `f:3:15: the priority is missing`,
		"table ip x {\n\tchain y {\n\t\ttype filter hook input;\n\t}\n}\n":               `f:3:15: the priority is missing`,
	} {
		if _, err := Parse("f", text); err == nil || err.Error() != want {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, text := range fixtures(f) {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		rs, err := Parse("", text)
		var at *syntax.Error
		switch {
		case errors.As(err, &at):
			if !at.Within(text) {
				t.Fatalf("%v is not in the text", at)
			}
		case len(rs.Tables) > 0 && Print(rs) != text:
			t.Fatalf("printed as %q", Print(rs))
		}
	})
}

func BenchmarkParse(b *testing.B) {
	var s strings.Builder
	s.WriteString("table ip nat {\n\tchain KUBE-SERVICES {\n")
	for i := range 100_000 {
		fmt.Fprintf(&s, "\t\tmeta l4proto tcp ip daddr 10.8.%d.%d tcp dport 80 counter packets 0 bytes 0 jump KUBE-SVC-%d\n", i>>8&255, i&255, i)
	}
	s.WriteString("\t}\n}\n")
	b.SetBytes(int64(s.Len()))
	b.ReportAllocs()
	for b.Loop() {
		if rs, err := Parse("", s.String()); err != nil || len(rs.Tables[0].Chains[0].Rules) != 100_000 {
			b.Fatal(err)
		}
	}
}
