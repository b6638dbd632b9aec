// SPDX-License-Identifier: Apache-2.0

// Package rbac decides who may connect: Envoy's role based access control
// (envoy.config.rbac.v3), once for the network filter, which sees a connection,
// and once for the HTTP filter, which sees one request of it. The package is
// pure; package config makes a Filter of a resource, package listener asks it.
package rbac

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/ambient22/ambient22/internal/proxy/match"
)

// Request is what the rules can be held against.
type Request struct {
	// Local is where the connection was sent, with the destination restored that
	// it had before redirection. Like Remote it is zero where the connection is
	// in-process and has no such address; then no address and no port matches.
	Local netip.AddrPort
	// Remote is the other end of the connection itself. No header moves it, so it
	// stands for all three of Envoy's notions of a remote address.
	Remote netip.AddrPort
	SNI    string // of the TLS handshake; "" without
	// Authenticated says that the peer presented a certificate, and Names are the
	// names in it in the order in which Envoy asks: URIs, DNS names, the subject.
	Authenticated bool
	Names         []string
	// Header gives the headers of a request, by lower-case name; nil in a network
	// filter, whose rules know no headers.
	Header func(name string) (value string, ok bool)
}

// Rule is one permission or one principal: it either fits the request or not.
type Rule func(r *Request) bool

// Any fits everything.
func Any(*Request) bool { return true }

// All fits where each of the rules does.
func All(rules []Rule) Rule {
	return func(r *Request) bool {
		for _, rule := range rules {
			if !rule(r) {
				return false
			}
		}
		return true
	}
}

// OneOf fits where at least one of the rules does.
func OneOf(rules []Rule) Rule {
	return func(r *Request) bool { return oneOf(rules, r) }
}

func oneOf(rules []Rule, r *Request) bool {
	for _, rule := range rules {
		if rule(r) {
			return true
		}
	}
	return false
}

// Not fits where rule does not.
func Not(rule Rule) Rule { return func(r *Request) bool { return !rule(r) } }

// DestinationIP fits connections to an address of the block.
func DestinationIP(block netip.Prefix) Rule {
	return func(r *Request) bool { return block.Contains(r.Local.Addr()) }
}

// DestinationPort fits connections to the port.
func DestinationPort(port uint16) Rule {
	return func(r *Request) bool { return r.Local.IsValid() && r.Local.Port() == port }
}

// RequestedServerName fits connections whose TLS handshake asked for such a name;
// one that asked for none counts as the empty name.
func RequestedServerName(name match.Text) Rule {
	return func(r *Request) bool { return name(r.SNI) }
}

// RemoteIP fits connections from an address of the block.
func RemoteIP(block netip.Prefix) Rule {
	return func(r *Request) bool { return block.Contains(r.Remote.Addr()) }
}

// Authenticated fits peers with a certificate that has such a name; with a nil
// name, all with a certificate.
func Authenticated(name match.Text) Rule {
	return func(r *Request) bool {
		return r.Authenticated && (name == nil || slices.ContainsFunc(r.Names, name))
	}
}

// Header fits requests by one of their headers.
func Header(h match.Header) Rule {
	return func(r *Request) bool { return r.Header != nil && h(r.Header) }
}

// Policy fits a request where one of its permissions and one of its principals
// do.
type Policy struct {
	Name        string
	Permissions []Rule
	Principals  []Rule
}

// Engine is a set of policies with what they are for.
type Engine struct {
	// Deny turns away what one of the policies fits; else nothing gets in but
	// that.
	Deny     bool
	policies []Policy // by name
}

// NewEngine makes an Engine; of several policies that fit, the first by name is
// the one that counts.
func NewEngine(deny bool, policies []Policy) *Engine {
	sorted := slices.Clone(policies)
	slices.SortFunc(sorted, func(a, b Policy) int { return strings.Compare(a.Name, b.Name) })
	return &Engine{Deny: deny, policies: sorted}
}

// Decide says whether the request is allowed, and the name of the policy that
// fits it; "" where none does.
func (e *Engine) Decide(r *Request) (allowed bool, policy string) {
	for i := range e.policies {
		p := &e.policies[i]
		if oneOf(p.Permissions, r) && oneOf(p.Principals, r) {
			return !e.Deny, p.Name
		}
	}
	return e.Deny, ""
}

// Filter is a filter ready to be asked. Rules or Shadow is nil where the resource
// has none: then nothing is enforced, or nothing tried.
type Filter struct {
	Rules  *Engine
	Shadow *Engine // is counted, and decides nothing

	// What stands before the names of the counters: of the filter, of those of
	// Rules, of those of Shadow. In an HTTP filter the first comes from its
	// connection manager.
	StatPrefix       string
	RulesStatPrefix  string
	ShadowStatPrefix string
}

// DenialDetails is what Envoy writes into the access log about a denial: the
// policy that denied, or "none" where none allowed.
func DenialDetails(policy string) string {
	if policy == "" {
		policy = "none"
	}
	return "rbac_access_denied_matched_policy[" + strings.Join(strings.Fields(policy), "_") + "]"
}
