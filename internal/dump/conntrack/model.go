// SPDX-License-Identifier: Apache-2.0

// Package conntrack reads and prints what conntrack -L prints. Print(Parse(text))
// is text, byte for byte.
package conntrack

import "net/netip"

// Conn is one connection.
type Conn struct {
	Protocol uint8
	State    string // ESTABLISHED, ...; "" for protocols without
	// Original and Reply are the tuples as they arrive: the reply's source is the
	// original's destination unless there was NAT.
	Original, Reply Tuple
	Mark            uint32
	Assured         bool
	Unreplied       bool
	Line            int

	layout []string
}

// Tuple is one direction of a connection. Ports are 0 for protocols without.
type Tuple struct{ Src, Dst netip.AddrPort }
