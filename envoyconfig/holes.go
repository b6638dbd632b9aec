// SPDX-License-Identifier: Apache-2.0

package envoyconfig

// Holes says, one sentence each, what the configuration leaves open that a careful
// operator would expect to be closed. A controller logs them when it starts.
func (o Options) Holes() []string {
	var holes []string
	if o.Profile == Article {
		holes = append(holes,
			"inbound tunnels are accepted without a client certificate: a peer that presents none is not refused",
			"outbound tunnels check nobody's certificate: whoever answers on a pod's address and port 15008 is taken for that pod",
			"the caller of an inbound tunnel names the address it is connected to ("+targetHeader(o.Dialect)+"), and any address is accepted, not only the pod's own",
			"authorization policies on ports see 15008 on a tunnel, whatever port it leads to: a DENY of a port never applies there",
			"authorization policies on namespaces find a name anywhere in an identity: a pattern with * may match a service account, too",
			"plain connections to a pod are delivered from port 15006 whatever a PeerAuthentication demands about mutual TLS",
		)
	} else {
		holes = append(holes,
			"the certificate at the other end of a tunnel to a pod must be of this trust domain, but may be any pod's: one cluster serves all destinations",
		)
	}
	if o.Dialect == Istio116 {
		holes = append(holes,
			"names in a peer's certificate are compared whatever their kind, not only URIs: the proxy of 2022 knows no other way",
		)
	}
	return append(holes,
		"on a tunnel, authorization policies on source addresses (ipBlocks, remoteIpBlocks) see the calling ztunnel's address, not the calling pod's",
		"a pod that ends tunnels itself gets what comes to its port 15008 unchecked: policies are its own affair there",
		"pods on their node's network are not captured: neither tunnels nor policies protect them",
	)
}
