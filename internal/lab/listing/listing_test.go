// SPDX-License-Identifier: Apache-2.0

package listing

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/ambient22/ambient22/hack/topologies"
)

func load(t *testing.T) *Set {
	t.Helper()
	folder, err := fs.Sub(topologies.Article(), "listings")
	if err != nil {
		t.Fatal(err)
	}
	set, err := Load(folder)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func (s *Set) number(n int) *Listing { return &s.Listings[n-1] }

func TestLoad(t *testing.T) {
	set := load(t)
	if len(set.Listings) != 20 {
		t.Fatalf("got %d listings, want 20", len(set.Listings))
	}
	slips := 0
	for i, l := range set.Listings {
		if l.Number != i+1 || !strings.HasPrefix(l.File, fmt.Sprintf("%02d-", i+1)) {
			t.Errorf("position %d has listing %d from %s", i, l.Number, l.File)
		}
		slips += len(l.Slips)
	}
	if slips != 8 {
		t.Errorf("got %d slips, want 8", slips)
	}
}

// sample is output that reproduces a text listing: its corrected lines, with
// other lines where the listing leaves lines out.
func sample(t *testing.T, l *Listing) []string {
	t.Helper()
	lines, err := l.corrected()
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for i, line := range lines {
		if strings.TrimSpace(line) == omitted {
			out = append(out, ":KUBE-FORWARD - [0:0]", "-A KUBE-FORWARD -j ACCEPT")
			continue
		}
		out = append(out, line)
		if l.gapAfter(i + 1) {
			out = append(out, "-A OUTPUT -j KUBE-SERVICES")
		}
	}
	return out
}

func textListings(t *testing.T) (*Set, []*Listing) {
	set := load(t)
	var text []*Listing
	for i := range set.Listings {
		if set.Listings[i].Get == "" {
			text = append(text, &set.Listings[i])
		}
	}
	return set, text
}

func (s *Set) status(l *Listing, lines []string) Status {
	return s.Compare(l, strings.Join(lines, "\n"), nil).Status
}

func TestSampleOfEveryTextListingIsReproduced(t *testing.T) {
	set, listings := textListings(t)
	for _, l := range listings {
		if r := set.Compare(l, strings.Join(sample(t, l), "\n"), nil); r.Status != Reproduced {
			t.Errorf("listing %02d: %s", l.Number, r.Detail)
		}
	}
}

// shownLines are the positions in the sample of lines that the listing shows.
func shownLines(t *testing.T, l *Listing, sample []string) []int {
	t.Helper()
	lines, err := l.corrected()
	if err != nil {
		t.Fatal(err)
	}
	var at []int
	for i, line := range sample {
		if slices.Contains(lines, line) {
			at = append(at, i)
		}
	}
	return at
}

func TestAMissingLineIsFound(t *testing.T) {
	set, listings := textListings(t)
	for _, l := range listings {
		whole := sample(t, l)
		for _, i := range shownLines(t, l, whole) {
			if set.status(l, slices.Delete(slices.Clone(whole), i, i+1)) == Reproduced {
				t.Errorf("listing %02d without %q counts as reproduced", l.Number, whole[i])
			}
		}
	}
}

func TestSwappedLinesAreFound(t *testing.T) {
	set, listings := textListings(t)
	for _, l := range listings {
		whole := sample(t, l)
		shown := shownLines(t, l, whole)
		for k := 1; k < len(shown); k++ {
			i, j := shown[k-1], shown[k]
			if whole[i] == whole[j] || sameButIndex(whole[i], whole[j]) {
				continue
			}
			swapped := slices.Clone(whole)
			swapped[i], swapped[j] = swapped[j], swapped[i]
			if set.status(l, swapped) == Reproduced {
				t.Errorf("listing %02d with %q and %q swapped counts as reproduced", l.Number, whole[i], whole[j])
			}
		}
	}
}

func sameButIndex(a, b string) bool { return slices.Equal(strings.Fields(a), strings.Fields(b)) }

func TestALineBetweenIsFound(t *testing.T) {
	set, listings := textListings(t)
	for _, l := range listings {
		whole := sample(t, l)
		shown := shownLines(t, l, whole)
		for k := 1; k < len(shown); k++ {
			if shown[k] != shown[k-1]+1 {
				continue // the listing leaves lines out here
			}
			more := slices.Insert(slices.Clone(whole), shown[k], "-A ztunnel-PREROUTING -j ACCEPT")
			if set.status(l, more) == Reproduced {
				t.Errorf("listing %02d with another rule before %q counts as reproduced", l.Number, whole[shown[k]])
			}
		}
	}
}

// free says whether the listing lets a word have another value. It lists words
// on its own, so that a substitution too many in the comparison is found.
func free(l *Listing, word string) bool {
	ipd, save := strings.HasPrefix(l.Command, "ip -d"), l.Command == "iptables-save"
	switch {
	case strings.HasPrefix(word, "veth") && len(word) == len("veth300a1d80"):
		return true
	case save && strings.HasPrefix(word, "["):
		return true
	case ipd && slices.Contains([]string{"1:", "2:", "3:", "4:", "17:", "24:"}, word):
		return true
	case ipd && slices.Contains([]string{
		"62:59:1b:ad:79:01", "06:3e:d1:5d:95:16", "06:18:ee:29:7e:e4", "aa:40:40:7c:07:b2", "36:2a:2f:f1:5c:97",
		"eth0@if16:", "fe80::6059:1bff:fead:7901/64", "fe80::342a:2fff:fef1:5c97/64",
	}, word):
		return true
	}
	return false
}

func TestAnyChangedWordIsFound(t *testing.T) {
	set, listings := textListings(t)
	changed := 0
	for _, l := range listings {
		whole := sample(t, l)
		for _, i := range shownLines(t, l, whole) {
			words := strings.Fields(whole[i])
			for k, w := range words {
				if free(l, w) {
					continue
				}
				for _, other := range []string{w + "0", "0x999", "allmulti"} {
					mutant := slices.Clone(words)
					mutant[k] = other
					lines := slices.Clone(whole)
					lines[i] = strings.Join(mutant, " ")
					changed++
					if set.status(l, lines) == Reproduced {
						t.Errorf("listing %02d: %q counts as reproduced", l.Number, lines[i])
					}
				}
				cut := slices.Clone(whole)
				cut[i] = strings.Join(slices.Delete(slices.Clone(words), k, k+1), " ")
				if set.status(l, cut) == Reproduced {
					t.Errorf("listing %02d: %q counts as reproduced", l.Number, cut[i])
				}
			}
		}
	}
	t.Logf("%d changed words", changed)
}

func TestNamedSubstitutions(t *testing.T) {
	set := load(t)
	tests := []struct {
		name    string
		listing int
		replace []string
		want    Status
	}{
		{"another veth throughout", 1, []string{"veth300a1d80", "vethcafe"}, Reproduced},
		{"another MAC and link-local address", 4, []string{"62:59:1b:ad:79:01", "02:00:00:00:00:01", "fe80::6059:1bff:fead:7901", "fe80::1"}, Reproduced},
		{"a global address for a link-local", 4, []string{"fe80::6059:1bff:fead:7901", "2001:db8::1"}, Differs},
		{"no broadcast MAC", 4, []string{"ff:ff:ff:ff:ff:ff", "02:00:00:00:00:01"}, Differs},
		{"another index", 17, []string{"17:", "3:"}, Reproduced},
		{"another priority of an ip rule", 2, []string{"100:", "99:"}, Differs},
		{"newer attributes", 5, []string{"promiscuity 0", "promiscuity 0 allmulti 0", "gso_max_segs 65535", "gso_max_segs 65535 tso_max_size 65536 tso_max_segs 65535 gro_max_size 65536"}, Reproduced},
		{"an unknown attribute", 5, []string{"promiscuity 0", "promiscuity 0 surprise 0"}, Differs},
		{"counters", 6, []string{"[185880:96984381]", "[0:0]"}, Reproduced},
		{"another policy", 6, []string{":OUTPUT ACCEPT", ":OUTPUT DROP"}, Differs},
		{"wrong mark", 7, []string{"0x4d3/0xfff", "0x4d3/0xffff"}, Differs},
		{"tabs", 15, []string{":      ", ":\t"}, Reproduced},
		{"the article's slip", 16, []string{"10.4.3.17 via 192.168.126.2 dev istioin src 10.4.3.1", "10.4.3.17 via 192.168.126.2 dev istioin src 10.4.3."}, Differs},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := set.number(tt.listing)
			before := strings.Join(sample(t, l), "\n")
			text := strings.NewReplacer(tt.replace...).Replace(before)
			if text == before {
				t.Fatal("the case changes nothing")
			}
			if r := set.Compare(l, text, nil); r.Status != tt.want {
				t.Errorf("got %s, want %s: %s\n%s", r.Status, tt.want, r.Detail, text)
			}
		})
	}
}

// One device has one name: in a listing, and between the listings of a host.
func TestVethNamesAreBoundOnce(t *testing.T) {
	set := load(t)
	first := strings.Join(sample(t, set.number(1)), "\n")
	mixed := strings.Replace(first, "veth300a1d80", "vethother", 1)
	if set.Compare(set.number(1), mixed, nil).Status == Reproduced {
		t.Error("two names for one device count as reproduced")
	}
	names := Names{}
	renamed := strings.ReplaceAll(first, "veth300a1d80", "vethlive")
	if r := set.Compare(set.number(1), renamed, names); r.Substituted["veth300a1d80"] != "vethlive" {
		t.Errorf("got substitutions %v", r.Substituted)
	}
	third := strings.Join(sample(t, set.number(3)), "\n")
	if set.Compare(set.number(3), third, names).Status == Reproduced {
		t.Error("listing 03 with another device than listing 01 counts as reproduced")
	}
	if r := set.Compare(set.number(3), strings.ReplaceAll(third, "veth300a1d80", "vethlive"), names); r.Status != Reproduced {
		t.Error(r.Detail)
	}
}

func TestWholeOutputMayHaveNoOtherLines(t *testing.T) {
	set, listings := textListings(t)
	for _, l := range listings {
		for _, text := range [][]string{
			append([]string{"99: from all lookup 7"}, sample(t, l)...),
			append(sample(t, l), "99: from all lookup 7"),
		} {
			if got := set.status(l, text) != Reproduced; got != l.Whole {
				t.Errorf("listing %02d with a line more: differs is %v, want %v", l.Number, got, l.Whole)
			}
		}
	}
}

func TestTablesInTheOtherOrderAreSaid(t *testing.T) {
	set := load(t)
	l := set.number(1)
	lines := append([]string{"*nat"}, sample(t, l)...)
	cut := slices.Index(lines, "*mangle")
	r := set.Compare(l, strings.Join(slices.Concat(lines[cut:], lines[:cut]), "\n"), nil)
	if r.Status != Reproduced || !r.TablesMoved {
		t.Errorf("got %s, moved %v: %s", r.Status, r.TablesMoved, r.Detail)
	}
}

func TestDetailSaysWhatIsWrong(t *testing.T) {
	set := load(t)
	l := set.number(7)
	text := strings.ReplaceAll(strings.Join(sample(t, l), "\n"), "0x402", "0x403")
	r := set.Compare(l, text, nil)
	for _, want := range []string{"line 4 of the listing", "0x402/0xfff", "20002: from all fwmark 0x403/0xfff"} {
		if !strings.Contains(r.Detail, want) {
			t.Errorf("the detail lacks %q:\n%s", want, r.Detail)
		}
	}
	if r := set.Compare(l, "", nil); r.Status != Differs || !strings.Contains(r.Detail, "nothing") {
		t.Errorf("no output: %+v", r)
	}
}

func TestResultIsJSON(t *testing.T) {
	set := load(t)
	r := set.Compare(set.number(3), strings.Join(sample(t, set.number(3)), "\n"), nil)
	data, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"number":3`, `"status":"reproduced"`, `"host":"node-a"`, `"title":"ip route show table 101"`, `"slips":[{`} {
		if !strings.Contains(string(data), want) {
			t.Errorf("lacks %s: %s", want, data)
		}
	}
}
