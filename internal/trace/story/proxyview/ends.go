// SPDX-License-Identifier: Apache-2.0

package proxyview

import (
	"net/netip"
	"slices"
)

// hbonePort is where tunnels of the mesh arrive.
const hbonePort = 15008

// EndsTunnels says whether a pod of the ztunnel's node speaks HBONE itself. The chain
// that the inbound listener has for such a pod hands the bytes on as they are; every
// other pod's chain ends the tunnel with the pod's certificate. known is false where
// there is no chain for the pod.
func (p *Proxy) EndsTunnels(pod netip.Addr) (ends, known bool) {
	l, err := p.at(netip.AddrPortFrom(pod, hbonePort))
	if err != nil || l == nil {
		return false, false
	}
	for _, chain := range l.Chains() {
		if slices.Contains(chain.Prefixes(), netip.PrefixFrom(pod, pod.BitLen())) {
			return chain.TLS == nil && chain.TCP != nil, true
		}
	}
	return false, false
}
