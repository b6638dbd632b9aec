// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"fmt"
	"runtime"
	"slices"
	"testing"

	"github.com/ambient22/ambient22/envoyconfig"
)

// BenchmarkOneEndpoint changes one endpoint among many and waits until a delta
// proxy has it: what it costs to take the set over, to find the change, and to
// bring it to the wire.
func BenchmarkOneEndpoint(b *testing.B) {
	for _, size := range []int{1_000, 10_000, 100_000} {
		b.Run(fmt.Sprintf("clusters=%d", size), func(b *testing.B) {
			s, w := start(b), newWorld(b)
			for i := range size {
				w.addCluster(fmt.Sprintf("spiffe://cluster.local/ns/default/sa/sleep_to_http_service-%06d.default.svc.cluster.local_outbound_internal", i))
			}
			r := w.resources()
			if err := s.Set(r); err != nil {
				b.Fatal(err)
			}
			c := s.delta()
			c.send(subscribe(clusters))
			for got := 0; got < len(r.Clusters); {
				_, a := take(c)
				got += len(a.Resources)
			}
			var names []string
			for _, e := range r.Endpoints {
				names = append(names, e.Name)
			}
			c.send(subscribe(endpoints, names...))
			for got := 0; got < len(r.Endpoints); {
				_, a := take(c)
				got += len(a.Resources)
			}
			name := r.Endpoints[size/2].Name
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				next := *r
				next.Endpoints = slices.Clone(r.Endpoints)
				next.Endpoints[size/2] = w.pack(name, assignment(name, fmt.Sprintf("10.4.%d.%d", i>>8&255, i&255)))
				if err := s.Set(&next); err != nil {
					b.Fatal(err)
				}
				wantDelta(c, "endpoint "+name)
			}
		})
	}
}

// BenchmarkLargeListeners sends 400 MB of listeners to one proxy and reports how
// much memory the server and this client took for it.
func BenchmarkLargeListeners(b *testing.B) {
	const count, each = 100, 4 << 20
	s := start(b)
	r := largeListeners(b, count, each)
	if err := s.Set(r); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(count * each)
	for b.Loop() {
		c := s.sotw()
		c.send(ask(listeners))
		if a := c.next(); len(a.Resources) != count {
			b.Fatalf("%d listeners", len(a.Resources))
		}
		c.close()
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	b.ReportMetric(float64(m.Sys)/(1<<20), "MB-from-OS")
}

// largeListeners are listeners whose names' length makes their size.
func largeListeners(b *testing.B, count, size int) *envoyconfig.Resources {
	w := newWorld(b)
	w.clusters, w.addresses, w.listeners = nil, nil, nil
	r := w.resources()
	for i := range count {
		name := fmt.Sprintf("%03d", i)
		l := w.listener(name, "")
		l.FilterChains = nil
		l.StatPrefix = string(make([]byte, size))
		r.Listeners = append(r.Listeners, w.pack(name, l))
	}
	return r
}
