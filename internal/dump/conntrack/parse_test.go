// SPDX-License-Identifier: Apache-2.0

package conntrack

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/ambient22/ambient22/internal/dump/syntax"
)

func fixtures(tb testing.TB) map[string]string {
	tb.Helper()
	files, err := filepath.Glob("testdata/*.conntrack")
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
		conns, err := Parse(file, text)
		if err != nil {
			t.Error(err)
			continue
		}
		if got := Print(conns); got != text {
			t.Errorf("%s is printed as\n%s", file, cmp.Diff(text, got))
		}
		for _, c := range conns {
			// The keys of GRE's connections stand where others have ports.
			if !c.kept.Reprinted() {
				t.Errorf("%s: the model's own form differs:\n%s", file, c)
			}
		}
	}
}

func TestValues(t *testing.T) {
	ap := netip.MustParseAddrPort
	for line, want := range map[string]Conn{
		"tcp      6 299 ESTABLISHED src=10.4.4.18 dst=10.4.3.20 sport=33280 dport=15008 src=10.4.3.20 dst=10.4.4.18 sport=15008 dport=33280 [ASSURED] mark=544 use=1": {
			Protocol: 6, Name: "tcp", Timeout: 299, State: "ESTABLISHED", Original: Tuple{Src: ap("10.4.4.18:33280"), Dst: ap("10.4.3.20:15008")},
			Reply: Tuple{Src: ap("10.4.3.20:15008"), Dst: ap("10.4.4.18:33280")}, Assured: true, Mark: 0x220, Use: 1},
		"ipv4     2 icmp     1 29 src=10.1.0.1 dst=10.1.0.2 type=8 code=0 id=77 packets=1 bytes=28 [UNREPLIED] src=10.1.0.2 dst=10.1.0.1 type=0 code=0 id=77 packets=0 bytes=0 mark=0 use=1 id=2724266071": {
			Family: "ipv4", Protocol: 1, Name: "icmp", Timeout: 29, Unreplied: true, Use: 1,
			Original: Tuple{Src: ap("10.1.0.1:0"), Dst: ap("10.1.0.2:0"), ICMP: &ICMP{Type: 8, ID: 77}, Packets: 1, Bytes: 28, Counted: true},
			Reply:    Tuple{Src: ap("10.1.0.2:0"), Dst: ap("10.1.0.1:0"), ICMP: &ICMP{ID: 77}, Counted: true},
			Extra:    []Word{{After: 17, Text: "id=2724266071"}}},
		"unknown  99 599 src=10.1.0.1 dst=10.1.0.2 src=10.1.0.2 dst=10.1.0.1 secctx=a:b zone=7": {
			Protocol: 99, Name: "unknown", Timeout: 599, Zone: 7, Original: Tuple{Src: ap("10.1.0.1:0"), Dst: ap("10.1.0.2:0")},
			Reply: Tuple{Src: ap("10.1.0.2:0"), Dst: ap("10.1.0.1:0")}, Extra: []Word{{After: 4, Text: "secctx=a:b"}}},
		"tcp      6 ESTABLISHED src=10.0.0.5 dst=10.0.0.9 sport=1 dport=2 src=10.0.0.9 dst=10.0.0.5 sport=2 dport=1 [OFFLOAD] use=2": {
			Protocol: 6, Name: "tcp", Timeout: -1, State: "ESTABLISHED", Offload: true, Use: 2,
			Original: Tuple{Src: ap("10.0.0.5:1"), Dst: ap("10.0.0.9:2")}, Reply: Tuple{Src: ap("10.0.0.9:2"), Dst: ap("10.0.0.5:1")}},
	} {
		conns, err := Parse("", line)
		if err != nil {
			t.Error(err)
			continue
		}
		want.Line = 1
		if d := cmp.Diff(want, *conns[0], cmpopts.IgnoreUnexported(Conn{}), cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); d != "" {
			t.Errorf("%s (-want +got):\n%s", line, d)
		}
	}
}

func TestChanged(t *testing.T) {
	conns, err := Parse("", fixtures(t)["lab-node-a.conntrack"])
	if err != nil {
		t.Fatal(err)
	}
	conns[0].Mark = 0x210
	if got := Print(conns[:1]); !strings.Contains(got, " [ASSURED] mark=528 use=1\n") {
		t.Error(got)
	}
}

func TestErrors(t *testing.T) {
	const one = "src=10.0.0.1 dst=10.0.0.2 sport=1 dport=2 "
	for text, want := range map[string]string{
		"tcp\n":                                 `f:1:4: "" is no number of a protocol`,
		"tcp 6 9 src=10.0.0.1\n":                `f:1:21: two directions are expected, each with src= and dst=`,
		"tcp 6 9 src=x\n":                       `f:1:13: "x" is no value for "src"`,
		"udp 17 9 " + one + "sport=70000\n":     `f:1:58: "70000" is no value for "sport"`,
		"udp 17 9 " + one + one + one + "use=1": `f:1:94: a third direction`,
		"udp 17 9 dport=1\n":                    `f:1:10: src= is expected before dport=`,
		"ipv4 3 udp 17 9\n":                     `f:1:6: "3" is no number of a family of addresses`,
		"src=1.1.1.1\n":                         `f:1:1: a protocol's name is expected`,
		"[NEW] udp 17 30 src=1.1.1.1\n":         `f:1:1: an event of conntrack -E; what connections there are tells conntrack -L`,
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
		conns, err := Parse("", text)
		var at *syntax.Error
		switch {
		case errors.As(err, &at):
			if !at.Within(text) {
				t.Fatalf("%v is not in the text", at)
			}
		case len(conns) > 0 && Print(conns) != text:
			t.Fatalf("printed as %q", Print(conns))
		}
	})
}

func BenchmarkParse(b *testing.B) {
	var s strings.Builder
	for i := range 100_000 {
		src := fmt.Sprintf("10.4.%d.%d", i>>8&255, i&255)
		fmt.Fprintf(&s, "tcp      6 431999 ESTABLISHED src=%s dst=10.4.3.20 sport=%d dport=15008 src=10.4.3.20 dst=%s sport=15008 dport=%d [ASSURED] mark=544 use=1\n",
			src, 1024+i%60000, src, 1024+i%60000)
	}
	b.SetBytes(int64(s.Len()))
	b.ReportAllocs()
	for b.Loop() {
		if conns, err := Parse("", s.String()); err != nil || len(conns) != 100_000 {
			b.Fatal(err)
		}
	}
}
