// SPDX-License-Identifier: Apache-2.0

package envoyconfig

import "fmt"

// Options says whose resources to build, and in which form.
type Options struct {
	// Node is the node whose ztunnel is served; the snapshot must know it.
	Node string
	// ProxyID is that ztunnel, <pod name>.<namespace>, as its workload metadata
	// repeats it. Empty while no ztunnel is active on the node.
	ProxyID string
	// Profile is the form of the resources.
	Profile Profile
}

// Profile is a form of the configuration. The zero value is Article.
type Profile int

// Article is the configuration as the article's listings show it, with the
// weaknesses it had then (see Holes).
const Article Profile = 0

// String is the profile's name on a command line.
func (p Profile) String() string {
	if p == Article {
		return "article"
	}
	return fmt.Sprintf("profile %d", int(p))
}

// Holes says, one sentence each, what this profile leaves open that a careful
// operator would expect to be closed. A controller logs them when it starts.
func (p Profile) Holes() []string {
	return []string{
		"inbound tunnels are accepted without a client certificate: a peer that presents none is not refused",
		"outbound tunnels check nobody's certificate: whoever answers on a pod's address and port 15008 is taken for that pod",
		"the caller of an inbound tunnel names the address it is connected to (x-envoy-original-dst-host), and any address is accepted, not only the pod's own",
		"plain connections to a pod are delivered from port 15006 whatever a policy demands about mutual TLS",
		"authorization policies are not enforced: no listener carries an RBAC filter yet",
	}
}
