// SPDX-License-Identifier: Apache-2.0

package bootstrap

import (
	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	httpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

const httpProtocolOptions = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"

// controlPlaneLimit lifts Envoy's default of 1,024 requests per cluster: it
// keeps one SDS stream open for every certificate, and a stream that the limit
// held back would leave a pod without its identity, with no error to be seen.
const controlPlaneLimit = 100_000

// staticResources are the two ways to the node controller. One socket serves
// both; they are two clusters because the served configuration names sds-grpc,
// and because a lost certificate stream should not take ADS down with it.
func staticResources(o Options) (*bootstrapv3.Bootstrap_StaticResources, error) {
	var out bootstrapv3.Bootstrap_StaticResources
	for _, name := range []string{XDSCluster, SDSCluster} {
		c, err := socketCluster(name, o.XDSSocket)
		if err != nil {
			return nil, err
		}
		out.Clusters = append(out.Clusters, c)
	}
	return &out, nil
}

// socketCluster is HTTP/2 over a Unix socket, as gRPC wants it.
func socketCluster(name, path string) (*clusterv3.Cluster, error) {
	options, err := packed(&httpv3.HttpProtocolOptions{
		UpstreamProtocolOptions: &httpv3.HttpProtocolOptions_ExplicitHttpConfig_{
			ExplicitHttpConfig: &httpv3.HttpProtocolOptions_ExplicitHttpConfig{
				ProtocolConfig: &httpv3.HttpProtocolOptions_ExplicitHttpConfig_Http2ProtocolOptions{
					Http2ProtocolOptions: &corev3.Http2ProtocolOptions{},
				},
			},
		},
	})
	if err != nil {
		return nil, err
	}
	return &clusterv3.Cluster{
		Name:                          name,
		ClusterDiscoveryType:          &clusterv3.Cluster_Type{Type: clusterv3.Cluster_STATIC},
		ConnectTimeout:                connectTimeout(),
		LoadAssignment:                socketEndpoint(name, path),
		CircuitBreakers:               noLimits(),
		TypedExtensionProtocolOptions: map[string]*anypb.Any{httpProtocolOptions: options},
	}, nil
}

func socketEndpoint(cluster, path string) *endpointv3.ClusterLoadAssignment {
	return &endpointv3.ClusterLoadAssignment{
		ClusterName: cluster,
		Endpoints: []*endpointv3.LocalityLbEndpoints{{
			LbEndpoints: []*endpointv3.LbEndpoint{{
				HostIdentifier: &endpointv3.LbEndpoint_Endpoint{Endpoint: &endpointv3.Endpoint{
					Address: &corev3.Address{Address: &corev3.Address_Pipe{Pipe: &corev3.Pipe{Path: path}}},
				}},
			}},
		}},
	}
}

func noLimits() *clusterv3.CircuitBreakers {
	return &clusterv3.CircuitBreakers{Thresholds: []*clusterv3.CircuitBreakers_Thresholds{{
		MaxConnections:     wrapperspb.UInt32(controlPlaneLimit),
		MaxPendingRequests: wrapperspb.UInt32(controlPlaneLimit),
		MaxRequests:        wrapperspb.UInt32(controlPlaneLimit),
	}}}
}
