// SPDX-License-Identifier: Apache-2.0

// Package envoyconfig turns one snapshot of the mesh into what one node's ztunnel
// is served over xDS: listeners, clusters, endpoints and the workload metadata
// extension, in the form of the September 2022 ambient mesh.
//
// Everything here is pure: the same mesh gives the same bytes, whatever order its
// objects came in. Each file builds one product and is named after it: listener_*,
// cluster_*, endpoints and the like as typed messages, make_* the resources that a
// Builder finishes from them.
//
// What a mesh is served is nearly the same thing for each of its identities, some
// hundred megabytes of it. So the typed builders make it for anyCaller, once, and
// it is compiled into a form, from which it is written for every identity. What
// differs is the identity's name; what is long and does not differ is in memory
// once. From one snapshot to the next a Builder keeps what is made from the same.
//
// The names, in the order a connection meets them:
//
//	ztunnel_outbound            15001, what pods of this node send
//	<SA>_to_<port>_<host>_...   chain and cluster of a service, as this caller sees it
//	<SA>_to_<pod IP>            chain of a pod that is called directly
//	_to_client_waypoint_proxy_<SA>       chain and cluster of the caller's own waypoint
//	<SA>_to_server_waypoint_proxy_<SA>   chain and cluster of the destination's waypoint
//	outbound_tunnel_lis_<SA>    internal listener that puts a connection into a tunnel
//	outbound_..._tunnel_clus_<SA>  the tunnels themselves: mTLS and HTTP/2 CONNECT
//	ztunnel_inbound             15008, tunnels to the pods of this node
//	ztunnel_inbound_plaintext   15006, everything else to the pods of this node
//	virtual_inbound             the pod itself
//
// Which chain a connection takes is decided in one place, hop.go, for chains and
// matcher alike. A pod that ends tunnels itself (NativeHBONE) has a chain of its
// own kind in ztunnel_inbound, leading to virtual_inbound_hbone.
package envoyconfig
