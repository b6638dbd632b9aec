// SPDX-License-Identifier: Apache-2.0

package envoyconfig

import (
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
)

// outboundListener takes what the pods of this node send (listing 09). Its
// matcher chooses a chain by who sends and where to; what it does not know passes
// through unchanged.
func (b *builder) outboundListener() *listenerv3.Listener {
	l := b.captureListener(OutboundListener, OutboundPort, outboundAnswerMark, "outbound", placeOutbound)
	l.ListenerFilters = append(l.ListenerFilters, metadataFilter())
	passthrough := b.passthroughChain()
	l.FilterChains = append(l.FilterChains, passthrough, b.blackHoleChain())
	for _, c := range b.view.callers {
		l.FilterChains = append(l.FilterChains, b.serviceChains(c)...)
		l.FilterChains = append(l.FilterChains, b.podChains(c)...)
	}
	l.DefaultFilterChain = passthrough
	l.FilterChainMatcher = b.outboundMatcher()
	return l
}

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

// serviceChains lead one caller to every service that has an address to call.
func (b *builder) serviceChains(c caller) []*listenerv3.FilterChain {
	var chains []*listenerv3.FilterChain
	for _, s := range b.view.virtual {
		for i := range s.Ports {
			name := serviceName(c.identity, s, &s.Ports[i])
			chains = append(chains, &listenerv3.FilterChain{
				Name:    name,
				Filters: b.tcpProxy(name, name, placeService, nil),
			})
		}
	}
	return chains
}

// podChains lead one caller to every pod that is called by its own address.
func (b *builder) podChains(c caller) []*listenerv3.FilterChain {
	chains := make([]*listenerv3.FilterChain, 0, len(b.view.destinations))
	for _, d := range b.view.destinations {
		name := podChainName(c.identity, d.ip)
		chain := &listenerv3.FilterChain{Name: name}
		switch d.way {
		case wayTunnel:
			chain.Filters = b.tcpProxy(name, podTunnelClusterPrefix+c.identity, placePod, b.byAddress)
		case wayLocalTunnel:
			chain.Filters = b.tcpProxy(name, podLocalTunnelClusterPrefix+c.identity, placePod, b.byAddress)
		case wayPlain:
			chain.Filters = b.tcpProxy(name, PassthroughTCPCluster, placePod, nil)
		}
		chains = append(chains, chain)
	}
	return chains
}
