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
// hundred megabytes of it. What differs is the identity's name. So it is made in
// steps, best read in this order, with one service port as the example:
//
//   - view (view.go) sorts out what this node must know of the mesh: who calls, who
//     is called, which endpoints are reached how.
//   - build: serviceCluster (cluster_service.go) makes the cluster as a typed
//     message. Its name has a hole where the caller's identity will stand: it is
//     made for anyCaller (form.go).
//   - form: the message is checked and compiled, once (internal/wire). What is long
//     and has no hole is in memory once, however often it is served.
//   - row: the form is written for each identity. One port's clusters for all
//     identities are a row (row.go, make_services.go).
//   - chunk: the chains and ways to about 64 destinations are one form, written for
//     each caller as one block (chunk.go, make_outbound.go). The listener refers to
//     the blocks and copies none of them. The chains of called pods are written in
//     the same way, for anyCallee (make_inbound.go, protection.go).
//   - list: rows and blocks are put in order (lists.go), which is the edition that
//     the next snapshot is compared with (edition.go). A row, block or pod's chain
//     is made again only when what it was made from differs, so each of them keeps
//     that beside it: the fields reached, secret, goals, inboundInput and the like.
//     Whoever has a builder look at something new must add it there; the test of
//     incremental builds (motion_test.go) finds what was forgotten.
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
