// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	secretv3 "github.com/envoyproxy/go-control-plane/envoy/service/secret/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/ambient22/ambient22/envoyconfig"
)

// TestSlowProxyHoldsNobodyUp lets one proxy not read what is far more than any
// buffer on the way, while another is served one change after the other.
func TestSlowProxyHoldsNobodyUp(t *testing.T) {
	s := start(t, func(s *Server) { s.ackWait = time.Millisecond })
	w := many(t, 5_000)
	w.listeners = nil
	w.set(s.Server)
	slow, err := discoveryv3.NewAggregatedDiscoveryServiceClient(s.dial()).StreamAggregatedResources(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := slow.Send(ask(clusters)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the slow proxy has been sent something", func() bool { return s.metric("pushes_total", "cluster") == 1 })

	fast := s.delta()
	fast.send(subscribe(endpoints, "alpha"))
	wantDelta(fast, "endpoint alpha")
	for i := range 8 {
		w.clusters["alpha"] = time.Duration(i+2) * time.Second // for the slow one: 600 kB each time
		w.addresses["alpha"] = []string{"10.4.5.1", "10.4.5.2"}[i%2]
		w.set(s.Server)
		wantDelta(fast, "endpoint alpha")
	}
	if got := s.metric("pushes_total", "cluster"); got > 4 {
		t.Errorf("%v states have been queued for the proxy that doesn't read", got)
	}

	// It wakes up: what it was sent first, and soon the latest.
	latest := s.snapshot().tables[clusters].version
	for received := 1; ; received++ {
		a, err := slow.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if err := slow.Send(ack(a)); err != nil {
			t.Fatal(err)
		}
		if a.VersionInfo == latest {
			break
		}
		if received > 5 {
			t.Fatal("the latest state doesn't come")
		}
	}
}

func TestStopEndsStreams(t *testing.T) {
	s, w := start(t), newWorld(t)
	w.set(s.Server)
	c := s.delta()
	c.send(subscribe(clusters))
	wantDelta(c, "cluster alpha beta")
	if err := s.stop(); err != nil {
		t.Errorf("Serve returned %v", err)
	}
	select {
	case err := <-c.ended:
		if status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "stopping") {
			t.Errorf("the stream ended with %v", err)
		}
	case <-time.After(patience):
		t.Fatal("the stream goes on")
	}
	if _, err := os.Lstat(s.path); err == nil {
		t.Error("the socket is still there")
	}
	if len(s.Status()) != 0 {
		t.Error("status lists a stream that has ended")
	}
}

func TestStopDoesNotWaitForWhoDoesNotRead(t *testing.T) {
	s := start(t, func(s *Server) { s.drain = 10 * time.Millisecond; s.ackWait = time.Millisecond })
	w := many(t, 4_000)
	w.set(s.Server)
	slow, err := discoveryv3.NewAggregatedDiscoveryServiceClient(s.dial()).StreamAggregatedResources(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if err := slow.Send(ask(clusters)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "something has been sent", func() bool { return s.metric("pushes_total", "cluster") == 1 })
	if err := slow.Send(ask(listeners)); err != nil { // this one blocks the stream
		t.Fatal(err)
	}
	begun := time.Now()
	if err := s.stop(); err != nil {
		t.Error(err)
	}
	if took := time.Since(begun); took > patience/2 {
		t.Errorf("stopping took %v", took)
	}
}

func TestAskCloseRead(t *testing.T) {
	s, w := start(t), newWorld(t)
	w.set(s.Server)
	for range 50 {
		c := s.sotw()
		c.send(ask(clusters))
		c.send(ask(listeners))
		if err := c.rpc.CloseSend(); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"cluster alpha beta", "listener ztunnel_inbound ztunnel_outbound"} {
			if got := describe(t, c.next()); got != want {
				t.Fatalf("got %q, want %q", got, want)
			}
		}
		if err := <-c.ended; !errors.Is(err, io.EOF) {
			t.Fatalf("the stream ended with %v", err)
		}
	}
}

func TestServeAgainAfterStop(t *testing.T) {
	s, w := start(t), newWorld(t)
	w.set(s.Server)
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	lis, err := Listen(s.path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, lis) }()
	c := s.delta()
	c.send(subscribe(clusters))
	wantDelta(c, "cluster alpha beta")
	cancel()
	if err := <-served; err != nil {
		t.Error(err)
	}
}

func TestUnknownTypesAndBadRequests(t *testing.T) {
	s, w := start(t), newWorld(t)
	w.set(s.Server)
	c := s.delta()
	unknown := subscribe(clusters)
	unknown.TypeUrl = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"
	c.send(unknown)
	c.send(unknown)
	c.send(subscribe(clusters))
	wantDelta(c, "cluster alpha beta")
	if s.log.line("level=WARN", "not served", "RouteConfiguration") == "" {
		t.Error("an unknown type is not logged")
	}
	unknown.TypeUrl = ""
	c.send(unknown)
	if err := <-c.ended; status.Code(err) != codes.InvalidArgument {
		t.Errorf("a request without a type ended the stream with %v", err)
	}

	_, err := secretv3.NewSecretDiscoveryServiceClient(s.dial()).FetchSecrets(t.Context(), ask(secrets))
	if status.Code(err) != codes.Unimplemented {
		t.Errorf("FetchSecrets: %v", err)
	}
}

func TestMetrics(t *testing.T) {
	s, w := start(t), newWorld(t)
	if got := s.metric("nacks_total", "listener"); got != 0 {
		t.Errorf("%v NACKs before the first", got)
	}
	w.set(s.Server)
	c := s.delta()
	subscribeAll(c)
	eventually(t, "the last answer is in", func() bool { return s.metric("ack_seconds", "extension") == 1 })
	for _, m := range []struct {
		name   string
		labels []string
		want   float64
	}{
		{"streams", []string{"delta", adsService}, 1},
		{"pushes_total", []string{"cluster"}, 1},
		{"ack_seconds", []string{"listener"}, 1},
		{"resources", []string{"cluster"}, 2},
		{"resources", []string{"endpoint"}, 2},
		{"resources", []string{"listener"}, 2},
		{"resources", []string{"extension"}, 1},
		{"resources", []string{"secret"}, 2}, // the pod's, and the bare identity
		{"sets_total", []string{setTaken}, 1},
		{"set_seconds", nil, 1},
		{"push_resources_total", []string{"cluster"}, 2},
		{"push_seconds", []string{"cluster"}, 0}, // what was sent so far was asked for
		{"rejected_resources", []string{"cluster"}, 0},
	} {
		if got := s.metric(m.name, m.labels...); got != m.want {
			t.Errorf("%s%v = %v, want %v", m.name, m.labels, got, m.want)
		}
	}
	if got := s.metric("push_bytes_total", "cluster"); got < 100 {
		t.Errorf("%v bytes pushed", got)
	}
	w.removeCluster("beta")
	w.listeners["ztunnel_outbound"] = "alpha"
	w.set(s.Server)
	wantDelta(c, "listener ztunnel_outbound")
	wantDelta(c, "endpoint -beta")
	wantDelta(c, "cluster -beta")
	for name, want := range map[string]float64{"push_seconds": 1, "push_resources_total": 3, "pushes_total": 2} {
		if got := s.metric(name, "cluster"); got != want {
			t.Errorf("after a change, %s = %v, want %v", name, got, want)
		}
	}
}

// TestWireForm compares messages written by hand with protobuf's own.
func TestWireForm(t *testing.T) {
	w := newWorld(t)
	small := w.pack("small", assignment("small", "10.0.0.1"))
	large := &envoyconfig.Resource{Name: "large", Version: "v2", Type: envoyconfig.ListenerType, Wire: envoyconfig.Wire{
		[]byte(strings.Repeat("x", 30*shareFrom)),
	}}
	parts := &envoyconfig.Resource{Name: "parts", Version: "v2", Type: envoyconfig.ListenerType, Wire: envoyconfig.Wire{
		[]byte("few"), large.Wire[0], nil, []byte("more"), []byte("bytes"), large.Wire[0],
	}}
	empty := &envoyconfig.Resource{Name: "empty", Version: "v3", Type: envoyconfig.ListenerType}
	sotwWant := &discoveryv3.DiscoveryResponse{VersionInfo: "v", TypeUrl: "t", Nonce: "7"}
	deltaWant := &discoveryv3.DeltaDiscoveryResponse{
		SystemVersionInfo: "v", TypeUrl: "t", Nonce: "7", RemovedResources: []string{"gone", ""},
	}
	sotwGot, deltaGot := newMessage("v", "t", "7"), newMessage("v", "t", "7")
	for _, r := range []*envoyconfig.Resource{small, large, empty, parts, large, small} {
		sotwGot.resource(r)
		sotwWant.Resources = append(sotwWant.Resources, r.Body())
		deltaGot.deltaResource(r)
		deltaWant.Resources = append(deltaWant.Resources, &discoveryv3.Resource{Name: r.Name, Version: r.Version, Resource: r.Body()})
	}
	for _, name := range deltaWant.RemovedResources {
		deltaGot.removed(name)
	}
	for _, test := range []struct {
		message   *message
		got, want proto.Message
	}{
		{sotwGot, &discoveryv3.DiscoveryResponse{}, sotwWant},
		{deltaGot, &discoveryv3.DeltaDiscoveryResponse{}, deltaWant},
	} {
		buffers, err := newRawCodec().Marshal(test.message)
		if err != nil {
			t.Fatal(err)
		}
		if buffers.Len() != test.message.size || buffers.Len() != proto.Size(test.want) {
			t.Errorf("%d bytes, counted %d, protobuf would take %d", buffers.Len(), test.message.size, proto.Size(test.want))
		}
		if err := encoding.GetCodecV2("proto").Unmarshal(buffers, test.got); err != nil {
			t.Fatal(err)
		}
		if !proto.Equal(test.got, test.want) {
			t.Errorf("got %v, want %v", test.got, test.want)
		}
		if !refersTo(buffers, large.Wire[0]) {
			t.Error("a large resource has been copied")
		}
	}
}

// refersTo reports whether value itself, and not a copy, is one of the buffers.
func refersTo(buffers mem.BufferSlice, value []byte) bool {
	return slices.ContainsFunc(buffers, func(b mem.Buffer) bool {
		data := b.ReadOnlyData()
		return len(data) == len(value) && &data[0] == &value[0]
	})
}
