// SPDX-License-Identifier: Apache-2.0

package envoyconfig

import (
	"net/netip"

	"github.com/ambient22/ambient22/internal/mesh"
)

// hop is where a connection of one caller to one destination goes first: the one
// decision that the chains of ztunnel_outbound and the matcher's branches share.
type hop struct {
	kind     hopKind
	waypoint string // the identity whose waypoint takes it, where kind is a waypoint's
}

type hopKind int

const (
	hopPlain       hopKind = iota // to a pod's address, as it is: nobody would end a tunnel
	hopTunnel                     // to a pod's address, through a tunnel that another node's ztunnel ends
	hopLocalTunnel                // to a pod's address, through a tunnel that this ztunnel ends itself
	hopService                    // to one of a service's endpoints
	hopClientWaypoint
	hopServerWaypoint
)

// hop decides for a destination with this server waypoint ("" for none), and how
// to reach it where no waypoint takes the connection. The destination's waypoint
// goes before the caller's: it is the one that enforces the destination's policies.
func (c *caller) hop(server string, direct hopKind) hop {
	switch {
	case server != "":
		return hop{hopServerWaypoint, server}
	case c.waypoint:
		return hop{hopClientWaypoint, c.identity}
	}
	return hop{kind: direct}
}

// serviceChainName is the chain that a connection to one port of a service takes.
func (h hop) serviceChainName(c *caller, s *mesh.Service, p *mesh.ServicePort) string {
	if h.kind == hopService {
		return serviceName(c.identity, s, p)
	}
	return h.waypointName(c.identity)
}

// podChainName is the chain that a connection to a pod's address takes.
func (h hop) podChainName(c *caller, ip netip.Addr) string {
	switch h.kind {
	case hopClientWaypoint, hopServerWaypoint:
		return h.waypointName(c.identity)
	}
	return podChainName(c.identity, ip)
}

// waypointName is chain, statistics and cluster of a waypoint as one caller sees it.
func (h hop) waypointName(caller string) string {
	if h.kind == hopClientWaypoint {
		return clientWaypointName(caller)
	}
	return serverWaypointName(caller, h.waypoint)
}

// podCluster is the cluster that leads to a pod's address, and whether through a
// tunnel.
func (k hopKind) podCluster(caller string) (name string, tunnel bool) {
	switch k {
	case hopTunnel:
		return podTunnelClusterPrefix + caller, true
	case hopLocalTunnel:
		return podLocalTunnelClusterPrefix + caller, true
	}
	return PassthroughTCPCluster, false
}
