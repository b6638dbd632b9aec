// SPDX-License-Identifier: Apache-2.0

package envoyconfig

import (
	"net/netip"
	"regexp"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	rbacv3 "github.com/envoyproxy/go-control-plane/envoy/config/rbac/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/ambient22/ambient22/internal/mesh"
)

// ruleWriter puts rules into Envoy's words.
type ruleWriter struct {
	trustDomain string
	engine      bool // name the engine of regular expressions: a proxy of 2022 was told, today's only warns about it
	exact       bool // no part of an identity is taken for another

	// In an HTTP filter the port called is the one in a header, after this
	// address. "" in a network filter, which sees the connection's own.
	targetHeader string
	podIP        string
}

func newRuleWriter(trustDomain string, o Options) ruleWriter {
	return ruleWriter{trustDomain: trustDomain, engine: o.Dialect == Istio116, exact: o.Profile == Hardened}
}

// policy is the rule: any of the permissions for any of the principals.
func (w ruleWriter) policy(r *mesh.Rule) *rbacv3.Policy {
	p := &rbacv3.Policy{}
	for i := range max(1, len(r.To)) {
		var all []*rbacv3.Permission
		if i < len(r.To) {
			all = w.called(all, &r.To[i])
		}
		for j := range r.WhenCalled {
			all = w.called(all, &r.WhenCalled[j])
		}
		p.Permissions = append(p.Permissions, permissionAll(all))
	}
	for i := range max(1, len(r.From)) {
		var all []*rbacv3.Principal
		if i < len(r.From) {
			all = w.callers(all, &r.From[i])
		}
		for j := range r.WhenCaller {
			all = w.callers(all, &r.WhenCaller[j])
		}
		p.Principals = append(p.Principals, principalAll(all))
	}
	return p
}

// called adds what an operation asks for, list by list.
func (w ruleWriter) called(all []*rbacv3.Permission, o *mesh.Operation) []*rbacv3.Permission {
	all = permissionLists(all, o.Ports, o.NotPorts, w.port)
	all = permissionLists(all, o.IPBlocks, o.NotIPBlocks, destinationIP)
	return permissionLists(all, o.SNI, o.NotSNI, w.serverName)
}

// callers adds what a source asks for, list by list.
func (w ruleWriter) callers(all []*rbacv3.Principal, s *mesh.Source) []*rbacv3.Principal {
	all = principalLists(all, s.Principals, s.NotPrincipals, w.identity)
	all = principalLists(all, s.Namespaces, s.NotNamespaces, w.namespace)
	all = principalLists(all, s.RemoteIPBlocks, s.NotRemoteIPBlocks, w.remoteIP)
	return principalLists(all, s.IPBlocks, s.NotIPBlocks, directRemoteIP)
}

func (w ruleWriter) port(number uint16) *rbacv3.Permission {
	if w.targetHeader != "" {
		return w.target(number)
	}
	return &rbacv3.Permission{Rule: &rbacv3.Permission_DestinationPort{DestinationPort: uint32(number)}}
}

func destinationIP(block netip.Prefix) *rbacv3.Permission {
	return &rbacv3.Permission{Rule: &rbacv3.Permission_DestinationIp{DestinationIp: cidr(block)}}
}

func (w ruleWriter) serverName(pattern string) *rbacv3.Permission {
	return &rbacv3.Permission{Rule: &rbacv3.Permission_RequestedServerName{RequestedServerName: w.text(pattern, "")}}
}

// identity matches a principal as policies write it: a SPIFFE URI without its
// scheme.
func (w ruleWriter) identity(principal string) *rbacv3.Principal {
	return authenticated(w.text(w.ownTrustDomain(principal), "spiffe://"))
}

// ownTrustDomain reads "cluster.local" as the mesh's own trust domain, whatever
// that is called, so that policies need not be rewritten for each mesh. Only a
// full identity is read so.
func (w ruleWriter) ownTrustDomain(principal string) string {
	rest, ok := strings.CutPrefix(principal, mesh.DefaultTrustDomain+"/")
	if !ok || strings.Count(principal, "/") != 4 {
		return principal
	}
	return w.trustDomain + "/" + rest
}

// namespace matches the callers of a namespace. What 2022 wrote finds "/ns/" and
// what follows anywhere in an identity: "a*b" also meant .../ns/a/sa/b/..., and the
// namespace "sa" all of a namespace called "ns".
func (w ruleWriter) namespace(pattern string) *rbacv3.Principal {
	if w.exact {
		const part = "[^/]*"
		return authenticated(w.regex("spiffe://" + part + "/ns/" + strings.ReplaceAll(w.literal(pattern), `\*`, part) + "/sa/" + part))
	}
	return authenticated(w.regex(".*/ns/" + strings.ReplaceAll(w.literal(pattern), `\*`, ".*") + "/.*"))
}

// remoteIP matches where a connection came from before any proxy that says so. In
// an HTTP filter that would be a header which the caller may write as it likes, and
// nothing between two ztunnels writes one: there the connection itself counts.
func (w ruleWriter) remoteIP(block netip.Prefix) *rbacv3.Principal {
	if w.targetHeader != "" {
		return directRemoteIP(block)
	}
	return &rbacv3.Principal{Identifier: &rbacv3.Principal_RemoteIp{RemoteIp: cidr(block)}}
}

func directRemoteIP(block netip.Prefix) *rbacv3.Principal {
	return &rbacv3.Principal{Identifier: &rbacv3.Principal_DirectRemoteIp{DirectRemoteIp: cidr(block)}}
}

// text matches a value with "*" alone, in front or at the end of it; in the middle
// it is a character like any other.
func (w ruleWriter) text(pattern, scheme string) *matcherv3.StringMatcher {
	if pattern == "*" {
		return w.regex(".+")
	}
	if suffix, ok := strings.CutPrefix(pattern, "*"); ok {
		if scheme != "" {
			return w.regex(scheme + ".*" + w.literal(suffix))
		}
		return &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Suffix{Suffix: suffix}}
	}
	if prefix, ok := strings.CutSuffix(pattern, "*"); ok {
		return &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Prefix{Prefix: scheme + prefix}}
	}
	return exactText(scheme + pattern)
}

// literal keeps a text from being read as a regular expression: a broken one would
// have the proxy refuse the whole listener. In the article's form dots stay as they
// are, as in 2022, and match any one character.
func (w ruleWriter) literal(text string) string {
	quoted := regexp.QuoteMeta(text)
	if w.exact {
		return quoted
	}
	return strings.ReplaceAll(quoted, `\.`, ".")
}

func (w ruleWriter) regex(text string) *matcherv3.StringMatcher {
	m := &matcherv3.RegexMatcher{Regex: text}
	if w.engine {
		m.EngineType = &matcherv3.RegexMatcher_GoogleRe2{GoogleRe2: &matcherv3.RegexMatcher_GoogleRE2{}}
	}
	return &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_SafeRegex{SafeRegex: m}}
}

func exactText(text string) *matcherv3.StringMatcher {
	return &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Exact{Exact: text}}
}

func cidr(block netip.Prefix) *corev3.CidrRange {
	return &corev3.CidrRange{AddressPrefix: block.Addr().String(), PrefixLen: wrapperspb.UInt32(uint32(block.Bits()))}
}
