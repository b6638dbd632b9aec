// SPDX-License-Identifier: Apache-2.0

package envoyconfig

import (
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
)

// The chains of ztunnel_outbound, each by itself.

// passthroughChain sends a connection on as if there were no mesh.
func (b *builder) passthroughChain() *listenerv3.FilterChain {
	return &listenerv3.FilterChain{
		Name:    PassthroughChain,
		Filters: b.tcpProxy(PassthroughCluster, PassthroughCluster, placePassthrough, nil),
	}
}

// blackHoleChain drops what was sent to port 15001 itself: passing it on would
// send it straight back to this listener.
func (b *builder) blackHoleChain() *listenerv3.FilterChain {
	return &listenerv3.FilterChain{
		Name:    BlackHoleChain,
		Filters: b.tcpProxy(BlackHoleCluster, BlackHoleCluster, placeBlackHoleOutbound, nil),
	}
}

// serviceChain leads to the cluster of the same name, a service's port.
func (b *builder) serviceChain(name string) *listenerv3.FilterChain {
	return &listenerv3.FilterChain{Name: name, Filters: b.tcpProxy(name, name, placeService, nil)}
}

// podChain leads to the address that was called, through a tunnel or plainly.
func (b *builder) podChain(name, cluster string, tunnel bool) *listenerv3.FilterChain {
	chain := &listenerv3.FilterChain{Name: name}
	if tunnel {
		chain.Filters = b.tcpProxy(name, cluster, placePod, b.byAddress)
	} else {
		chain.Filters = b.tcpProxy(name, cluster, placePod, nil)
	}
	return chain
}

// waypointChain leads to the cluster of the same name, a waypoint, through a
// tunnel for the address that was called.
func (b *builder) waypointChain(name string, kind hopKind) *listenerv3.FilterChain {
	place := placeServerWaypoint
	if kind == hopClientWaypoint {
		place = placeClientWaypoint
	}
	return &listenerv3.FilterChain{Name: name, Filters: b.tcpProxy(name, name, place, b.toWaypoint)}
}
