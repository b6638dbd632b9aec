// SPDX-License-Identifier: Apache-2.0

// Package topologies carries the lab's topologies as data: hosts, addresses,
// links, the nodes' own packet filter rules, the Kubernetes objects, and the
// listings that the running system is compared with. ambientctl has them built
// in, so that a copied binary is a whole lab.
package topologies

import (
	"embed"
	"io/fs"
)

//go:embed article
var files embed.FS

// Article is the topology of the article "Transparent Traffic Intercepting and
// Routing in the L4 Network of Istio Ambient Mesh": two GKE nodes, with the
// files topology.yaml, iptables/, listings/ and manifests/ at its root.
func Article() fs.FS {
	sub, err := fs.Sub(files, "article")
	if err != nil {
		panic(err) // the path is a constant that go:embed has checked
	}
	return sub
}
