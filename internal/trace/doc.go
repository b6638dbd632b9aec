// SPDX-License-Identifier: Apache-2.0

// Package trace follows a packet through one network namespace as its dump
// describes it: netfilter's hooks with connection tracking, iptables' tables and
// chains, ip rules, routes and devices. It does what the kernel does, and it says
// of each rule why it matched or did not. Where a dump has something that is not
// modelled and that could matter for this packet, the walk says so and does not
// guess.
package trace
