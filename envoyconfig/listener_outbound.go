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

// callerChains are all chains of one caller.
func (b *builder) callerChains(c *caller) []*listenerv3.FilterChain {
	chains := b.serviceChains(c)
	chains = append(chains, b.podChains(c)...)
	return append(chains, b.waypointChains(c)...)
}

// serviceChains lead one caller to every service that has an address to call and
// no waypoint on the way.
func (b *builder) serviceChains(c *caller) []*listenerv3.FilterChain {
	var chains []*listenerv3.FilterChain
	for _, s := range b.view.virtual {
		if c.hop(s.waypoint, hopService).kind != hopService {
			continue
		}
		for i := range s.Ports {
			chains = append(chains, b.serviceChain(serviceName(c.identity, s.Service, &s.Ports[i])))
		}
	}
	return chains
}

// podChains lead one caller to every pod that is called by its own address, with
// no waypoint on the way.
func (b *builder) podChains(c *caller) []*listenerv3.FilterChain {
	var chains []*listenerv3.FilterChain
	for _, d := range b.view.destinations {
		h := c.hop(d.waypoint, d.direct)
		if h.waypoint != "" {
			continue
		}
		cluster, tunnel := h.kind.podCluster(c.identity)
		chains = append(chains, b.podChain(podChainName(c.identity, d.ip), cluster, tunnel))
	}
	return chains
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
