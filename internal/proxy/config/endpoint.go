// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"net/netip"

	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"
)

// socketMatchMetadata is the metadata that transport_socket_matches looks at.
const socketMatchMetadata = "envoy.transport_socket_match"

// Host is one endpoint of a cluster.
type Host struct {
	Addr       netip.AddrPort // zero: an internal address
	Listener   string         // internal: the listener that takes the connection
	EndpointID string
	Metadata   map[string]*structpb.Struct // read-only
}

// String is the address as Envoy writes it in logs.
func (h *Host) String() string {
	if h.Addr.IsValid() {
		return h.Addr.String()
	}
	return "envoy://" + h.Listener + "/" + h.EndpointID
}

// Endpoints decodes the endpoints of an EDS cluster.
func (d *Decoder) Endpoints(body *anypb.Any) (name string, h []Host, err error) {
	var m endpointv3.ClusterLoadAssignment
	if err := d.unpack(body, &m); err != nil {
		return "", nil, err
	}
	h, err = hosts(&m)
	return m.GetClusterName(), h, err
}

// hosts decodes an assignment. Its hosts take turns, so their weights must be
// the same; one without a weight has that of 1.
func hosts(m *endpointv3.ClusterLoadAssignment) ([]Host, error) {
	var out []Host
	var weight uint32
	for i, locality := range m.GetEndpoints() {
		for j, lb := range locality.GetLbEndpoints() {
			h, err := host(lb)
			if err != nil {
				return nil, in(err, "endpoints[%d].lb_endpoints[%d]", i, j)
			}
			w := uint32(1)
			if lb.GetLoadBalancingWeight() != nil {
				w = lb.GetLoadBalancingWeight().GetValue()
			}
			if len(out) > 0 && w != weight {
				return nil, fmt.Errorf("endpoints[%d].lb_endpoints[%d].load_balancing_weight: %d beside %d is not supported, only equal weights", i, j, w, weight)
			}
			weight = w
			out = append(out, h)
		}
	}
	return out, nil
}

func host(m *endpointv3.LbEndpoint) (Host, error) {
	h := Host{Metadata: m.GetMetadata().GetFilterMetadata()}
	addr := m.GetEndpoint().GetAddress()
	if in := addr.GetEnvoyInternalAddress(); in != nil {
		h.Listener, h.EndpointID = in.GetServerListenerName(), in.GetEndpointId()
		if h.Listener == "" {
			return h, fmt.Errorf("endpoint.address.envoy_internal_address.server_listener_name: is missing")
		}
		return h, nil
	}
	if addr.GetSocketAddress() == nil {
		return h, fmt.Errorf("endpoint.address: only socket_address and envoy_internal_address are supported")
	}
	var err error
	if h.Addr, err = socketAddress(addr.GetSocketAddress()); err != nil {
		return h, in(err, "endpoint.address.socket_address")
	}
	return h, nil
}
