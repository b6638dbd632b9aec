// SPDX-License-Identifier: Apache-2.0

package envoyconfig_test

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ambient22/ambient22/envoyconfig"
	"github.com/ambient22/ambient22/internal/mesh"
)

// benchSize is a mesh as one node sees it: its pods, each with an identity of its
// own, and the services.
type benchSize struct{ pods, services int }

func benchSizes() []benchSize { return []benchSize{{10, 100}, {50, 500}, {100, 1000}} }

func (s benchSize) String() string { return fmt.Sprintf("%d/%d", s.pods, s.services) }

// eachMesh runs a benchmark with every size, the services' pods sharing one
// identity, and again with one identity per service.
func eachMesh(b *testing.B, run func(b *testing.B, s *mesh.Snapshot)) {
	for _, size := range benchSizes() {
		for _, identities := range []string{"shared", "per-service"} {
			b.Run(size.String()+"/"+identities, func(b *testing.B) {
				run(b, benchMesh(size, identities == "shared"))
			})
		}
	}
}

// BenchmarkBuild measures one build of everything from nothing: the time of each
// kind and of the whole, CPU time, what is allocated, what stays, and the highest
// resident memory of the process meanwhile.
func BenchmarkBuild(b *testing.B) {
	eachMesh(b, func(b *testing.B, s *mesh.Snapshot) {
		options := envoyconfig.Options{Node: "node-0", ProxyID: "ztunnel-x.istio-system"}
		var r *envoyconfig.Resources
		var sum envoyconfig.Took
		var cpu time.Duration
		b.ReportAllocs()
		b.StopTimer()
		clearPeak(b)
		b.StartTimer()
		for b.Loop() {
			b.StopTimer()
			r = nil
			debug.FreeOSMemory()
			start := cpuTime(b)
			b.StartTimer()
			var took envoyconfig.Took
			var err error
			if r, took, err = envoyconfig.BuildTimed(s, options); err != nil {
				b.Fatal(err)
			}
			cpu += cpuTime(b) - start
			sum.Listeners += took.Listeners
			sum.Clusters += took.Clusters
			sum.Endpoints += took.Endpoints
		}
		n := float64(b.N)
		b.ReportMetric(peak(b), "peak-MB")
		b.ReportMetric(sum.Listeners.Seconds()/n, "LDS-s")
		b.ReportMetric(sum.Clusters.Seconds()/n, "CDS-s")
		b.ReportMetric(sum.Endpoints.Seconds()/n, "EDS-s")
		b.ReportMetric(cpu.Seconds()/n, "cpu-s")
		b.ReportMetric(float64(weigh(r.Listeners))/1e6, "LDS-MB")
		b.ReportMetric(float64(weigh(r.Clusters))/1e6, "CDS-MB")
		b.ReportMetric(float64(weigh(r.Endpoints))/1e6, "EDS-MB")
		b.ReportMetric(float64(len(r.Listeners)+len(r.Clusters)+len(r.Endpoints)), "resources")
		b.ReportMetric(heap(), "live-MB")
		runtime.KeepAlive(r)
	})
}

// BenchmarkChange measures what one thing more costs a builder that knows the rest,
// and how much of it is to be sent: by delta xDS, what is new and what differs.
func BenchmarkChange(b *testing.B) {
	eachMesh(b, func(b *testing.B, s *mesh.Snapshot) {
		builder := envoyconfig.NewBuilder(envoyconfig.Options{Node: "node-0"})
		before := advance(b, builder, s)
		for _, c := range []struct {
			name   string
			change func(*mesh.Snapshot)
		}{{"endpoint", oneEndpointLess}, {"service", oneServiceMore}, {"pod", onePodMore}, {"policy", onePolicyMore}} {
			changed := *s
			c.change(&changed)
			b.Run(c.name, func(b *testing.B) {
				var after *envoyconfig.Resources
				b.ReportAllocs()
				for b.Loop() {
					after = advance(b, builder, &changed)
					b.StopTimer()
					before = advance(b, builder, s)
					b.StartTimer()
				}
				resources, bytes := resent(before, after)
				b.ReportMetric(float64(resources), "resent")
				b.ReportMetric(float64(bytes)/1e6, "resent-MB")
			})
		}
	})
}

func advance(b testing.TB, builder *envoyconfig.Builder, s *mesh.Snapshot) *envoyconfig.Resources {
	r, err := builder.Update(s, "ztunnel-x.istio-system")
	if err != nil {
		b.Fatal(err)
	}
	return r
}

// resent is what after has that before has not.
func resent(before, after *envoyconfig.Resources) (resources, bytes int) {
	old := lists(before)
	for k, list := range lists(after) {
		had := make(map[*envoyconfig.Resource]bool, len(old[k]))
		for _, r := range old[k] {
			had[r] = true
		}
		for _, r := range list {
			if !had[r] {
				resources++
				bytes += r.Wire.Len()
			}
		}
	}
	return resources, bytes
}

func weigh(list []*envoyconfig.Resource) (bytes int) {
	for _, r := range list {
		bytes += r.Wire.Len()
	}
	return bytes
}

// cpuTime is what all threads of the process have used.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// heap is what is in use, in MB.
func heap() float64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc) / 1e6
}

// clearPeak forgets the highest resident memory so far.
func clearPeak(b *testing.B) {
	debug.FreeOSMemory()
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil {
		b.Fatal(err)
	}
}

// peak is the highest resident memory since, in MB.
func peak(b *testing.B) float64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		b.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	var kB float64
	if _, err := fmt.Sscan(rest, &kB); err != nil {
		b.Fatal(err)
	}
	return kB * 1024 / 1e6
}
