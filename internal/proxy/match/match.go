// SPDX-License-Identifier: Apache-2.0

// Package match finds the filter chain of a connection from its addresses: by a
// tree of exact maps (xds.type.matcher.v3, listing 09), or by the longest
// destination prefix (listing 19).
package match

import "net/netip"

// Input is what one level of the tree looks at.
type Input int

// The inputs of listing 09.
const (
	DestinationPort Input = iota
	DestinationIP
	SourceIP
)

// Node is one level of the tree: an exact map over one input.
type Node struct {
	Input   Input
	Ports   map[uint16]Outcome     // for DestinationPort
	IPs     map[netip.Addr]Outcome // for the others
	NoMatch *Outcome               // nil: no match here means no match at all
}

// Outcome is what a match leads to: a further level, or a chain's name.
type Outcome struct {
	Next  *Node
	Chain string
}

// Find walks the tree. ok is false where nothing matched; a level that was
// entered is not left again, so an outer NoMatch does not catch an inner miss.
func (n *Node) Find(src, dst netip.AddrPort) (chain string, ok bool) {
	for {
		out, found := n.lookup(src, dst)
		if !found {
			if n.NoMatch == nil {
				return "", false
			}
			out = *n.NoMatch
		}
		if out.Next == nil {
			return out.Chain, true
		}
		n = out.Next
	}
}

func (n *Node) lookup(src, dst netip.AddrPort) (Outcome, bool) {
	var out Outcome
	var found bool
	switch n.Input {
	case DestinationPort:
		out, found = n.Ports[dst.Port()]
	case DestinationIP:
		out, found = n.IPs[dst.Addr()]
	case SourceIP:
		out, found = n.IPs[src.Addr()]
	}
	return out, found
}
