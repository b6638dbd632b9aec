// SPDX-License-Identifier: Apache-2.0

package envoyconfig

import (
	"net/netip"
	"slices"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/ambient22/ambient22/internal/mesh"
)

// virtualInboundPlaintext is the statistics prefix of plain inbound connections.
const virtualInboundPlaintext = "virtual_inbound_plaintext"

// inboundListener ends the tunnels to the pods of this node (listing 19): one
// chain per pod. The last chain takes what is for nobody here.
func (b *builder) inboundListener(chains []*listenerv3.FilterChain) *listenerv3.Listener {
	l := b.captureListener(InboundListener, InboundPort, inboundAnswerMark, "inbound", placeInbound)
	l.FilterChains = append(slices.Clip(chains), b.blackHoleInbound(BlackHoleInboundChain, placeBlackHoleInbound))
	return l
}

// plaintextListener hands plain connections on to the pods of this node.
func (b *builder) plaintextListener(chains []*listenerv3.FilterChain) *listenerv3.Listener {
	l := b.captureListener(InboundPlaintextListener, InboundPlaintextPort, inboundAnswerMark, "inbound", placePlaintext)
	l.FilterChains = append(slices.Clip(chains), b.blackHoleInbound(BlackHoleInboundPlaintextChain, placeBlackHolePlaintext))
	return l
}

// inboundChain takes the tunnels to a pod.
func (b *builder) inboundChain(w *mesh.Workload) *listenerv3.FilterChain {
	if w.NativeHBONE() {
		return b.nativeChain(w.IP)
	}
	return b.tunnelChain(w)
}

// tunnelChain ends a pod's tunnels with that pod's certificate, for those whom the
// policies let in.
func (b *builder) tunnelChain(w *mesh.Workload) *listenerv3.FilterChain {
	ofConnection, ofRequest := b.tunnelPolicies(w)
	return &listenerv3.FilterChain{
		Name:             inboundChainName(w.IP),
		FilterChainMatch: exactAddress(w.IP),
		TransportSocket:  b.tunnelServerTLS(w),
		Filters:          slices.Concat(ofConnection, b.inboundHCM(w.IP, ofRequest)),
	}
}

// tunnelPolicies are the filters that decide who may open a tunnel to a pod. Where
// a waypoint stands in front, it has done so already. The hardened profile decides
// by the request in the tunnel, because only that says which port is called.
func (b *builder) tunnelPolicies(w *mesh.Workload) ([]*listenerv3.Filter, []*hcmv3.HttpFilter) {
	if identity := b.view.identity(w); b.view.represented[identity] {
		return b.waypointRBAC(identity), nil
	}
	if b.options.Profile == Hardened {
		return nil, b.httpRBAC(w, targetHeader(b.options.Dialect))
	}
	return b.networkRBAC(w), nil
}

// nativeChain hands tunnels on, unopened, to a pod that ends them itself.
func (b *builder) nativeChain(ip netip.Addr) *listenerv3.FilterChain {
	return &listenerv3.FilterChain{
		Name:             inboundChainName(ip),
		FilterChainMatch: exactAddress(ip),
		Filters:          b.tcpProxy(VirtualInboundHBONECluster, VirtualInboundHBONECluster, placeInboundNative, nil),
	}
}

// plaintextChain hands plain connections on to a pod, if policies let them in.
// Whether they had to come by a tunnel is only asked in the hardened profile.
func (b *builder) plaintextChain(w *mesh.Workload) *listenerv3.FilterChain {
	var strict []*listenerv3.Filter
	if b.options.Profile == Hardened {
		strict = b.strictMTLS(w)
	}
	deliver := b.tcpProxy(virtualInboundPlaintext, VirtualInboundCluster, "", nil)
	return &listenerv3.FilterChain{
		Name:             inboundChainName(w.IP),
		FilterChainMatch: exactAddress(w.IP),
		Filters:          slices.Concat(strict, b.networkRBAC(w), deliver),
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
