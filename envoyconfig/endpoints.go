// SPDX-License-Identifier: Apache-2.0

package envoyconfig

import (
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// tunnelMetadata is the metadata namespace in which an endpoint says where its
// tunnel goes, and the key under which it says that it has one.
const tunnelMetadata = "tunnel"

// transportSocketMatch is the metadata namespace by which a cluster chooses among
// its transport sockets.
const transportSocketMatch = "envoy.transport_socket_match"

// target is one endpoint of a service port, without what depends on the caller:
// callers see the same endpoint through listeners of their own.
type target struct {
	id       string                 // address and port
	listener string                 // prefix of the internal listener that leads to it
	metadata *corev3.Metadata       // of an endpoint behind a tunnel
	plain    *endpointv3.LbEndpoint // of any other
}

// targets describes the endpoints of a port once for all callers.
func (b *builder) targets(reached []reach) []target {
	out := make([]target, 0, len(reached))
	for _, r := range reached {
		ip := r.ip.String()
		t := target{id: hostPort(ip, r.port)}
		if r.tunnel == noTunnel {
			t.plain = plainEndpoint(ip, r.port)
		} else {
			t.listener = b.tunnelListenerPrefix(r.tunnel)
			t.metadata = b.throughTunnel(hostPort(ip, uint16(r.tunnel)), t.id)
		}
		out = append(out, t)
	}
	return out
}

// endpoints are what one caller's cluster balances over (listing 11). An
// assignment without endpoints is served too, because a cluster that waits for
// its endpoints holds back everything behind it.
func (b *builder) endpoints(cluster, identity string, targets []target) *endpointv3.ClusterLoadAssignment {
	assignment := &endpointv3.ClusterLoadAssignment{ClusterName: cluster}
	if len(targets) == 0 {
		return assignment
	}
	lb := make([]*endpointv3.LbEndpoint, 0, len(targets))
	for _, t := range targets {
		if t.plain != nil {
			lb = append(lb, t.plain)
			continue
		}
		lb = append(lb, tunnelEndpoint(t.listener+identity, t.id, t.metadata))
	}
	assignment.Endpoints = []*endpointv3.LocalityLbEndpoints{{LbEndpoints: lb}}
	return assignment
}

func internalAddress(listener, id string) *corev3.Address {
	return &corev3.Address{Address: &corev3.Address_EnvoyInternalAddress{EnvoyInternalAddress: &corev3.EnvoyInternalAddress{
		AddressNameSpecifier: &corev3.EnvoyInternalAddress_ServerListenerName{ServerListenerName: listener},
		EndpointId:           id,
	}}}
}

// tunnelEndpoint is an endpoint behind a tunnel that an internal listener opens.
func tunnelEndpoint(listener, id string, metadata *corev3.Metadata) *endpointv3.LbEndpoint {
	return &endpointv3.LbEndpoint{HostIdentifier: at(internalAddress(listener, id)), Metadata: metadata}
}

// plainEndpoint is an endpoint that is reached as it is.
func plainEndpoint(ip string, port uint16) *endpointv3.LbEndpoint {
	return &endpointv3.LbEndpoint{
		HostIdentifier:      at(socketAddress(ip, uint32(port))),
		LoadBalancingWeight: wrapperspb.UInt32(1),
	}
}

func at(a *corev3.Address) *endpointv3.LbEndpoint_Endpoint {
	return &endpointv3.LbEndpoint_Endpoint{Endpoint: &endpointv3.Endpoint{Address: a}}
}

// throughTunnel is the metadata that selects the internal transport socket and
// tells it where the tunnel is and what it leads to.
// The upstream dialect has no place for the first of these: the tunnel's cluster
// knows the port.
func (b *builder) throughTunnel(address, destination string) *corev3.Metadata {
	if b.options.Dialect == Upstream {
		return &corev3.Metadata{FilterMetadata: map[string]*structpb.Struct{
			transportSocketMatch: texts(tunnelMetadata, "h2"),
			originalDstFilter:    texts("local", destination),
		}}
	}
	return &corev3.Metadata{FilterMetadata: map[string]*structpb.Struct{
		transportSocketMatch: texts(tunnelMetadata, "h2"),
		tunnelMetadata:       texts("address", address, "destination", destination),
	}}
}

// tunnelListenerPrefix is the kind of internal listener whose tunnels end at this
// port. Only the upstream dialect has two kinds.
func (b *builder) tunnelListenerPrefix(port tunnelPort) string {
	if b.options.Dialect == Upstream && port == InboundLocalPort {
		return localTunnelListenerPrefix
	}
	return tunnelListenerPrefix
}

// texts is a struct of strings, given as keys and values in turn.
func texts(pairs ...string) *structpb.Struct {
	fields := make(map[string]*structpb.Value, len(pairs)/2)
	for i := 0; i < len(pairs); i += 2 {
		fields[pairs[i]] = structpb.NewStringValue(pairs[i+1])
	}
	return &structpb.Struct{Fields: fields}
}
