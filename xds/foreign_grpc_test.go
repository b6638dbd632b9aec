// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	routerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/peer"
	grpcxds "google.golang.org/grpc/xds"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/ambient22/ambient22/envoyconfig"
)

const greeter = "greeter" // the name that gRPC's client resolves

// greeterWorld is what gRPC's own xDS client can use: a listener with a route, a
// cluster, and one address.
type greeterWorld struct {
	*world
	timeout time.Duration
	address string
	usable  bool // gRPC knows the cluster's type
}

func (g *greeterWorld) resources() *envoyconfig.Resources {
	cluster := &clusterv3.Cluster{
		Name:                 greeter,
		ConnectTimeout:       durationpb.New(g.timeout),
		ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_ORIGINAL_DST},
		LbPolicy:             clusterv3.Cluster_CLUSTER_PROVIDED,
	}
	if g.usable {
		cluster.ClusterDiscoveryType = &clusterv3.Cluster_Type{Type: clusterv3.Cluster_EDS}
		cluster.LbPolicy = clusterv3.Cluster_ROUND_ROBIN
		cluster.EdsClusterConfig = &clusterv3.Cluster_EdsClusterConfig{EdsConfig: &corev3.ConfigSource{
			ConfigSourceSpecifier: &corev3.ConfigSource_Ads{Ads: &corev3.AggregatedConfigSource{}},
		}}
	}
	host, port, err := net.SplitHostPort(g.address)
	if err != nil {
		g.t.Fatal(err)
	}
	var number uint32
	if _, err := fmt.Sscan(port, &number); err != nil {
		g.t.Fatal(err)
	}
	endpoints := &endpointv3.ClusterLoadAssignment{ClusterName: greeter, Endpoints: []*endpointv3.LocalityLbEndpoints{{
		Locality:            &corev3.Locality{Region: "here"},
		LoadBalancingWeight: wrapperspb.UInt32(1),
		LbEndpoints: []*endpointv3.LbEndpoint{{HostIdentifier: &endpointv3.LbEndpoint_Endpoint{
			Endpoint: &endpointv3.Endpoint{Address: socketAddress(host, number)},
		}}},
	}}}
	return &envoyconfig.Resources{
		Listeners: []*envoyconfig.Resource{g.pack(greeter, g.apiListener())},
		Clusters:  []*envoyconfig.Resource{g.pack(greeter, cluster)},
		Endpoints: []*envoyconfig.Resource{g.pack(greeter, endpoints)},
	}
}

func (g *greeterWorld) apiListener() *listenerv3.Listener {
	return &listenerv3.Listener{Name: greeter, ApiListener: &listenerv3.ApiListener{ApiListener: g.any(&hcmv3.HttpConnectionManager{
		HttpFilters: []*hcmv3.HttpFilter{{
			Name: "router", ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: g.any(&routerv3.Router{})},
		}},
		RouteSpecifier: &hcmv3.HttpConnectionManager_RouteConfig{RouteConfig: &routev3.RouteConfiguration{
			Name: greeter,
			VirtualHosts: []*routev3.VirtualHost{{Name: greeter, Domains: []string{"*"}, Routes: []*routev3.Route{{
				Match: &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: ""}},
				Action: &routev3.Route_Route{Route: &routev3.RouteAction{
					ClusterSpecifier: &routev3.RouteAction_Cluster{Cluster: greeter},
				}},
			}}}},
		}},
	})}}
}

func (g *greeterWorld) set(s *running) {
	g.t.Helper()
	if err := s.Set(g.resources()); err != nil {
		g.t.Fatal(err)
	}
}

// bootstrapOf points gRPC's xDS client to the server.
func bootstrapOf(s *running) []byte {
	return fmt.Appendf(nil, `{
		"xds_servers": [{"server_uri": %q, "channel_creds": [{"type": "insecure"}], "server_features": ["xds_v3"]}],
		"node": {"id": "grpc"},
		"server_listener_resource_name_template": %q
	}`, "unix:"+s.path, envoyconfig.InboundListener)
}

// backend is a gRPC server that tells one thing: that it is there.
func backend(t *testing.T) (address string) {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	healthpb.RegisterHealthServer(server, health.NewServer())
	done := make(chan error, 1)
	go func() { done <- server.Serve(lis) }()
	t.Cleanup(func() {
		server.Stop()
		<-done
	})
	return lis.Addr().String()
}

// TestGRPCClient lets gRPC's own xDS client follow: it asks for each resource by
// name, uses what it was given to reach a server, rejects what it can't use and
// keeps the older, and comes back when the server was away.
func TestGRPCClient(t *testing.T) {
	s := start(t)
	a, b := backend(t), backend(t)
	w := &greeterWorld{world: newWorld(t), timeout: time.Second, address: a, usable: true}
	w.set(s)
	resolver, err := grpcxds.NewXDSResolverWithConfigForTesting(bootstrapOf(s))
	if err != nil {
		t.Fatal(err)
	}
	conn, err := grpc.NewClient("xds:///"+greeter, grpc.WithResolvers(resolver), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	reached := func() string {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		var from peer.Peer
		if _, err := healthpb.NewHealthClient(conn).Check(ctx, &healthpb.HealthCheckRequest{}, grpc.Peer(&from), grpc.WaitForReady(true)); err != nil {
			t.Fatalf("calling: %v", err)
		}
		return from.Addr.String()
	}
	status := func(k kind) TypeStatus { return statusOf(s, "grpc", k) }

	if got := reached(); got != a {
		t.Fatalf("reached %s, not %s", got, a)
	}
	for _, k := range []kind{clusters, endpoints, listeners} {
		eventually(t, "the ACK is in", func() bool { return status(k).Accepted != "" })
		if got := status(k); got.Names != 1 || got.Wildcard || got.NACKs != 0 {
			t.Errorf("%s: %+v", k, got)
		}
	}

	w.address = b
	w.set(s)
	eventually(t, "the other server is reached", func() bool { return reached() == b })

	// What it can't use it rejects, works on with what it has, and takes the rest.
	accepted := status(clusters).Accepted
	w.usable = false
	w.set(s)
	eventually(t, "the NACK is in", func() bool { return status(clusters).NACKs == 1 })
	got := status(clusters)
	if got.Accepted != accepted || !slices.Equal(got.Rejected, []string{greeter}) || !strings.Contains(got.LastNACK.Message, greeter) {
		t.Errorf("status %+v, NACK %+v", got, got.LastNACK)
	}
	w.address = a
	w.set(s)
	eventually(t, "the first server is reached again", func() bool { return reached() == a })

	w.usable, w.timeout = true, 2*time.Second
	w.set(s)
	eventually(t, "nothing is rejected", func() bool { return len(status(clusters).Rejected) == 0 })

	s.again(t)
	if got := reached(); got != a {
		t.Errorf("without a control plane, reached %s, not %s", got, a)
	}
	w.address = b
	w.set(s)
	eventually(t, "the client is back", func() bool { return status(endpoints).Accepted != "" })
	eventually(t, "the other server is reached", func() bool { return reached() == b })
}

// TestGRPCServer serves a ztunnel's listener to gRPC's server, which asks for one
// listener by name and can't use it.
func TestGRPCServer(t *testing.T) {
	s := start(t)
	r, err := envoyconfig.Build(flatMesh(3, 2, 0), envoyconfig.Options{Node: "node"})
	if err == nil {
		err = s.Set(r)
	}
	if err != nil {
		t.Fatal(err)
	}
	server, err := grpcxds.NewGRPCServer(grpcxds.BootstrapContentsForTesting(bootstrapOf(s)))
	if err != nil {
		t.Fatal(err)
	}
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- server.Serve(lis) }()
	defer func() {
		server.Stop()
		<-done
	}()
	eventually(t, "the listener is rejected", func() bool { return statusOf(s, "grpc", listeners).NACKs == 1 })
	got := statusOf(s, "grpc", listeners)
	if got.Names != 1 || got.Accepted != "" || !slices.Equal(got.Rejected, []string{envoyconfig.InboundListener}) {
		t.Errorf("status %+v", got)
	}
	if s.log.line("proxy rejected configuration", "node=grpc", envoyconfig.InboundListener) == "" {
		t.Error("the rejection is not logged")
	}
	if n := s.metric("pushes_total", "listener"); n != 1 {
		t.Errorf("what was rejected has been sent %v times", n)
	}
}

// statusOf is what the server says of one node and kind.
func statusOf(s *running, node string, k kind) TypeStatus {
	for _, p := range s.Status() {
		for _, t := range p.Types {
			if p.Node == node && t.Type == k.typeURL() {
				return t
			}
		}
	}
	return TypeStatus{}
}
