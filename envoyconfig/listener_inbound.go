// SPDX-License-Identifier: Apache-2.0

package envoyconfig

import (
	"net/netip"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// virtualInboundPlaintext is the statistics prefix of plain inbound connections.
const virtualInboundPlaintext = "virtual_inbound_plaintext"

// inboundListener ends the tunnels to the pods of this node (listing 19): one
// chain per pod, with that pod's certificate. Network filters that decide who may
// come in belong before the last filter of a chain. The last chain takes what is
// for nobody here.
func (b *builder) inboundListener() *listenerv3.Listener {
	l := b.captureListener(InboundListener, InboundPort, inboundAnswerMark, "inbound", placeInbound)
	hcm := b.inboundHCM()
	for _, w := range b.view.captured {
		l.FilterChains = append(l.FilterChains, &listenerv3.FilterChain{
			Name:             inboundChainName(w.IP),
			FilterChainMatch: exactAddress(w.IP),
			TransportSocket:  b.tunnelServerTLS(w),
			Filters:          hcm,
		})
	}
	l.FilterChains = append(l.FilterChains, b.blackHoleInbound(BlackHoleInboundChain, placeBlackHoleInbound))
	return l
}

// plaintextListener hands plain connections on to the pods of this node.
func (b *builder) plaintextListener() *listenerv3.Listener {
	l := b.captureListener(InboundPlaintextListener, InboundPlaintextPort, inboundAnswerMark, "inbound", placePlaintext)
	deliver := b.tcpProxy(virtualInboundPlaintext, VirtualInboundCluster, "", nil)
	for _, w := range b.view.captured {
		l.FilterChains = append(l.FilterChains, &listenerv3.FilterChain{
			Name:             inboundChainName(w.IP),
			FilterChainMatch: exactAddress(w.IP),
			Filters:          deliver,
		})
	}
	l.FilterChains = append(l.FilterChains, b.blackHoleInbound(BlackHoleInboundPlaintextChain, placeBlackHolePlaintext))
	return l
}

// blackHoleInbound closes connections: the cluster that it names does not exist.
func (b *builder) blackHoleInbound(name, place string) *listenerv3.FilterChain {
	return &listenerv3.FilterChain{
		Name:    name,
		Filters: b.tcpProxy(BlackHoleCluster, name, place, nil),
	}
}

func exactAddress(ip netip.Addr) *listenerv3.FilterChainMatch {
	return &listenerv3.FilterChainMatch{PrefixRanges: []*corev3.CidrRange{{
		AddressPrefix: ip.String(),
		PrefixLen:     wrapperspb.UInt32(uint32(ip.BitLen())),
	}}}
}
