// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"net/netip"

	"github.com/ambient22/ambient22/internal/dump/iproute"
	"github.com/ambient22/ambient22/internal/dump/iptsave"
)

// Option tells Compile what a dump cannot.
type Option func(*config)

type config struct {
	sockets      []Socket
	socketsKnown bool
	choose       func(Choice) (pick int, ok bool)
	assume       map[string]string
}

// Socket is a local socket. Remote is zero for one that listens (or, for UDP, is
// not connected). A Local address of 0.0.0.0 listens on every address.
type Socket struct {
	Protocol      uint8
	Local, Remote netip.AddrPort
	Transparent   bool   // IP_TRANSPARENT: TPROXY gives packets to no other
	Mark          uint32 // SO_MARK, which -m socket --restore-skmark reads
}

// Sockets names the sockets that are open in the namespace; with no arguments
// there are none. Without this option a TPROXY target's listener is taken to be
// there, with a word in Walk.Doubt.
func Sockets(list ...Socket) Option {
	return func(c *config) { c.sockets, c.socketsKnown = append(c.sockets, list...), true }
}

// Assume gives sysctls that the dump does not have, by name
// ("net.ipv4.ip_forward" → "1"). What the dump has stands.
func Assume(sysctls map[string]string) Option {
	return func(c *config) { c.assume = sysctls }
}

// ChoiceKind says what a choice is about.
type ChoiceKind uint8

// The kinds of choices.
const (
	ChoiceRandom  ChoiceKind = iota // -m statistic --mode random: 0 does not match, 1 matches
	ChoiceUnknown                   // a condition that is not modelled: 0 does not match, 1 matches
	ChoicePath                      // a route with several next hops: their index
	ChoiceRange                     // a NAT target with a range of addresses: the index in it
	ChoiceRecent                    // -m recent: 0 the address was not seen lately, 1 it was
	ChoiceOrder                     // both variants of iptables at one hook: 0 legacy first, 1 nft first
)

// Choice is a place where a dump does not say which way the packet goes.
type Choice struct {
	Kind   ChoiceKind
	N      int // how many ways there are
	Rule   *iptsave.Rule
	Route  *iproute.Route
	IPRule *iproute.Rule
	Reason string // of a ChoiceUnknown about a Rule: what keeps it from being judged
	// Probability of way 1 of a ChoiceRandom.
	Probability float64
}

// Choosing lets f decide where a dump does not; ok false leaves it open. An open
// choice is followed every way: where all end alike, the walk goes on, else it
// ends as Unknown. A choice made by f is told in Walk.Doubt.
func Choosing(f func(Choice) (pick int, ok bool)) Option {
	return func(c *config) { c.choose = f }
}

// FirstWay is for Choosing: of a random choice and of several next hops or
// addresses it takes the first, as a story for people wants it (kube-proxy's first
// endpoint); an address was not seen before. It leaves open what is not modelled.
func FirstWay(c Choice) (int, bool) {
	switch c.Kind {
	case ChoiceRandom:
		return 1, true
	case ChoicePath, ChoiceRange, ChoiceRecent:
		return 0, true
	}
	return 0, false
}
