// SPDX-License-Identifier: Apache-2.0

package noderoute

import "strings"

// Kinds is a set of the kinds of things that a node's data path is made of.
type Kinds uint8

// The kinds.
const (
	// Links are the tunnel devices with their addresses, and the veths of the
	// ztunnel and of enrolled pods.
	Links Kinds = 1 << iota
	// Sysctls are the settings of devices.
	Sysctls
	// Set is the set of enrolled pods.
	Set
	// Chains are the rules of iptables.
	Chains
	// Rules are the ip rules.
	Rules
	// Routes are the routes of tables 100 to 102, and those to the ztunnel and to
	// enrolled pods.
	Routes

	// Everything is all of them.
	Everything = Links | Sysctls | Set | Chains | Rules | Routes
)

// AllKinds are the kinds, one by one.
func AllKinds() []Kinds { return []Kinds{Links, Sysctls, Set, Chains, Rules, Routes} }

// String names the kinds, with commas between them.
func (k Kinds) String() string {
	var names []string
	for i, name := range []string{"link", "sysctl", "set", "chain", "rule", "route"} {
		if k&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, ",")
}

// kind is what a step changes.
func (s step) kind() Kinds {
	switch {
	case len(s.devices) > 0:
		return Links
	case len(s.sysctls) > 0:
		return Sysctls
	case !s.set.Empty():
		return Set
	case len(s.tables) > 0:
		return Chains
	case len(s.rules) > 0:
		return Rules
	case s.sweep != nil:
		return 0
	}
	return Routes
}
