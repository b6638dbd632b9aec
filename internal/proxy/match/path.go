// SPDX-License-Identifier: Apache-2.0

package match

import "net/netip"

// Visit is one level of the tree that a connection's search came by.
type Visit struct {
	Node *Node
	// Found says that the level's map had an entry; where it had not, NoMatch
	// decided, if there is one.
	Found bool
	// Out is what the search went on with; zero where it ended without a match.
	Out Outcome
}

// Path is what Find looks at, level by level.
func (n *Node) Path(src, dst netip.AddrPort) []Visit {
	var path []Visit
	for n != nil {
		v := Visit{Node: n}
		v.Out, v.Found = n.lookup(src, dst)
		if !v.Found && n.NoMatch != nil {
			v.Out = *n.NoMatch
		}
		path = append(path, v)
		n = v.Out.Next
	}
	return path
}
