// SPDX-License-Identifier: Apache-2.0

package nodediff_test

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/ambient22/ambient22/internal/dump"
	"github.com/ambient22/ambient22/internal/dump/dumptest"
	"github.com/ambient22/ambient22/internal/dump/iptsave"
	"github.com/ambient22/ambient22/internal/nodediff"
)

const shapes = "../dump/iptsave/testdata/"

// without is a shape with one line changed: taken away where to is empty.
func without(t *testing.T, file, line, to string) *dump.Node {
	t.Helper()
	text, err := os.ReadFile(shapes + file)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Count(string(text), line+"\n") != 1 {
		t.Fatalf("%s has the line %q %d times", file, line, strings.Count(string(text), line+"\n"))
	}
	if to != "" {
		to += "\n"
	}
	save, err := iptsave.Parse(file, strings.Replace(string(text), line+"\n", to, 1))
	if err != nil {
		t.Fatal(err)
	}
	return &dump.Node{Name: file, Host: &dump.Netns{Name: dump.HostSpace, NFT: save}}
}

// TestGenerationsAreChecked: for the generations that this project does not make, too,
// diff names what is not as it should be.
func TestGenerationsAreChecked(t *testing.T) {
	for _, c := range []struct {
		file, line, to string
		kind           nodediff.Kind
		place          string
		field          nodediff.Field
	}{
		{"sidecar-redirect-nft.txt", "-A PREROUTING -p tcp -j ISTIO_INBOUND", "", nodediff.Missing, "nat/PREROUTING", nodediff.Field{}},
		{"sidecar-redirect-nft.txt", "-A ISTIO_OUTPUT -m owner --uid-owner 1337 -j RETURN", "", nodediff.Missing, "nat/ISTIO_OUTPUT", nodediff.Field{}},
		{"sidecar-redirect-nft.txt", "-A ISTIO_OUTPUT -m owner --uid-owner 1337 -j RETURN", "-A ISTIO_OUTPUT -m owner --uid-owner 1000 -j RETURN",
			nodediff.Changed, "nat/ISTIO_OUTPUT", nodediff.Field{Name: "--uid-owner", Want: "1337", Have: "1000"}},
		{"sidecar-redirect-nft.txt", "-A ISTIO_OUTPUT -d 127.0.0.1/32 -j RETURN", "-A ISTIO_OUTPUT -d 127.0.0.1/32 -j RETURN\n-A ISTIO_OUTPUT -p tcp -j ACCEPT",
			nodediff.Extra, "nat/ISTIO_OUTPUT", nodediff.Field{}},
		{"sidecar-tproxy-nft.txt", "-A ISTIO_INBOUND -p tcp -j ISTIO_TPROXY", "", nodediff.Missing, "mangle/ISTIO_INBOUND", nodediff.Field{}},
		{"inpod-ambient-nft.txt", "-A ISTIO_PRERT -m mark --mark 0x539/0xfff -j CONNMARK --set-xmark 0x111/0xfff", "", nodediff.Missing, "mangle/ISTIO_PRERT", nodediff.Field{}},
		{"inpod-ambient-nft.txt", "-A ISTIO_PRERT -m mark --mark 0x539/0xfff -j CONNMARK --set-xmark 0x111/0xfff",
			"-A ISTIO_PRERT -m mark --mark 0x539/0xff -j CONNMARK --set-xmark 0x111/0xfff",
			nodediff.Changed, "mangle/ISTIO_PRERT", nodediff.Field{Name: "mark mask", Want: "0xfff", Have: "0xff"}},
		{"inpod-ambient-nft.txt", "-A ISTIO_OUTPUT -p tcp -m mark --mark 0x111/0xfff -j ACCEPT", "", nodediff.Missing, "nat/ISTIO_OUTPUT", nodediff.Field{}},
	} {
		t.Run(c.file+" "+c.line, func(t *testing.T) {
			r, err := nodediff.Plan(without(t, c.file, c.line, c.to), nodediff.Options{})
			if err != nil {
				t.Fatal(err)
			}
			is := func(f nodediff.Finding) bool {
				return f.Kind == c.kind && f.Place == c.place && (c.field.Name == "" || slices.Contains(f.Fields, c.field))
			}
			if !slices.ContainsFunc(r.Findings, is) {
				for _, f := range r.Findings {
					if f.Kind.Differs() {
						t.Errorf("%s %s want %q have %q %v", f.Kind, f.Place, f.Want, f.Have, f.Fields)
					}
				}
				t.Errorf("no finding is %s in %s %v", c.kind, c.place, c.field)
			}
		})
	}
}

// TestSeveralGenerations: a node may show more than one, each in its namespace.
func TestSeveralGenerations(t *testing.T) {
	n := dumptest.Open(t, dumptest.Geneve)[0]
	sidecar := shape(t, shapes+"sidecar-redirect-nft.txt").Host
	sidecar.Name = "default/old"
	inpod := shape(t, shapes+"inpod-ambient-nft.txt").Host
	inpod.Name = "default/new"
	n.Pods = append(n.Pods, sidecar, inpod)
	found, err := nodediff.Recognise(n)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, g := range found {
		got = append(got, g.Name+" in "+g.Space)
		if len(g.Evidence) == 0 || g.Have != g.Want || g.Want == 0 {
			t.Errorf("%s: %d signs, %d of %d rules", g.Name, len(g.Evidence), g.Have, g.Want)
		}
	}
	want := []string{"legacy Geneve ambient in host and ztunnel", "sidecar in default/old", "in-pod ambient in default/new"}
	if !slices.Equal(got, want) {
		t.Errorf("recognised %q, want %q", got, want)
	}
}

// TestParametersOfASidecar: excluded ports and the proxy's user are found in the rules.
func TestParametersOfASidecar(t *testing.T) {
	found, err := nodediff.Recognise(shape(t, shapes+"sidecar-redirect-nft.txt"))
	if err != nil || len(found) != 1 {
		t.Fatalf("%+v, %v", found, err)
	}
	for name, want := range map[string]string{
		"proxy UID": "1337", "proxy GID": "1337", "outbound port": "15001", "inbound port": "15006", "excluded inbound ports": "15090 15021 15020",
	} {
		if got := parameter(found[0], name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}

// TestOlderForms: what other releases put there is complete, too.
func TestOlderForms(t *testing.T) {
	for _, c := range []struct {
		path, generation, variant string
		parameters                map[string]string
	}{
		{"testdata/inpod-tproxy", nodediff.InPod, "TPROXY", map[string]string{"DNS port": "15053", "inbound port": "15006"}},
		{"testdata/inpod-node.txt", nodediff.InPod, "the node's side", nil},
		{"testdata/sidecar-dns.txt", nodediff.Sidecar, "REDIRECT", map[string]string{
			"included inbound ports": "9080 9443", "excluded outbound ports": "3306", "excluded outbound addresses": "169.254.169.254/32",
			"included outbound addresses": "10.0.0.0/8", "name servers": "10.96.0.10/32",
		}},
	} {
		t.Run(c.path, func(t *testing.T) {
			n, err := dump.Open(c.path)
			if err != nil {
				t.Fatal(err)
			}
			r := noDifference(t, n)
			if len(r.Generations) != 1 || r.Generations[0].Name != c.generation || r.Generations[0].Variant != c.variant || r.Generations[0].Have != r.Generations[0].Want {
				t.Fatalf("recognised %+v, want %s (%s), complete", r.Generations, c.generation, c.variant)
			}
			for name, want := range c.parameters {
				if got := parameter(r.Generations[0], name); got != want {
					t.Errorf("%s is %q, want %q", name, got, want)
				}
			}
		})
	}
}
