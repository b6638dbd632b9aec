// SPDX-License-Identifier: Apache-2.0

package envoyconfig

import (
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	internalupstreamv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/internal_upstream/v3"
	rawbufferv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/raw_buffer/v3"
	metadatav3 "github.com/envoyproxy/go-control-plane/envoy/type/metadata/v3"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
)

// serviceCluster balances over the endpoints of one service port (listing 10).
// Everything but the name is the same for all of them.
func (b *builder) serviceCluster(name string) *clusterv3.Cluster {
	return &clusterv3.Cluster{
		Name:                   name,
		ClusterDiscoveryType:   &clusterv3.Cluster_Type{Type: clusterv3.Cluster_EDS},
		EdsClusterConfig:       b.edsConfig,
		TransportSocketMatches: b.socketMatches,
	}
}

func edsConfig() *clusterv3.Cluster_EdsClusterConfig {
	return &clusterv3.Cluster_EdsClusterConfig{EdsConfig: &corev3.ConfigSource{
		ConfigSourceSpecifier: &corev3.ConfigSource_Ads{Ads: &corev3.AggregatedConfigSource{}},
		InitialFetchTimeout:   &durationpb.Duration{}, // wait for the endpoints as long as it takes
		ResourceApiVersion:    corev3.ApiVersion_V3,
	}}
}

// socketMatches choose how to reach an endpoint by its metadata: endpoints in the
// mesh through the internal listener, which needs to know what the endpoint says
// about its tunnel; all others plainly.
func socketMatches(p *packer, d Dialect) []*clusterv3.Cluster_TransportSocketMatch {
	raw := &corev3.TransportSocket{
		Name:       "envoy.transport_sockets.raw_buffer",
		ConfigType: &corev3.TransportSocket_TypedConfig{TypedConfig: p.any(&rawbufferv3.RawBuffer{})},
	}
	internal := &internalupstreamv3.InternalUpstreamTransport{
		PassthroughMetadata: passedOn(d),
		TransportSocket:     raw,
	}
	return []*clusterv3.Cluster_TransportSocketMatch{
		{
			Name:  "internal_upstream",
			Match: &structpb.Struct{Fields: map[string]*structpb.Value{tunnelMetadata: structpb.NewStringValue("h2")}},
			TransportSocket: &corev3.TransportSocket{
				Name:       "envoy.transport_sockets.internal_upstream",
				ConfigType: &corev3.TransportSocket_TypedConfig{TypedConfig: p.any(internal)},
			},
		},
		{Name: "tlsMode-disabled", Match: &structpb.Struct{}, TransportSocket: raw},
	}
}

// passedOn is what the internal listener's filter needs to know of the endpoint.
func passedOn(d Dialect) []*internalupstreamv3.InternalUpstreamTransport_MetadataValueSource {
	if d == Upstream {
		return []*internalupstreamv3.InternalUpstreamTransport_MetadataValueSource{fromHost(originalDstFilter)}
	}
	return []*internalupstreamv3.InternalUpstreamTransport_MetadataValueSource{fromHost(tunnelMetadata), fromHost("istio")}
}

// fromHost passes one namespace of the chosen endpoint's metadata on.
func fromHost(name string) *internalupstreamv3.InternalUpstreamTransport_MetadataValueSource {
	return &internalupstreamv3.InternalUpstreamTransport_MetadataValueSource{
		Kind: &metadatav3.MetadataKind{Kind: &metadatav3.MetadataKind_Host_{Host: &metadatav3.MetadataKind_Host{}}},
		Name: name,
	}
}
