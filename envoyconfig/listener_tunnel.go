// SPDX-License-Identifier: Apache-2.0

package envoyconfig

import (
	xdstypev3 "github.com/cncf/xds/go/xds/type/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// setDstAddressType configures the listener filter that reads the metadata
// "tunnel" of the endpoint: its destination becomes the connection's local
// address, its address the one that the tunnel cluster connects to.
const setDstAddressType = "type.googleapis.com/istio.set_internal_dst_address.v1.Config"

// tunnelListener is the internal listener through which one identity's service
// traffic enters its tunnels (listing 12). There is one per identity of the mesh,
// as in 2022, although only those of this node are ever called; the others name a
// tunnel cluster that this node doesn't have.
func (b *builder) tunnelListener(identity string) *listenerv3.Listener {
	name := tunnelListenerPrefix + identity
	return &listenerv3.Listener{
		Name:              name,
		UseOriginalDst:    wrapperspb.Bool(false),
		ListenerSpecifier: &listenerv3.Listener_InternalListener{InternalListener: &listenerv3.Listener_InternalListenerConfig{}},
		ListenerFilters:   b.setDstAddress,
		FilterChains: []*listenerv3.FilterChain{{
			Filters: b.tcpProxy(name, tunnelClusterPrefix+identity, placeTunnel, b.byMetadata),
		}},
	}
}

// setDstAddressFilter carries its configuration as a TypedStruct, because the
// filter's own message is known to Istio's proxy only.
func setDstAddressFilter(p *packer) []*listenerv3.ListenerFilter {
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
