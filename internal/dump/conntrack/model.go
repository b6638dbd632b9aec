// SPDX-License-Identifier: Apache-2.0

// Package conntrack reads and prints what conntrack -L prints. Print(Parse(text))
// is text, byte for byte.
package conntrack

import (
	"net/netip"

	"github.com/ambient22/ambient22/internal/dump/syntax"
)

// Conn is one connection.
type Conn struct {
	// Family is "ipv4" or "ipv6" where it is printed, "" otherwise.
	Family   string
	Protocol uint8
	// Name is the protocol's, as printed: "tcp", "unknown".
	Name string
	// Timeout is in seconds; -1 where none is printed (an offloaded connection has none).
	Timeout int64
	State   string // ESTABLISHED, ...; "" for protocols without
	// Original and Reply are the tuples as they arrive: the reply's source is the
	// original's destination unless there was NAT.
	Original, Reply Tuple
	Mark            uint32
	// Zone is the zone of both directions; 0 where none is printed.
	Zone uint16
	Use  uint32
	// Offload: the connection's packets pass by netfilter.
	Assured, Unreplied, Offload bool
	// Extra are words that are not modelled, as printed: secctx, id, timestamps.
	Extra []Word
	Line  int

	marked, zoned, used bool // mark, zone, use are printed
	kept                *syntax.Kept
}

// Tuple is one direction of a connection. Ports are 0 for protocols without.
type Tuple struct {
	Src, Dst netip.AddrPort
	ICMP     *ICMP // of ICMP only
	// Packets and Bytes are counted where the kernel is told to; Counted tells that.
	Packets, Bytes uint64
	Counted        bool
}

// ICMP is what tells ICMP's connections apart.
type ICMP struct {
	Type, Code uint8
	ID         uint16
}

// Word is a word that is kept with its place.
type Word struct {
	After int // how many modelled words stand before it
	Text  string
}
