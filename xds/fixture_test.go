// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	tcpproxyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/ambient22/ambient22/envoyconfig"
)

const (
	sleepID  = "spiffe://cluster.local/ns/default/sa/sleep"
	podName  = sleepID + "~sleep-5644bdc767-2dfg7~85c8c34e-7ae3-4d29-9582-0819e2b10c69"
	otherID  = "spiffe://cluster.local/ns/default/sa/bookinfo-productpage"
	proxyID  = "ztunnel~10.4.4.18~ztunnel-rts54.istio-system~istio-system.svc.cluster.local"
	patience = 20 * time.Second // how long a test waits for what must come
)

// world is a small configuration that tests change and serve.
type world struct {
	t         testing.TB
	clusters  map[string]time.Duration // name → connect timeout; each has endpoints
	addresses map[string]string        // cluster → address
	listeners map[string]string        // name → cluster
	internal  map[string]string        // the same, internal
	extension string                   // content of the one extension, "" for none
	secrets   []envoyconfig.SecretName
}

func newWorld(t testing.TB) *world {
	return &world{
		t:         t,
		clusters:  map[string]time.Duration{"alpha": time.Second, "beta": time.Second},
		addresses: map[string]string{"alpha": "10.4.3.20", "beta": "10.4.3.21"},
		listeners: map[string]string{"ztunnel_inbound": "alpha", "ztunnel_outbound": "beta"},
		internal:  map[string]string{},
		extension: "first",
		secrets:   []envoyconfig.SecretName{{Name: podName, Identity: sleepID}},
	}
}

func (w *world) addCluster(name string) {
	w.clusters[name], w.addresses[name] = time.Second, "10.4.3.99"
}

func (w *world) removeCluster(name string) {
	delete(w.clusters, name)
	delete(w.addresses, name)
}

// resources builds what is served.
func (w *world) resources() *envoyconfig.Resources {
	r := &envoyconfig.Resources{Secrets: slices.Clone(w.secrets)}
	for name, timeout := range w.clusters {
		r.Clusters = append(r.Clusters, w.pack(name, &clusterv3.Cluster{
			Name:                 name,
			ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_EDS},
			ConnectTimeout:       durationpb.New(timeout),
			EdsClusterConfig: &clusterv3.Cluster_EdsClusterConfig{EdsConfig: &corev3.ConfigSource{
				ConfigSourceSpecifier: &corev3.ConfigSource_Ads{Ads: &corev3.AggregatedConfigSource{}},
			}},
		}))
		r.Endpoints = append(r.Endpoints, w.pack(name, assignment(name, w.addresses[name])))
	}
	for name, cluster := range w.listeners {
		r.Listeners = append(r.Listeners, w.pack(name, w.listener(name, cluster)))
	}
	for name, cluster := range w.internal {
		l := w.listener(name, cluster)
		l.Address = nil
		l.ListenerSpecifier = &listenerv3.Listener_InternalListener{InternalListener: &listenerv3.Listener_InternalListenerConfig{}}
		r.Listeners = append(r.Listeners, w.pack(name, l))
	}
	if w.extension != "" {
		r.Extensions = append(r.Extensions, w.pack("workload_metadata", &corev3.TypedExtensionConfig{
			Name: "workload_metadata", TypedConfig: w.any(wrapperspb.String(w.extension)),
		}))
	}
	for _, list := range [][]*envoyconfig.Resource{r.Clusters, r.Endpoints, r.Listeners} {
		slices.SortFunc(list, func(a, b *envoyconfig.Resource) int { return strings.Compare(a.Name, b.Name) })
	}
	return r
}

func (w *world) listener(name, cluster string) *listenerv3.Listener {
	return &listenerv3.Listener{
		Name:    name,
		Address: socketAddress("0.0.0.0", 15001),
		FilterChains: []*listenerv3.FilterChain{{Name: "only", Filters: []*listenerv3.Filter{{
			Name: "envoy.filters.network.tcp_proxy",
			ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: w.any(&tcpproxyv3.TcpProxy{
				StatPrefix:       name,
				ClusterSpecifier: &tcpproxyv3.TcpProxy_Cluster{Cluster: cluster},
			})},
		}}}},
	}
}

func assignment(cluster, address string) *endpointv3.ClusterLoadAssignment {
	return &endpointv3.ClusterLoadAssignment{
		ClusterName: cluster,
		Endpoints: []*endpointv3.LocalityLbEndpoints{{LbEndpoints: []*endpointv3.LbEndpoint{{
			HostIdentifier: &endpointv3.LbEndpoint_Endpoint{Endpoint: &endpointv3.Endpoint{Address: socketAddress(address, 9080)}},
		}}}},
	}
}

func socketAddress(address string, port uint32) *corev3.Address {
	return &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
		Address: address, PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: port},
	}}}
}

func (w *world) any(m proto.Message) *anypb.Any {
	w.t.Helper()
	a := &anypb.Any{}
	if err := anypb.MarshalFrom(a, m, proto.MarshalOptions{Deterministic: true}); err != nil {
		w.t.Fatal(err)
	}
	return a
}

func (w *world) pack(name string, m proto.Message) *envoyconfig.Resource {
	body := w.any(m)
	return &envoyconfig.Resource{Name: name, Version: packedVersion(body.Value), Type: body.TypeUrl, Wire: envoyconfig.Wire{body.Value}}
}

// packedVersion is the version of a wire form.
func packedVersion(value []byte) string {
	digest := sha256.Sum256(value)
	return hex.EncodeToString(digest[:8])
}

// set serves the world as it is now.
func (w *world) set(s *Server) {
	w.t.Helper()
	if err := s.Set(w.resources()); err != nil {
		w.t.Fatal(err)
	}
}

// many is a world of that many clusters, each with a listener.
func many(t testing.TB, n int) *world {
	w := newWorld(t)
	for i := range n {
		name := fmt.Sprintf("cluster-%06d", i)
		w.addCluster(name)
		w.listeners["listener-"+name] = name
	}
	return w
}
