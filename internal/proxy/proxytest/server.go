// SPDX-License-Identifier: Apache-2.0

package proxytest

import (
	"context"
	"fmt"
	"net"
	"sync"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	secretv3 "github.com/envoyproxy/go-control-plane/envoy/service/secret/v3"
	"github.com/envoyproxy/go-control-plane/pkg/cache/types"
	"github.com/envoyproxy/go-control-plane/pkg/cache/v3"
	"github.com/envoyproxy/go-control-plane/pkg/resource/v3"
	serverv3 "github.com/envoyproxy/go-control-plane/pkg/server/v3"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

// Server is an xDS server for one proxy. It is built on Envoy's own Go control
// plane library, so that the proxy's client is tested against foreign code.
type Server struct {
	cache cache.SnapshotCache
	grpc  *grpc.Server

	mu      sync.Mutex
	version int
	nacks   []Nack
	changed chan struct{}
}

// Nack is one refused response.
type Nack struct{ TypeURL, Message string }

// oneNode takes every proxy for the same.
type oneNode struct{}

func (oneNode) ID(*corev3.Node) string { return "node" }

// Serve starts a server at a Unix socket; Stop ends it.
func Serve(socket string) (*Server, error) {
	l, err := net.Listen("unix", socket)
	if err != nil {
		return nil, fmt.Errorf("listening: %w", err)
	}
	s := &Server{cache: cache.NewSnapshotCache(false, oneNode{}, nil), grpc: grpc.NewServer(grpc.MaxRecvMsgSize(1 << 30)), changed: make(chan struct{})}
	srv := serverv3.NewServer(context.Background(), s.cache, serverv3.CallbackFuncs{
		StreamRequestFunc: func(_ int64, r *discoveryv3.DiscoveryRequest) error {
			s.note(r.GetTypeUrl(), r.GetErrorDetail())
			return nil
		},
		StreamDeltaRequestFunc: func(_ int64, r *discoveryv3.DeltaDiscoveryRequest) error {
			s.note(r.GetTypeUrl(), r.GetErrorDetail())
			return nil
		},
	})
	discoveryv3.RegisterAggregatedDiscoveryServiceServer(s.grpc, srv)
	secretv3.RegisterSecretDiscoveryServiceServer(s.grpc, srv)
	go s.grpc.Serve(l)
	return s, nil
}

func (s *Server) note(typeURL string, detail *rpcstatus.Status) {
	if detail == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.nacks = append(s.nacks, Nack{typeURL, detail.GetMessage()})
	close(s.changed)
	s.changed = make(chan struct{})
}

// Nacks are all refusals so far, and a channel that is closed at the next.
func (s *Server) Nacks() ([]Nack, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Nack(nil), s.nacks...), s.changed
}

// Set serves these resources and secrets from now on.
func (s *Server) Set(r *Resources, secrets []*tlsv3.Secret) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.version++
	snap, err := cache.NewSnapshot(fmt.Sprint(s.version), map[resource.Type][]types.Resource{
		resource.ListenerType:        list(r.Listeners),
		resource.ClusterType:         list(r.Clusters),
		resource.EndpointType:        list(r.Endpoints),
		resource.ExtensionConfigType: list(r.Extensions),
		resource.SecretType:          list(secrets),
	})
	if err != nil {
		return fmt.Errorf("making snapshot: %w", err)
	}
	return s.cache.SetSnapshot(context.Background(), "node", snap)
}

func list[T types.Resource](in []T) []types.Resource {
	out := make([]types.Resource, len(in))
	for i, r := range in {
		out[i] = proto.Clone(r).(T) // the test goes on changing its own
	}
	return out
}

// Stop ends the server and its streams.
func (s *Server) Stop() { s.grpc.Stop() }
