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
	tunnelConnectTimeout  = 2 * time.Second
	tunnelCleanupInterval = 60 * time.Second // an address unused for so long is forgotten

	httpOptionsName = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
)

// tunnelClusters are the three ways one identity of this node opens tunnels.
// They differ in where the address comes from: from the metadata of a service's
// endpoint; from the address the client called, at port 15008; and the same at
// 15088 for a pod of this node, where 15008 would be captured before it left.
func (b *builder) tunnelClusters(c *caller) []*clusterv3.Cluster {
	tls := b.tunnelClientTLS(c.secret, b.meshPeers)
	return []*clusterv3.Cluster{
		b.tunnelCluster(tunnelClusterPrefix+c.identity, tls, b.byEndpoint()),
		b.tunnelCluster(podTunnelClusterPrefix+c.identity, tls, &clusterv3.Cluster_OriginalDstLbConfig{
			UpstreamPortOverride: wrapperspb.UInt32(InboundPort),
		}),
		b.tunnelCluster(podLocalTunnelClusterPrefix+c.identity, tls, &clusterv3.Cluster_OriginalDstLbConfig{
			UseHttpHeader:        true,
			UpstreamPortOverride: wrapperspb.UInt32(InboundLocalPort),
		}),
	}
}

// byEndpoint takes the whole address from the endpoint's metadata, or in the
// upstream dialect all of it but the port.
func (b *builder) byEndpoint() *clusterv3.Cluster_OriginalDstLbConfig {
	if b.options.Dialect == Upstream {
		return &clusterv3.Cluster_OriginalDstLbConfig{UpstreamPortOverride: wrapperspb.UInt32(InboundPort)}
	}
	return &clusterv3.Cluster_OriginalDstLbConfig{}
}

// tunnelCluster connects by mutual TLS and HTTP/2 CONNECT (listing 13).
func (b *builder) tunnelCluster(name string, tls *corev3.TransportSocket, lb *clusterv3.Cluster_OriginalDstLbConfig) *clusterv3.Cluster {
	c := originalDstCluster(name)
	c.ConnectTimeout = durationpb.New(tunnelConnectTimeout)
	c.CleanupInterval = durationpb.New(tunnelCleanupInterval)
	c.LbConfig = &clusterv3.Cluster_OriginalDstLbConfig_{OriginalDstLbConfig: lb}
	c.TransportSocket = tls
	c.TypedExtensionProtocolOptions = b.tunnelHTTP
	return c
}

// tunnelHTTP is HTTP/2 with CONNECT.
func tunnelHTTP(p *packer) map[string]*anypb.Any {
	return map[string]*anypb.Any{httpOptionsName: p.any(&httpv3.HttpProtocolOptions{
		UpstreamProtocolOptions: &httpv3.HttpProtocolOptions_ExplicitHttpConfig_{
			ExplicitHttpConfig: &httpv3.HttpProtocolOptions_ExplicitHttpConfig{
				ProtocolConfig: &httpv3.HttpProtocolOptions_ExplicitHttpConfig_Http2ProtocolOptions{
					Http2ProtocolOptions: &corev3.Http2ProtocolOptions{AllowConnect: true},
				},
			},
		},
	})}
}
