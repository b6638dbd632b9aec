// SPDX-License-Identifier: Apache-2.0

package adsclient

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"path/filepath"
	"slices"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/anypb"
)

const cdsType = "type.googleapis.com/envoy.config.cluster.v3.Cluster"

// script is an ADS server whose test reads every request and writes every
// response.
type script struct {
	discoveryv3.UnimplementedAggregatedDiscoveryServiceServer
	delta chan discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesServer
	full  chan discoveryv3.AggregatedDiscoveryService_StreamAggregatedResourcesServer
}

func (s *script) DeltaAggregatedResources(st discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesServer) error {
	s.delta <- st
	<-st.Context().Done()
	return nil
}

func (s *script) StreamAggregatedResources(st discoveryv3.AggregatedDiscoveryService_StreamAggregatedResourcesServer) error {
	s.full <- st
	<-st.Context().Done()
	return nil
}

// handler refuses what it is told to.
type handler struct {
	updates chan *Update
	refuse  map[string]bool
}

func (h *handler) Connected(bool) {}

func (h *handler) Update(u *Update) []Refusal {
	var refused []Refusal
	for _, r := range u.Resources {
		if h.refuse[r.Name] {
			refused = append(refused, Refusal{Name: r.Name, Err: errors.New("field x is not supported")})
		}
	}
	h.updates <- u
	return refused
}

// start runs a client against a script. restart begins the server anew.
func start(t *testing.T, delta bool) (c *Client, h *handler, s *script, restart func()) {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	s = &script{
		delta: make(chan discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesServer, 1),
		full:  make(chan discoveryv3.AggregatedDiscoveryService_StreamAggregatedResourcesServer, 1),
	}
	var server *grpc.Server
	serve := func() {
		l, err := net.Listen("unix", socket)
		if err != nil {
			t.Fatal(err)
		}
		server = grpc.NewServer()
		discoveryv3.RegisterAggregatedDiscoveryServiceServer(server, s)
		go server.Serve(l)
	}
	serve()
	conn, err := grpc.NewClient("unix:"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	h = &handler{updates: make(chan *Update, 10), refuse: make(map[string]bool)}
	c = New(Config{Conn: conn, Service: ADS, Delta: delta, Node: &corev3.Node{Id: "n"}, NodeOnce: true, Handler: h, Logger: slog.New(slog.DiscardHandler)})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { c.Run(ctx); close(done) }()
	t.Cleanup(func() {
		cancel()
		select {
		case <-done:
		case <-time.After(10 * time.Second):
			t.Error("the client did not stop")
		}
		conn.Close()
		server.Stop()
	})
	return c, h, s, func() { server.Stop(); serve() }
}

func recv[T any](t *testing.T, f func() (T, error)) T {
	t.Helper()
	v, err := f()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func resources(names ...string) []*discoveryv3.Resource {
	var out []*discoveryv3.Resource
	for _, n := range names {
		out = append(out, &discoveryv3.Resource{Name: n, Version: "v-" + n, Resource: &anypb.Any{TypeUrl: cdsType}})
	}
	return out
}

func TestDelta(t *testing.T) {
	c, h, s, restart := start(t, true)
	c.Subscribe(cdsType, nil)
	st := <-s.delta
	r := recv(t, st.Recv)
	if r.GetNode().GetId() != "n" || r.GetTypeUrl() != cdsType || len(r.GetResourceNamesSubscribe()) != 0 {
		t.Errorf("first request %v", r)
	}
	h.refuse["bad"] = true
	st.Send(&discoveryv3.DeltaDiscoveryResponse{TypeUrl: cdsType, Nonce: "1", SystemVersionInfo: "s1", Resources: resources("a", "bad", "c")})
	if u := <-h.updates; u.Version != "s1" || len(u.Resources) != 3 || u.Full {
		t.Errorf("update %+v", u)
	}
	r = recv(t, st.Recv)
	if r.GetNode() != nil || r.GetResponseNonce() != "1" || r.GetErrorDetail().GetMessage() != "bad: field x is not supported" {
		t.Errorf("refusal %v", r)
	}
	// The same thing once more is refused a little later, and is not forgotten.
	st.Send(&discoveryv3.DeltaDiscoveryResponse{TypeUrl: cdsType, Nonce: "2", SystemVersionInfo: "s1", Resources: resources("bad")})
	<-h.updates
	if r = recv(t, st.Recv); r.GetResponseNonce() != "2" || r.GetErrorDetail() == nil {
		t.Errorf("second refusal %v", r)
	}
	st.Send(&discoveryv3.DeltaDiscoveryResponse{TypeUrl: cdsType, Nonce: "3", SystemVersionInfo: "s2", RemovedResources: []string{"c"}})
	<-h.updates
	if r = recv(t, st.Recv); r.GetResponseNonce() != "3" || r.GetErrorDetail() != nil {
		t.Errorf("acknowledgement %v", r)
	}
	c.Subscribe("eds", []string{"x", "y"})
	if r = recv(t, st.Recv); !slices.Equal(r.GetResourceNamesSubscribe(), []string{"x", "y"}) {
		t.Errorf("subscription %v", r)
	}
	c.Subscribe("eds", []string{"y", "z"})
	if r = recv(t, st.Recv); !slices.Equal(r.GetResourceNamesSubscribe(), []string{"z"}) || !slices.Equal(r.GetResourceNamesUnsubscribe(), []string{"x"}) {
		t.Errorf("change of a subscription %v", r)
	}

	restart()
	st = <-s.delta
	r = recv(t, st.Recv)
	if got := r.GetInitialResourceVersions(); r.GetNode() == nil || len(got) != 1 || got["a"] != "v-a" {
		t.Errorf("request after a restart %v", r)
	}
	if r = recv(t, st.Recv); !slices.Equal(r.GetResourceNamesSubscribe(), []string{"y", "z"}) {
		t.Errorf("subscription after a restart %v", r)
	}
}

func TestStateOfTheWorld(t *testing.T) {
	c, h, s, restart := start(t, false)
	c.Subscribe(cdsType, nil)
	c.Subscribe("none", []string{})
	st := <-s.full
	if r := recv(t, st.Recv); r.GetNode() == nil || r.GetVersionInfo() != "" || r.GetTypeUrl() != cdsType {
		t.Errorf("first request %v", r)
	}
	named := func(name string) *anypb.Any {
		// Field 1 is the name; a field before it must not confuse.
		return &anypb.Any{TypeUrl: cdsType, Value: append([]byte{0x12, 1, 'z', 0x0a, byte(len(name))}, name...)}
	}
	st.Send(&discoveryv3.DiscoveryResponse{TypeUrl: cdsType, VersionInfo: "1", Nonce: "n1", Resources: []*anypb.Any{named("a"), named("b")}})
	if u := <-h.updates; !u.Full || u.Resources[0].Name != "a" || u.Resources[1].Name != "b" || u.Resources[0].Version != "1" {
		t.Errorf("update %+v", u)
	}
	if r := recv(t, st.Recv); r.GetVersionInfo() != "1" || r.GetResponseNonce() != "n1" || r.GetErrorDetail() != nil {
		t.Errorf("acknowledgement %v", r)
	}
	h.refuse["b"] = true
	st.Send(&discoveryv3.DiscoveryResponse{TypeUrl: cdsType, VersionInfo: "2", Nonce: "n2", Resources: []*anypb.Any{named("b")}})
	<-h.updates
	if r := recv(t, st.Recv); r.GetVersionInfo() != "1" || r.GetResponseNonce() != "n2" || r.GetErrorDetail() == nil {
		t.Errorf("refusal %v", r)
	}
	restart()
	st = <-s.full
	if r := recv(t, st.Recv); r.GetVersionInfo() != "1" || r.GetResponseNonce() != "" || r.GetNode() == nil {
		t.Errorf("request after a restart %v", r)
	}
}
