// SPDX-License-Identifier: Apache-2.0

package envoyconfig

import (
	"net/netip"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/ambient22/ambient22/internal/mesh"
)

// virtualInboundPlaintext is the statistics prefix of plain inbound connections.
const virtualInboundPlaintext = "virtual_inbound_plaintext"

// inboundListener ends the tunnels to the pods of this node (listing 19): one
// chain per pod. The last chain takes what is for nobody here.
func (b *builder) inboundListener() *listenerv3.Listener {
	l := b.captureListener(InboundListener, InboundPort, inboundAnswerMark, "inbound", placeInbound)
	for _, w := range b.view.captured {
		if w.NativeHBONE() {
			l.FilterChains = append(l.FilterChains, b.nativeChain(w.IP))
		} else {
			l.FilterChains = append(l.FilterChains, b.tunnelChain(w))
		}
	}
	l.FilterChains = append(l.FilterChains, b.blackHoleInbound(BlackHoleInboundChain, placeBlackHoleInbound))
	return l
}

// plaintextListener hands plain connections on to the pods of this node.
func (b *builder) plaintextListener() *listenerv3.Listener {
	l := b.captureListener(InboundPlaintextListener, InboundPlaintextPort, inboundAnswerMark, "inbound", placePlaintext)
	for _, w := range b.view.captured {
		l.FilterChains = append(l.FilterChains, b.plaintextChain(w))
	}
	l.FilterChains = append(l.FilterChains, b.blackHoleInbound(BlackHoleInboundPlaintextChain, placeBlackHolePlaintext))
	return l
}

// tunnelChain ends a pod's tunnels with that pod's certificate.
func (b *builder) tunnelChain(w *mesh.Workload) *listenerv3.FilterChain {
	return &listenerv3.FilterChain{
		Name:             inboundChainName(w.IP),
		FilterChainMatch: exactAddress(w.IP),
		TransportSocket:  b.tunnelServerTLS(w),
		Filters:          b.inboundHCM(),
	}
}

// nativeChain hands tunnels on, unopened, to a pod that ends them itself.
func (b *builder) nativeChain(ip netip.Addr) *listenerv3.FilterChain {
	return &listenerv3.FilterChain{
		Name:             inboundChainName(ip),
		FilterChainMatch: exactAddress(ip),
		Filters:          b.tcpProxy(VirtualInboundHBONECluster, VirtualInboundHBONECluster, placeInboundNative, nil),
	}
}

// plaintextChain hands plain connections on to a pod.
func (b *builder) plaintextChain(w *mesh.Workload) *listenerv3.FilterChain {
	return &listenerv3.FilterChain{
		Name:             inboundChainName(w.IP),
		FilterChainMatch: exactAddress(w.IP),
		Filters:          b.tcpProxy(virtualInboundPlaintext, VirtualInboundCluster, "", nil),
	}
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
