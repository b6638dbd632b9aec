// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"fmt"
	"net/netip"
	"os"
	"runtime"
	runtimemetrics "runtime/metrics"
	"slices"
	"strings"
	"testing"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"

	"github.com/ambient22/ambient22/envoyconfig"
	"github.com/ambient22/ambient22/internal/mesh"
)

// BenchmarkServiceChange changes the endpoints of one service in a mesh of many
// identities, and waits until a proxy has the assignments that differ, one for each
// identity. The proxy subscribes as Envoy does: to all clusters, then to the
// endpoints of each by name. Reported are, for one change, what building the
// resources took; the time from Set until the server has written the last byte, the
// slowest as well; the time from Set until the proxy has decoded all; and the
// processor time of everything, the proxy's and its ACKs' included. A change follows
// as soon as the proxy has sent its ACK, or, with settled=true, when the server has
// read it.
func BenchmarkServiceChange(b *testing.B) {
	for _, size := range []struct {
		protocol             string
		identities, services int
		settled              bool
	}{
		{"delta", 101, 10, false}, {"delta", 101, 100, false}, {"delta", 101, 1000, false}, {"delta", 1100, 1000, false},
		{"sotw", 101, 10, false}, {"sotw", 101, 100, false}, {"sotw", 101, 1000, false}, {"sotw", 101, 1000, true},
	} {
		b.Run(fmt.Sprintf("%s/identities=%d/services=%d/settled=%v", size.protocol, size.identities, size.services, size.settled), func(b *testing.B) {
			changeService(b, size.protocol, size.identities, size.services, size.settled)
		})
	}
}

func changeService(b *testing.B, protocol string, identities, services int, settled bool) {
	s := start(b)
	builder := envoyconfig.NewBuilder(envoyconfig.Options{Node: "node"})
	variants := [2]*mesh.Snapshot{flatMesh(identities, services, 0), flatMesh(identities, services, 1)}
	build := func(i int) *envoyconfig.Resources {
		r, err := builder.Update(variants[i%2], "ztunnel.istio-system")
		if err != nil {
			b.Fatal(err)
		}
		return r
	}
	set := func(r *envoyconfig.Resources) {
		if err := s.Set(r); err != nil {
			b.Fatal(err)
		}
	}
	first := build(0)
	set(first)
	begun := time.Now()
	next := follow(b, s, protocol, first)
	connecting := time.Since(begun)
	others := func() float64 {
		return s.metric("pushes_total", "cluster") + s.metric("pushes_total", "listener")
	}
	eventually(b, "all is counted", func() bool { return len(s.Status()[0].Types) == 3 && s.Status()[0].Types[2].Sent != "" })
	bytes, sent, cpu := s.metric("push_bytes_total", "endpoint"), others(), processorTime(b)
	var building, writing, slowest, serving time.Duration
	b.ReportAllocs()
	for i := 1; b.Loop(); i++ {
		begun := time.Now()
		r := build(i)
		built := time.Now()
		set(r)
		var acks []func()
		for got := 0; got < identities; {
			n, ack := next()
			got, acks = got+n, append(acks, ack)
		}
		serving += time.Since(built)
		took := s.written.at().Sub(built)
		building, writing, slowest = building+built.Sub(begun), writing+took, max(slowest, took)
		for _, ack := range acks {
			ack()
		}
		if settled {
			eventually(b, "the ACK is read", func() bool {
				return !slices.ContainsFunc(s.Status()[0].Types, func(t TypeStatus) bool { return t.Unanswered > 0 })
			})
		}
	}
	if again := others(); again != sent {
		b.Errorf("%v responses of clusters and listeners", again-sent)
	}
	perChange := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 / float64(b.N) }
	b.ReportMetric(perChange(building), "build-ms")
	b.ReportMetric(perChange(writing), "wire-ms")
	b.ReportMetric(float64(slowest.Microseconds())/1000, "slowest-wire-ms")
	b.ReportMetric(perChange(serving), "proxy-ms")
	b.ReportMetric(perChange(processorTime(b)-cpu), "cpu-ms")
	b.ReportMetric((s.metric("push_bytes_total", "endpoint")-bytes)/float64(b.N), "bytes")
	b.ReportMetric(float64(identities), "resources")
	b.ReportMetric(connecting.Seconds(), "s/connecting")
	b.ReportMetric(0, "ns/op") // the sum of the first two
}

// follow subscribes to everything as Envoy does and takes it in. It returns a
// function that takes the next response of endpoints, counts them, and returns how
// to accept it.
func follow(b *testing.B, s *running, protocol string, r *envoyconfig.Resources) (next func() (int, func())) {
	b.Helper()
	names := make([]string, len(r.Endpoints))
	for i, e := range r.Endpoints {
		names[i] = e.Name
	}
	if protocol == "sotw" {
		c := s.sotw()
		take := func(names ...string) int {
			a := c.next()
			c.send(ack(a, names...))
			return len(a.Resources)
		}
		c.send(ask(clusters))
		take()
		c.send(ask(endpoints, names...))
		for got := 0; got < len(names); {
			got += take(names...)
		}
		c.send(ask(listeners))
		take()
		return func() (int, func()) {
			a := c.next()
			return len(a.Resources), func() { c.send(ack(a, names...)) }
		}
	}
	c := s.delta()
	all := func(total int) {
		for got := 0; got < total; {
			_, a := take(c)
			got += len(a.Resources)
		}
	}
	c.send(subscribe(clusters))
	all(len(r.Clusters))
	c.send(subscribe(endpoints, names...))
	all(len(names))
	c.send(subscribe(listeners))
	all(len(r.Listeners))
	return func() (int, func()) {
		a := c.next()
		return len(a.Resources), func() { c.send(deltaAck(a)) }
	}
}

// flatMesh has so many identities, one pod each, and so many services of two
// endpoints on another node. Variant differs in one endpoint of one service.
func flatMesh(identities, services, variant int) *mesh.Snapshot {
	ip := func(first, n int) netip.Addr {
		return netip.AddrFrom4([4]byte{byte(first), byte(n >> 16), byte(n >> 8), byte(n)})
	}
	s := &mesh.Snapshot{TrustDomain: mesh.DefaultTrustDomain, Nodes: []mesh.Node{
		{Name: "node", InternalIP: ip(192, 1)}, {Name: "other", InternalIP: ip(192, 2)},
	}}
	for i := range identities {
		name, node := fmt.Sprintf("pod-%05d", i), "other"
		if i == 0 {
			node = "node"
		}
		s.Workloads = append(s.Workloads, mesh.Workload{
			UID: name, Namespace: "default", Name: name, ServiceAccount: name, Node: node, IP: ip(10, i), Ready: true, Class: mesh.InMesh,
		})
	}
	for i := range services {
		e := []mesh.Endpoint{{IP: ip(10, 2*i%identities), Port: 8080}, {IP: ip(10, (2*i+1)%identities), Port: 8080}}
		if i == services/2 && variant > 0 {
			e = e[:1]
		}
		s.Services = append(s.Services, mesh.Service{
			Namespace: "default", Name: fmt.Sprintf("service-%06d", i), VIP: ip(172, i),
			Ports: []mesh.ServicePort{{Name: "http", Number: 80, Endpoints: e}},
		})
	}
	return s
}

// BenchmarkLargeListener sends one listener of 430 MB to one proxy, made of one part
// or of many, and reports the time, the processor time and the largest heap, all
// of server and client together. The client only receives; gRPC holds the whole
// message once on its side. For comparison, "copy" moves as many bytes through a
// Unix socket without any protocol.
func BenchmarkLargeListener(b *testing.B) {
	const size = 430 << 20
	b.Run("copy", func(b *testing.B) {
		measure(b, size, func() { copyThroughSocket(b, size) })
	})
	for _, parts := range []int{1, 600_000, 6_000_000} {
		b.Run(fmt.Sprintf("parts=%d", parts), func(b *testing.B) {
			s := start(b)
			if err := s.Set(largeListener(b, size, parts)); err != nil {
				b.Fatal(err)
			}
			runtime.GC()
			measure(b, size, func() {
				rpc, err := discoveryv3.NewAggregatedDiscoveryServiceClient(s.dial()).
					StreamAggregatedResources(b.Context(), grpc.ForceCodecV2(countingCodec{encoding.GetCodecV2("proto")}))
				if err == nil {
					err = rpc.Send(ask(listeners))
				}
				var got received
				if err == nil {
					err = rpc.RecvMsg(&got)
				}
				if err != nil || int(got) < size {
					b.Fatal(got, err)
				}
			})
		})
	}
}

// measure runs step as often as the benchmark wants.
func measure(b *testing.B, size int64, step func()) {
	b.SetBytes(size)
	stop := make(chan struct{})
	peak := make(chan uint64)
	go func() { peak <- peakHeap(stop) }()
	before := processorTime(b)
	for b.Loop() {
		step()
	}
	b.ReportMetric((processorTime(b)-before).Seconds()/float64(b.N), "cpu-s/op")
	close(stop)
	b.ReportMetric(float64(<-peak)/(1<<20), "peak-heap-MB")
}

// peakHeap watches the heap until stop is closed.
func peakHeap(stop <-chan struct{}) (peak uint64) {
	sample := []runtimemetrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		runtimemetrics.Read(sample)
		peak = max(peak, sample[0].Value.Uint64())
		select {
		case <-tick.C:
		case <-stop:
			return peak
		}
	}
}

func processorTime(b *testing.B) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func copyThroughSocket(b *testing.B, size int64) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		b.Fatal(err)
	}
	in, out := os.NewFile(uintptr(pair[0]), "in"), os.NewFile(uintptr(pair[1]), "out")
	defer out.Close()
	go func() {
		defer in.Close()
		for chunk, left := make([]byte, 64<<10), size; left > 0; left -= int64(len(chunk)) {
			if _, err := in.Write(chunk); err != nil {
				return
			}
		}
	}()
	chunk := make([]byte, 64<<10)
	for got := int64(0); got < size; {
		n, err := out.Read(chunk)
		if err != nil {
			b.Fatal(err)
		}
		got += int64(n)
	}
}

// received is how many bytes a message had.
type received int

// countingCodec throws away what comes in, as far as gRPC lets it.
type countingCodec struct{ encoding.CodecV2 }

func (c countingCodec) Unmarshal(data mem.BufferSlice, v any) error {
	*v.(*received) = received(data.Len())
	return nil
}

// largeListener is a listener of that size, cut into parts that lie in different
// places.
func largeListener(b *testing.B, size, parts int) *envoyconfig.Resources {
	w := newWorld(b)
	w.clusters, w.addresses, w.listeners, w.secrets, w.extension = nil, nil, nil, nil, ""
	l := w.listener("large", "")
	l.FilterChains = nil
	l.StatPrefix = strings.Repeat("x", size)
	r := w.resources()
	large := w.pack(l.Name, l)
	whole := large.Wire[0]
	large.Wire = make(envoyconfig.Wire, 0, parts)
	for i := range parts {
		large.Wire = append(large.Wire, append([]byte(nil), whole[len(whole)*i/parts:len(whole)*(i+1)/parts]...))
	}
	r.Listeners = append(r.Listeners, large)
	return r
}
