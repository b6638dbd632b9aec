// SPDX-License-Identifier: Apache-2.0

package envoyconfig

import (
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	httpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

const (
	plainConnectTimeout = 10 * time.Second
	// maxStreams is HTTP/2's practical "no limit" (2^30), as Istio sets it for
	// traffic that only passes through.
	maxStreams = 1 << 30
)

// staticClusters are the same in every mesh.
func (b *builder) staticClusters() []*clusterv3.Cluster {
	passthrough := originalDstCluster(PassthroughCluster)
	passthrough.ConnectTimeout = durationpb.New(plainConnectTimeout)
	passthrough.TypedExtensionProtocolOptions = b.downstreamHTTP()

	passthroughTCP := originalDstCluster(PassthroughTCPCluster)
	passthroughTCP.ConnectTimeout = durationpb.New(plainConnectTimeout)

	return []*clusterv3.Cluster{
		{
			Name:                 BlackHoleCluster,
			ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STATIC},
			ConnectTimeout:       durationpb.New(plainConnectTimeout),
		},
		passthrough,
		passthroughTCP,
		b.virtualInbound(VirtualInboundCluster, nil),
		b.virtualInbound(VirtualInboundHBONECluster, wrapperspb.UInt32(InboundPort)),
	}
}

// virtualInbound connects to the address that the tunnel's client named (listing
// 20), or on a plain connection to the one that was called. A port replaces the
// called one, for pods that take the tunnel themselves.
func (b *builder) virtualInbound(name string, port *wrapperspb.UInt32Value) *clusterv3.Cluster {
	lb := &clusterv3.Cluster_OriginalDstLbConfig{UseHttpHeader: true, UpstreamPortOverride: port}
	if b.options.Dialect == Upstream {
		lb.HttpHeaderName = targetHeader(Upstream) // otherwise the proxy's own default
	}
	c := originalDstCluster(name)
	c.LbConfig = &clusterv3.Cluster_OriginalDstLbConfig_{OriginalDstLbConfig: lb}
	return c
}

// originalDstCluster has no endpoints of its own: it connects where the client
// wanted to go.
func originalDstCluster(name string) *clusterv3.Cluster {
	return &clusterv3.Cluster{
		Name:                 name,
		ClusterDiscoveryType: &clusterv3.Cluster_Type{Type: clusterv3.Cluster_ORIGINAL_DST},
		LbPolicy:             clusterv3.Cluster_CLUSTER_PROVIDED,
	}
}

// downstreamHTTP speaks to the server what the client speaks.
func (b *builder) downstreamHTTP() map[string]*anypb.Any {
	return map[string]*anypb.Any{httpOptionsName: b.any(&httpv3.HttpProtocolOptions{
		UpstreamProtocolOptions: &httpv3.HttpProtocolOptions_UseDownstreamProtocolConfig{
			UseDownstreamProtocolConfig: &httpv3.HttpProtocolOptions_UseDownstreamHttpConfig{
				HttpProtocolOptions:  &corev3.Http1ProtocolOptions{},
				Http2ProtocolOptions: &corev3.Http2ProtocolOptions{MaxConcurrentStreams: wrapperspb.UInt32(maxStreams)},
			},
		},
	})}
}
