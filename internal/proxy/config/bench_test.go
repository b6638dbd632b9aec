// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/anypb"

	"github.com/ambient22/ambient22/envoyconfig"
	"github.com/ambient22/ambient22/internal/mesh"
)

// largeMesh has pods on node a, each with its own identity, and services with one
// port and two endpoints each on node b, all of one identity.
func largeMesh(pods, services int) *mesh.Snapshot {
	s := &mesh.Snapshot{TrustDomain: mesh.DefaultTrustDomain, Nodes: []mesh.Node{{Name: "a"}, {Name: "b"}}}
	pod := func(name, account, node string, net, i int) mesh.Workload {
		return mesh.Workload{
			UID: "uid-" + name, Namespace: "default", Name: name, ServiceAccount: account, Node: node,
			IP:      netip.AddrFrom4([4]byte{10, byte(net), byte(i >> 8), byte(i)}),
			Created: time.Unix(int64(i), 0), Ready: true, Class: mesh.InMesh,
		}
	}
	for i := range pods {
		name := fmt.Sprintf("caller-%d", i)
		s.Workloads = append(s.Workloads, pod(name, name, "a", 1, i))
	}
	for i := range services {
		service := mesh.Service{
			Namespace: "default", Name: fmt.Sprintf("service-%d", i), VIP: netip.AddrFrom4([4]byte{10, 96, byte(i >> 8), byte(i)}),
			Ports: []mesh.ServicePort{{Name: "http", Number: 80}},
		}
		for j := range 2 {
			w := pod(fmt.Sprintf("server-%d-%d", i, j), "server", "b", 2, 2*i+j)
			s.Workloads = append(s.Workloads, w)
			service.Ports[0].Endpoints = append(service.Ports[0].Endpoints, mesh.Endpoint{IP: w.IP, Port: 8080})
		}
		s.Services = append(s.Services, service)
	}
	s.Sort()
	return s
}

// outboundListener is node a's ztunnel_outbound.
func outboundListener(tb testing.TB, s *mesh.Snapshot) *anypb.Any {
	tb.Helper()
	r, err := envoyconfig.Build(s, envoyconfig.Options{Node: "a", ProxyID: "ztunnel-a.istio-system"})
	if err != nil {
		tb.Fatal(err)
	}
	for _, l := range r.Listeners {
		if l.Name == "ztunnel_outbound" {
			return l.Body()
		}
	}
	tb.Fatal("no ztunnel_outbound")
	panic("unreachable")
}

// heap is how much is in use after a collection.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// BenchmarkDecodeListener decodes listeners of growing meshes: the time per chain
// must not grow with them.
func BenchmarkDecodeListener(b *testing.B) {
	for _, size := range []struct{ pods, services int }{{10, 100}, {40, 400}, {100, 1000}} {
		b.Run(fmt.Sprintf("pods=%d/services=%d", size.pods, size.services), func(b *testing.B) {
			if testing.Short() && size.pods > 10 {
				b.Skip("large listeners take gigabytes; not in short mode")
			}
			body := outboundListener(b, largeMesh(size.pods, size.services))
			before := heap()
			var l *Listener
			b.ReportAllocs()
			for b.Loop() {
				var err error
				if l, err = NewDecoder("sds-grpc").Listener(body); err != nil {
					b.Fatal(err)
				}
			}
			chains := float64(len(l.all))
			b.ReportMetric(chains, "chains")
			b.ReportMetric(float64(len(body.GetValue()))/(1<<20), "MiB-wire")
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/chains, "µs/chain")
			b.ReportMetric(float64(heap()-before)/(1<<20), "MiB-kept")
			runtime.KeepAlive(l)
			runtime.KeepAlive(body)
		})
	}
}

// BenchmarkDecodeNextVersion decodes a listener again after a pod came: what is
// as it was is taken over.
func BenchmarkDecodeNextVersion(b *testing.B) {
	s := largeMesh(40, 400)
	d := NewDecoder("sds-grpc")
	old, err := d.Listener(outboundListener(b, s))
	if err != nil {
		b.Fatal(err)
	}
	body := outboundListener(b, largeMesh(41, 400))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := d.ListenerAfter(old, body); err != nil {
			b.Fatal(err)
		}
	}
}

// What decoding allocates must grow with the chains and no faster.
func TestDecodingIsLinear(t *testing.T) {
	perChain := func(pods, services int) float64 {
		body := outboundListener(t, largeMesh(pods, services))
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		l, err := NewDecoder("sds-grpc").Listener(body)
		if err != nil {
			t.Fatal(err)
		}
		runtime.ReadMemStats(&after)
		return float64(after.TotalAlloc-before.TotalAlloc) / float64(len(l.all))
	}
	small, large := perChain(5, 50), perChain(20, 200)
	if large > 1.5*small {
		t.Errorf("%.0f bytes per chain of a small listener, %.0f of one sixteen times as large", small, large)
	}
}

func TestNextVersionSharesItsChains(t *testing.T) {
	d := NewDecoder("sds-grpc")
	old, err := d.Listener(outboundListener(t, largeMesh(2, 3)))
	if err != nil {
		t.Fatal(err)
	}
	body := outboundListener(t, largeMesh(2, 4))
	next, err := d.ListenerAfter(old, body)
	if err != nil {
		t.Fatal(err)
	}
	shared := 0
	for name, chain := range old.byName {
		if next.byName[name] == chain {
			shared++
		}
	}
	if shared != len(old.byName) || len(next.byName) <= shared {
		t.Errorf("of %d chains %d are shared with %d", len(old.byName), shared, len(next.byName))
	}
	fresh, err := NewDecoder("sds-grpc").ListenerAfter(old, body)
	if err != nil {
		t.Fatal(err)
	}
	for name := range fresh.byName {
		if next.byName[name] == nil || fresh.byName[name] == next.byName[name] {
			t.Errorf("chain %s: %p is not another than %p", name, next.byName[name], fresh.byName[name])
		}
	}
}

func TestDamagedListener(t *testing.T) {
	body := outboundListener(t, largeMesh(2, 3))
	cut := &anypb.Any{TypeUrl: body.GetTypeUrl(), Value: body.GetValue()[:len(body.GetValue())-3]}
	_, err := NewDecoder("sds-grpc").Listener(cut)
	wantRefusal(t, err, "decoding a listener")
	// A chain that is no message.
	bad := &anypb.Any{TypeUrl: body.GetTypeUrl(), Value: append([]byte{0x1a, 1, 0xff}, body.GetValue()...)}
	_, err = NewDecoder("sds-grpc").Listener(bad)
	wantRefusal(t, err, "filter_chains[0]", "FilterChain")
}
