// SPDX-License-Identifier: Apache-2.0

package envoyconfig

import (
	"net/netip"

	"github.com/ambient22/ambient22/internal/mesh"
)

// Listeners, and the ports they take captured connections on.
const (
	OutboundListener         = "ztunnel_outbound"
	InboundListener          = "ztunnel_inbound"
	InboundPlaintextListener = "ztunnel_inbound_plaintext"

	OutboundPort         = 15001 // TPROXY of everything that came through pistioout
	InboundPort          = 15008 // HBONE: HTTP/2 CONNECT over mTLS
	InboundPlaintextPort = 15006 // anything else to a pod of this node
	InboundLocalPort     = 15088 // HBONE between pods of one node; redirected to 15008
)

// Ports of a waypoint, which it tells apart what it does by.
const (
	waypointClientPort = 15001 // what its own identity's pods send
	waypointServerPort = 15006 // what is sent to them
)

// Clusters that every ztunnel has.
const (
	BlackHoleCluster           = "BlackHoleCluster"
	PassthroughCluster         = "PassthroughCluster"
	PassthroughTCPCluster      = "PassthroughCluster-tcp"
	VirtualInboundCluster      = "virtual_inbound"
	VirtualInboundHBONECluster = "virtual_inbound_hbone"
)

// Chains that every ztunnel has. The two inbound ones name clusters that don't
// exist, as in 2022: the connection is closed either way.
const (
	PassthroughChain               = "PassthroughFilterChain"
	BlackHoleChain                 = BlackHoleCluster
	BlackHoleInboundChain          = "blackhole inbound"
	BlackHoleInboundPlaintextChain = "blackhole inbound plaintext"
)

// originalDstFilter is the listener filter that finds out which address a
// connection was for, and in the upstream dialect the metadata namespace in which
// an endpoint tells it so.
const originalDstFilter = "envoy.filters.listener.original_dst"

// What is not served as a cluster but by the proxy's bootstrap or SDS.
const (
	SDSCluster   = "sds-grpc"                                 // the bootstrap's cluster that secrets come from
	RootCASecret = "ROOTCA"                                   // the trust bundle's name in SDS
	MetadataName = "envoy.filters.listener.workload_metadata" // listener filter and its ECDS resource
)

// Socket marks. What the ztunnel pod's routing tables do with them is in its own
// ip rules (listing 07).
const (
	originalSrcMark    = 0x4d2 // upstream connections that carry a pod's source address
	outboundAnswerMark = 0x401 // answers of 15001 go back through pistioout
	inboundAnswerMark  = 0x402 // answers of 15008 and 15006 go back through pistioin
)

const (
	tunnelClusterPrefix         = "outbound_tunnel_clus_"
	podTunnelClusterPrefix      = "outbound_pod_tunnel_clus_"
	podLocalTunnelClusterPrefix = "outbound_pod_local_tunnel_clus_"
	tunnelListenerPrefix        = "outbound_tunnel_lis_"
	localTunnelListenerPrefix   = "outbound_local_tunnel_lis_" // in the upstream dialect only
)

// identityPrefix begins every identity.
const identityPrefix = "spiffe://"

// fromCaller names what one caller sees of something that each caller sees in its
// own way.
func fromCaller(caller, what string) string { return caller + callerSeparator + what }

// callerSeparator ends the caller in the names that begin with one.
const callerSeparator = "_to_"

// serviceName names chain, statistics and cluster of one service port as one
// caller sees it.
func serviceName(caller string, s *mesh.Service, p *mesh.ServicePort) string {
	return fromCaller(caller, servicePortName(s, p))
}

// servicePortName is what the names of one service port have in common. The only
// port of a service may have no name, and then it has none here, as in 2022.
func servicePortName(s *mesh.Service, p *mesh.ServicePort) string {
	return p.Name + "_" + s.Hostname() + "_outbound_internal"
}

// podChainName names the chain to a pod that is called by its own address.
func podChainName(caller string, ip netip.Addr) string { return fromCaller(caller, ip.String()) }

// inboundChainName names a pod's chain in both inbound listeners.
func inboundChainName(ip string) string { return "inbound_" + ip }

// clientWaypointName names chain and cluster of an identity's own waypoint.
func clientWaypointName(caller string) string { return "_to_client_waypoint_proxy_" + caller }

// serverWaypointName names chain and cluster of a destination's waypoint as one
// caller sees it.
func serverWaypointName(caller, destination string) string {
	return fromCaller(caller, serverWaypointPrefix+destination)
}

const serverWaypointPrefix = "server_waypoint_proxy_"
