// SPDX-License-Identifier: Apache-2.0

package config

import (
	"net/netip"

	"github.com/ambient22/ambient22/internal/proxy/match"
)

// Tree is the listener's filter_chain_matcher, nil where prefixes decide. It is
// read-only.
func (l *Listener) Tree() *match.Node { return l.tree }

// Chain is the chain of that name among those that the matcher can name, or nil.
func (l *Listener) Chain(name string) *FilterChain { return l.byName[name] }

// Chains are all chains in the resource's order, the default one last. They are
// read-only.
func (l *Listener) Chains() []*FilterChain { return l.all }

// Fallback is the default_filter_chain, or nil.
func (l *Listener) Fallback() *FilterChain { return l.fallback }

// Prefixes are the destinations that the chain asks for; none: every one.
func (f *FilterChain) Prefixes() []netip.Prefix { return f.prefixes }
