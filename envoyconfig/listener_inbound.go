// SPDX-License-Identifier: Apache-2.0

package envoyconfig

import (
	"slices"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"
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
func (b *builder) inboundChain(c callee, p *protection) *listenerv3.FilterChain {
	if p.native {
		return b.nativeChain(c.ip)
	}
	return b.tunnelChain(c, p)
}

// tunnelChain ends a pod's tunnels with that pod's certificate, for those whom the
// policies let in.
func (b *builder) tunnelChain(c callee, p *protection) *listenerv3.FilterChain {
	ofConnection, ofRequest := b.tunnelPolicies(c, p)
	return &listenerv3.FilterChain{
		Name:             inboundChainName(c.ip),
		FilterChainMatch: exactAddress(c.ip),
		TransportSocket:  b.tunnelServerTLS(c.secret),
		Filters:          slices.Concat(ofConnection, b.inboundHCM(c.ip, ofRequest)),
	}
}

// tunnelPolicies are the filters that decide who may open a tunnel to a pod. Where
// a waypoint stands in front, it has done so already. The hardened profile decides
// by the request in the tunnel, because only that says which port is called.
func (b *builder) tunnelPolicies(c callee, p *protection) ([]*listenerv3.Filter, []*hcmv3.HttpFilter) {
	if p.represented {
		return b.waypointRBAC(c.identity), nil
	}
	if b.options.Profile == Hardened {
		return nil, b.httpRBAC(p.policies, c.ip)
	}
	return b.networkRBAC(p.policies), nil
}

// nativeChain hands tunnels on, unopened, to a pod that ends them itself.
func (b *builder) nativeChain(ip string) *listenerv3.FilterChain {
	return &listenerv3.FilterChain{
		Name:             inboundChainName(ip),
		FilterChainMatch: exactAddress(ip),
		Filters:          b.tcpProxy(VirtualInboundHBONECluster, VirtualInboundHBONECluster, placeInboundNative, nil),
	}
}

// plaintextChain hands plain connections on to a pod, if policies let them in.
// Whether they had to come by a tunnel is only asked in the hardened profile.
func (b *builder) plaintextChain(c callee, p *protection) *listenerv3.FilterChain {
	var strict []*listenerv3.Filter
	if b.options.Profile == Hardened {
		strict = b.strictMTLS(p.strict)
	}
	deliver := b.tcpProxy(virtualInboundPlaintext, VirtualInboundCluster, "", nil)
	return &listenerv3.FilterChain{
		Name:             inboundChainName(c.ip),
		FilterChainMatch: exactAddress(c.ip),
		Filters:          slices.Concat(strict, b.networkRBAC(p.policies), deliver),
	}
}

// blackHoleInbound closes connections: the cluster that it names does not exist.
func (b *builder) blackHoleInbound(name, place string) *listenerv3.FilterChain {
	return &listenerv3.FilterChain{
		Name:    name,
		Filters: b.tcpProxy(BlackHoleCluster, name, place, nil),
	}
}

func exactAddress(ip string) *listenerv3.FilterChainMatch {
	const whole = 32 // bits of an IPv4 address
	return &listenerv3.FilterChainMatch{PrefixRanges: []*corev3.CidrRange{{AddressPrefix: ip, PrefixLen: wrapperspb.UInt32(whole)}}}
}
