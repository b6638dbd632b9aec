// SPDX-License-Identifier: Apache-2.0

// Package prove holds the engine of package trace against the Linux kernel. It
// makes worlds at random (chains, ip rules, routes, sets, sysctls), builds each in
// a network namespace, reads it back with the programs that a dump is made with,
// and then gives the same packets to both. Whatever the kernel did with one
// (verdict, addresses, mark, connmark, device, gateway, routing table, and which
// rules counted it) has to be what the engine says.
//
// The kernel is watched by an nftables table whose chains run before and after all
// others, by TAP devices that show which neighbour a packet was sent to, and by
// asking connection tracking. None of that changes what happens to a packet.
package prove
