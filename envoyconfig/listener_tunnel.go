// SPDX-License-Identifier: Apache-2.0

package envoyconfig

import (
	xdstypev3 "github.com/cncf/xds/go/xds/type/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	originaldstv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/listener/original_dst/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// setDstAddressType configures the listener filter that reads the metadata
// "tunnel" of the endpoint: its destination becomes the connection's local
// address, its address the one that the tunnel cluster connects to.
const setDstAddressType = "type.googleapis.com/istio.set_internal_dst_address.v1.Config"

// tunnelListeners are the internal listeners through which one identity's service
// traffic enters its tunnels. They exist for every identity of the mesh, as in
// 2022, although only those of this node are ever called; the others name a tunnel
// cluster that this node doesn't have.
func (b *builder) tunnelListeners(identity string) []*listenerv3.Listener {
	listeners := []*listenerv3.Listener{b.tunnelListener(tunnelListenerPrefix+identity, tunnelClusterPrefix+identity)}
	if b.options.Dialect == Upstream {
		// There the port comes from the cluster, not from the endpoint, so pods of
		// this node take another way.
		local := b.tunnelListener(localTunnelListenerPrefix+identity, podLocalTunnelClusterPrefix+identity)
		listeners = append(listeners, local)
	}
	return listeners
}

// tunnelListener puts each connection into a tunnel of one cluster (listing 12).
func (b *builder) tunnelListener(name, cluster string) *listenerv3.Listener {
	return &listenerv3.Listener{
		Name:              name,
		UseOriginalDst:    wrapperspb.Bool(false),
		ListenerSpecifier: &listenerv3.Listener_InternalListener{InternalListener: &listenerv3.Listener_InternalListenerConfig{}},
		ListenerFilters:   b.fromMetadata,
		FilterChains: []*listenerv3.FilterChain{{
			Filters: b.tcpProxy(name, cluster, placeTunnel, b.byMetadata),
		}},
	}
}

// addressFromMetadata is the listener filter that gives a connection the address
// in the endpoint's metadata. Istio's carries its configuration as a TypedStruct,
// because the filter's own message is known to Istio's proxy only.
func addressFromMetadata(p *packer, d Dialect) []*listenerv3.ListenerFilter {
	if d == Upstream {
		return []*listenerv3.ListenerFilter{listenerFilter(p, originalDstFilter, &originaldstv3.OriginalDst{})}
	}
	return []*listenerv3.ListenerFilter{listenerFilter(p, "set_dst_address", &xdstypev3.TypedStruct{
		TypeUrl: setDstAddressType,
		Value:   &structpb.Struct{},
	})}
}

func listenerFilter(p *packer, name string, config proto.Message) *listenerv3.ListenerFilter {
	return &listenerv3.ListenerFilter{
		Name:       name,
		ConfigType: &listenerv3.ListenerFilter_TypedConfig{TypedConfig: p.any(config)},
	}
}
