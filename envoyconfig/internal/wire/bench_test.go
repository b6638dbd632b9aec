// SPDX-License-Identifier: Apache-2.0

package wire_test

import (
	"fmt"
	"testing"

	"github.com/ambient22/ambient22/envoyconfig/internal/wire"
)

// BenchmarkWrite writes the chains of one caller, a thousand at a time, by a
// template and the typed way.
func BenchmarkWrite(b *testing.B) {
	const chains = 1000
	names := make([]string, chains)
	for i := range names {
		names[i] = fmt.Sprintf("spiffe://cluster.local/ns/default/sa/sleep_to_http_service-%d.default.svc.cluster.local_outbound_internal", i)
	}
	b.Run("template", func(b *testing.B) {
		template := compile(b, chain(b, wire.Hole(0), wire.Hole(1)))
		var w wire.Writer
		var size, own int
		b.ReportAllocs()
		for b.Loop() {
			for _, name := range names {
				template.Write(&w, name, name)
			}
			p := finish(b, &w)[0]
			size, own = p.Size, 0
			for i := 0; i < len(p.Bytes); i += 2 { // every second part is shared
				own += len(p.Bytes[i])
			}
		}
		report(b, chains, size, own)
	})
	b.Run("typed", func(b *testing.B) {
		size := 0
		b.ReportAllocs()
		for b.Loop() {
			size = 0
			for _, name := range names {
				size += len(marshal(b, chain(b, name, name)))
			}
		}
		report(b, chains, size, size)
	})
}

func report(b *testing.B, chains, size, own int) {
	b.ReportMetric(float64(b.N)*float64(chains)/b.Elapsed().Seconds(), "chains/s")
	b.ReportMetric(float64(size)/float64(chains), "B/chain")
	b.ReportMetric(float64(own)/float64(chains), "own-B/chain")
}
