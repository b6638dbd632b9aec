// SPDX-License-Identifier: Apache-2.0

package envoyconfig

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/ambient22/ambient22/internal/mesh"
)

// tunnelPort is the port at which the tunnel to an endpoint of a service ends.
type tunnelPort uint16

// noTunnel is the port of an endpoint that is reached plainly, because nobody
// would end a tunnel to it.
const noTunnel tunnelPort = 0

// addTunnels notes how each pod is reached behind a service.
func (v *view) addTunnels(workloads []*mesh.Workload) {
	for _, w := range workloads {
		port := v.tunnelTo(w)
		was, known := v.tunnels[w.IP]
		switch {
		case !known || !w.HostNetwork && w.Class != mesh.Outside:
			v.tunnels[w.IP] = port
		case w.HostNetwork && was != port:
			// An address alone does not say which of its node's pods is meant.
			v.tunnels[w.IP] = noTunnel
		}
	}
}

// tunnelTo is the port of the tunnel to one pod. A pod that ends tunnels itself
// does so in or outside the mesh, and near or far: it listens on the port itself.
// What else is on this node is reached by the port that the ztunnel's own rules
// redirect.
func (v *view) tunnelTo(w *mesh.Workload) tunnelPort {
	switch {
	case w.NativeHBONE():
		return InboundPort
	case w.HostNetwork || w.Class != mesh.InMesh && w.Class != mesh.Waypoint:
		return noTunnel
	case w.Node == v.node:
		return InboundLocalPort
	}
	return InboundPort
}

// reach is one endpoint of a service port, and how it is reached.
type reach struct {
	ip     netip.Addr
	port   uint16
	tunnel tunnelPort
}

// reached are the endpoints of a port, by address and port. What is no pod that is
// known is reached plainly.
func (v *view) reached(p *mesh.ServicePort) []reach {
	list := make([]reach, len(p.Endpoints))
	for i, e := range p.Endpoints {
		list[i] = reach{ip: e.IP, port: e.Port, tunnel: v.tunnels[e.IP]}
	}
	slices.SortFunc(list, func(a, b reach) int { return cmp.Or(a.ip.Compare(b.ip), cmp.Compare(a.port, b.port)) })
	return list
}
