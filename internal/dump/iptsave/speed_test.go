// SPDX-License-Identifier: Apache-2.0

package iptsave

import (
	"runtime"
	"strings"
	"testing"

	"github.com/ambient22/ambient22/internal/dump/iptsave/gen"
)

// BenchmarkParse reads a node with 50,000 rules of kube-proxy.
func BenchmarkParse(b *testing.B) {
	size := gen.For(50_000)
	text := gen.KubeProxy(size)
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	b.ReportMetric(float64(size.Rules()), "rules/op")
	for b.Loop() {
		if _, err := Parse("", text); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkPrint prints it again.
func BenchmarkPrint(b *testing.B) {
	save, err := Parse("", gen.KubeProxy(gen.For(50_000)))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		_ = save.String()
	}
}

// TestManyRules reads a big dump: all of it is understood, printed alike, and it
// takes little memory.
func TestManyRules(t *testing.T) {
	size := gen.For(50_000)
	text := gen.KubeProxy(size)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	save, err := Parse("", text)
	if err != nil {
		t.Fatal(err)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	held := (int64(after.HeapAlloc) - int64(before.HeapAlloc)) >> 20
	t.Logf("%d bytes of text, %d MiB held by what was read, %d MiB allocated", len(text), held, (after.TotalAlloc-before.TotalAlloc)>>20)
	if held > 60 {
		t.Errorf("%d MiB held, want at most 60", held)
	}
	if rules := strings.Count(text, "\n-A "); rules != size.Rules() {
		t.Errorf("%d rules, the generator says %d", rules, size.Rules())
	}
	for _, table := range save.Tables {
		for _, chain := range table.Chains {
			for _, rule := range chain.Rules {
				if words := rule.Unmodelled(); words != "" {
					t.Fatalf("line %d: %s is not understood", rule.Line, words)
				}
			}
		}
	}
	if got := save.String(); got != text {
		t.Error(firstDifference(text, got))
	}
}
