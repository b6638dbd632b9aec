// SPDX-License-Identifier: Apache-2.0

// Package trace follows a packet through one network namespace as its dump
// describes it: netfilter's hooks with connection tracking, iptables' tables and
// chains, ip rules, routes and devices. It does what the kernel does, and it says
// of each rule why it matched or did not. Where a dump has something that is not
// modelled and that could matter for this packet, the walk says so and does not
// guess.
//
// Compile prepares a namespace once. Receive follows a packet that comes in by a
// device, Send one that a local process sends; both fill a Walk, whose Steps are
// worded by Step.Why. Conns carries connections (their state, mark and NAT) from
// one packet to the next:
//
//	space, err := trace.Compile(node.Host)
//	conns, walk := trace.NewConns(), trace.Walk{Record: true}
//	space.Receive(syn, conns, &walk)    // walk.Verdict, walk.Out, walk.Steps
//	space.Receive(synAck, conns, &walk) // an answer, because conns remembers
//
// A condition that is not modelled counts only where all others of its rule hold.
// Then the packet is followed both ways; where they end alike, the walk goes on and
// mentions it in Doubt, else it ends as Unknown. The same holds for what is random,
// and for the order of the two variants of iptables where both have rules at one
// hook. Choosing lets a caller decide instead.
//
// Not followed: IPv6, fragments, IP options, ICMP errors as parts of their
// connections, TCP's sequence numbers, time-outs of connections, IPsec, IPVS, VRFs,
// bridges, programs (eBPF, NFQUEUE), and nft's own rules; and a packet for a
// connected socket of this namespace is routed like any other, although the kernel
// may remember its route from the packet before.
package trace
