// SPDX-License-Identifier: Apache-2.0

// Package envoyconfig turns one snapshot of the mesh into what one node's ztunnel
// is served over xDS: listeners, clusters, endpoints and the workload metadata
// extension, in the form of the September 2022 ambient mesh.
//
// Everything here is pure: the same mesh gives the same bytes, whatever order its
// objects came in. Each file builds one product and is named after it. The parts
// that many resources have in common (an access log, the matches of one identity,
// an endpoint's metadata) are built once and shared by pointer, so a message must
// never be changed after it was built.
//
// The names, in the order a connection meets them:
//
//	ztunnel_outbound            15001, what pods of this node send
//	<SA>_to_<port>_<host>_...   chain and cluster of a service, as this caller sees it
//	<SA>_to_<pod IP>            chain of a pod that is called directly
//	outbound_tunnel_lis_<SA>    internal listener that puts a connection into a tunnel
//	outbound_..._tunnel_clus_<SA>  the tunnels themselves: mTLS and HTTP/2 CONNECT
//	ztunnel_inbound             15008, tunnels to the pods of this node
//	ztunnel_inbound_plaintext   15006, everything else to the pods of this node
//	virtual_inbound             the pod itself
//
// Not built yet: L4 policies (RBAC filters), waypoints, and pods that terminate
// HBONE themselves. Until then a waypoint pod is called plainly, like any pod that
// is not in the mesh, and for a pod that speaks HBONE itself this node's ztunnel
// terminates the tunnel, as for any other pod.
package envoyconfig
