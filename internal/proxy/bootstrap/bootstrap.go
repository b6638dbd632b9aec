// SPDX-License-Identifier: Apache-2.0

package bootstrap

import (
	"fmt"
	"time"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	internallistenerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/bootstrap/internal_listener/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/structpb"
)

// Build makes the bootstrap of one ztunnel. It fails where the options are not
// valid, or where the finished message does not pass its own rules.
func Build(o Options) (*bootstrapv3.Bootstrap, error) {
	if err := o.Validate(); err != nil {
		return nil, err
	}
	extension, err := packed(&internallistenerv3.InternalListener{})
	if err != nil {
		return nil, err
	}
	static, err := staticResources(o)
	if err != nil {
		return nil, err
	}
	b := &bootstrapv3.Bootstrap{
		Node:             node(o),
		StaticResources:  static,
		DynamicResources: dynamicResources(o),
		Admin:            &bootstrapv3.Admin{Address: adminAddress(o)},
		BootstrapExtensions: []*corev3.TypedExtensionConfig{
			{Name: InternalListenerExtension, TypedConfig: extension},
		},
	}
	if err := b.ValidateAll(); err != nil {
		return nil, fmt.Errorf("validating the bootstrap: %w", err)
	}
	return b, nil
}

func node(o Options) *corev3.Node {
	text := structpb.NewStringValue
	return &corev3.Node{
		Id:      o.NodeID(),
		Cluster: o.ServiceCluster,
		Metadata: &structpb.Struct{Fields: map[string]*structpb.Value{
			"AMBIENT_TYPE": text(AmbientType),
			"CLUSTER_ID":   text(o.ClusterID),
			"GENERATOR":    text(Generator),
			"INSTANCE_IPS": text(o.PodIP.String()),
			"NAME":         text(o.PodName),
			"NAMESPACE":    text(o.PodNamespace),
			"NODE_NAME":    text(o.NodeName),
		}},
	}
}

// dynamicResources has listeners and clusters come over one ADS stream, so that
// the server decides the order in which they change. A zero fetch timeout makes
// the proxy wait for its first configuration however long that takes: one that
// gave up would call itself ready with nothing to serve.
func dynamicResources(o Options) *bootstrapv3.Bootstrap_DynamicResources {
	overADS := func() *corev3.ConfigSource {
		return &corev3.ConfigSource{
			ConfigSourceSpecifier: &corev3.ConfigSource_Ads{Ads: &corev3.AggregatedConfigSource{}},
			InitialFetchTimeout:   durationpb.New(0),
			ResourceApiVersion:    corev3.ApiVersion_V3,
		}
	}
	kind := corev3.ApiConfigSource_GRPC
	if o.Delta {
		kind = corev3.ApiConfigSource_DELTA_GRPC
	}
	return &bootstrapv3.Bootstrap_DynamicResources{
		LdsConfig: overADS(),
		CdsConfig: overADS(),
		AdsConfig: &corev3.ApiConfigSource{
			ApiType:                   kind,
			TransportApiVersion:       corev3.ApiVersion_V3,
			SetNodeOnFirstMessageOnly: true,
			GrpcServices: []*corev3.GrpcService{{
				TargetSpecifier: &corev3.GrpcService_EnvoyGrpc_{
					EnvoyGrpc: &corev3.GrpcService_EnvoyGrpc{ClusterName: XDSCluster},
				},
			}},
		},
	}
}

func adminAddress(o Options) *corev3.Address {
	return &corev3.Address{Address: &corev3.Address_SocketAddress{
		SocketAddress: &corev3.SocketAddress{
			Address:       o.AdminAddr.Addr().String(),
			PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: uint32(o.AdminAddr.Port())},
		},
	}}
}

// connectTimeout is long enough for a Unix socket whose server is starting, and
// short enough that Envoy's own retries decide how soon the stream is back.
func connectTimeout() *durationpb.Duration { return durationpb.New(time.Second) }

func packed(m proto.Message) (*anypb.Any, error) {
	a, err := anypb.New(m)
	if err != nil {
		return nil, fmt.Errorf("packing %s: %w", m.ProtoReflect().Descriptor().FullName(), err)
	}
	return a, nil
}
