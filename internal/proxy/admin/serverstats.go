// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"cmp"
	"runtime/metrics"
	"slices"
	"time"

	"github.com/ambient22/ambient22/internal/proxy/stats"
)

// samples is the proxy's statistics together with those about the process that
// Envoy keeps under "server.".
func (s *server) samples() []stats.Sample {
	samples := s.Stats.Snapshot()
	for _, own := range s.serverSamples() {
		at, found := slices.BinarySearchFunc(samples, own.Name, func(x stats.Sample, name string) int { return cmp.Compare(x.Name, name) })
		if !found { // what the proxy counts itself, it knows better
			samples = slices.Insert(samples, at, own)
		}
	}
	return samples
}

func (s *server) serverSamples() []stats.Sample {
	gauge := func(name string, value int64) stats.Sample {
		return stats.Sample{Name: name, Kind: stats.Gauge, Value: value}
	}
	snapshot, now := s.Source.State(), s.Now()
	live := int64(0)
	if s.Source.Ready() {
		live = 1
	}
	out := []stats.Sample{
		gauge("server.live", live),
		gauge("server.memory_allocated", heapBytes()),
	}
	if !snapshot.Started.IsZero() {
		out = append(out, gauge("server.uptime", int64(max(0, now.Sub(snapshot.Started))/time.Second)))
	}
	// Certificates live for a day or less, so Envoy's days say little; its seconds
	// are what to alert on.
	if first := firstExpiry(snapshot); !first.IsZero() {
		left := max(0, first.Sub(now))
		out = append(out,
			gauge("server.days_until_first_cert_expiring", int64(left/(24*time.Hour))),
			gauge("server.seconds_until_first_cert_expiring", int64(left/time.Second)))
	}
	return out
}

// heapBytes is what the process has allocated and not yet given back.
func heapBytes() int64 {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	if sample[0].Value.Kind() != metrics.KindUint64 {
		return 0
	}
	return int64(sample[0].Value.Uint64())
}
