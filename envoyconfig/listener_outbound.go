// SPDX-License-Identifier: Apache-2.0

package envoyconfig

import (
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
)

// outboundListener takes what the pods of this node send (listing 09). Its
// matcher chooses a chain by who sends and where to; what it does not know passes
// through unchanged. chains are those of all callers, sources who they are.
func (b *builder) outboundListener(chains []*listenerv3.FilterChain, sources onMatches) *listenerv3.Listener {
	l := b.captureListener(OutboundListener, OutboundPort, outboundAnswerMark, "outbound", placeOutbound)
	if b.options.Dialect == Istio116 {
		l.ListenerFilters = append(l.ListenerFilters, metadataFilter())
	}
	passthrough := b.passthroughChain()
	l.FilterChains = append(l.FilterChains, passthrough, b.blackHoleChain())
	l.FilterChains = append(l.FilterChains, chains...)
	l.DefaultFilterChain = passthrough
	l.FilterChainMatcher = b.outboundMatcher(sources)
	return l
}

// chainsTo lead one caller to some goals, as far as no waypoint is on the way.
func (b *builder) chainsTo(c *caller, goals []goal) []*listenerv3.FilterChain {
	var chains []*listenerv3.FilterChain
	for _, g := range goals {
		if g.service != nil {
			chains = append(chains, b.serviceChains(c, g.service)...)
		} else {
			chains = append(chains, b.podChains(c, g.pod)...)
		}
	}
	return chains
}

// serviceChains lead one caller to every port of a service.
func (b *builder) serviceChains(c *caller, s *virtual) []*listenerv3.FilterChain {
	if c.hop(s.waypoint, hopService).kind != hopService {
		return nil
	}
	var chains []*listenerv3.FilterChain
	for i := range s.Ports {
		chains = append(chains, b.serviceChain(serviceName(c.identity, s.Service, &s.Ports[i])))
	}
	return chains
}

// podChains lead one caller to a pod that is called by its own address.
func (b *builder) podChains(c *caller, d destination) []*listenerv3.FilterChain {
	h := c.hop(d.waypoint, d.direct)
	if h.waypoint != "" {
		return nil
	}
	cluster, tunnel := h.kind.podCluster(c.identity)
	return []*listenerv3.FilterChain{b.podChain(podChainName(c.identity, d.ip), cluster, tunnel)}
}

// waypointChains lead one caller to the waypoints that stand in front of
// destinations, and to its own where anything is left that has none.
func (b *builder) waypointChains(c *caller) []*listenerv3.FilterChain {
	var chains []*listenerv3.FilterChain
	if c.waypoint && b.view.direct {
		chains = append(chains, b.waypointChain(clientWaypointName(c.identity), hopClientWaypoint))
	}
	for _, destination := range b.view.crossed {
		chains = append(chains, b.waypointChain(serverWaypointName(c.identity, destination), hopServerWaypoint))
	}
	return chains
}
