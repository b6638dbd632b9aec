// SPDX-License-Identifier: Apache-2.0

package envoyconfig

import (
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"testing"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	networkrbacv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/rbac/v3"

	"github.com/ambient22/ambient22/internal/mesh"
)

// filtersOf are the network filters of a pod in a mesh with these policies.
func filtersOf(trustDomain string, w *mesh.Workload, policies ...mesh.AuthorizationPolicy) ([]*listenerv3.Filter, error) {
	s := &mesh.Snapshot{TrustDomain: trustDomain, Policies: policies}
	s.Sort()
	b := newBuilder(&view{snapshot: s}, Options{})
	filters := b.networkRBAC(policiesOf(s, w))
	return filters, b.err
}

func namedPod(i int, labels map[string]string) *mesh.Workload {
	return &mesh.Workload{Namespace: "shop", Name: fmt.Sprint("pod", i), IP: netip.AddrFrom4([4]byte{10, 4, byte(i >> 8), byte(i)}), Labels: labels}
}

func from(principals ...string) mesh.Rule {
	return mesh.Rule{From: []mesh.Source{{Principals: principals}}}
}

// TestPodsShareForms wants one form for pods that the same policies protect, and
// others for others.
func TestPodsShareForms(t *testing.T) {
	s := &mesh.Snapshot{
		TrustDomain: mesh.DefaultTrustDomain,
		Policies: []mesh.AuthorizationPolicy{
			{Namespace: "shop", Name: "all", Rules: []mesh.Rule{from("a")}},
			{Namespace: "shop", Name: "db", Selector: map[string]string{"app": "db"}, Rules: []mesh.Rule{{To: []mesh.Operation{{Ports: []uint16{80}}}}}},
			{Namespace: "shop", Name: "seen", Selector: map[string]string{"seen": "1"}, Action: mesh.Audit, Rules: []mesh.Rule{{}}},
		},
		PeerAuthentications: []mesh.PeerAuthentication{
			{Namespace: "shop", Name: "p", Selector: map[string]string{"app": "p"}, Mode: mesh.MTLSPermissive, Ports: map[uint16]mesh.MTLSMode{80: mesh.MTLSStrict}},
			{Namespace: "shop", Name: "q", Selector: map[string]string{"app": "q"}, Mode: mesh.MTLSStrict, Ports: map[uint16]mesh.MTLSMode{80: mesh.MTLSDisable}},
		},
	}
	s.Sort()
	v := &view{snapshot: s, named: map[account]string{}, represented: map[string]bool{}}
	key := func(labels map[string]string) string { return v.protectionOf(namedPod(1, labels)).key() }
	plain := key(nil)
	if key(map[string]string{"seen": "1"}) != plain {
		t.Error("a policy without effect makes another form")
	}
	different := map[string]bool{plain: true}
	for _, labels := range []map[string]string{{"app": "db"}, {"app": "p"}, {"app": "q"}, {mesh.LabelTunnel: mesh.TunnelH2}} {
		different[key(labels)] = true
	}
	v.represented[v.identity(namedPod(1, nil))] = true
	different[key(nil)] = true
	if len(different) != 6 {
		t.Errorf("6 pods that differ have %d forms", len(different))
	}
}

// TestPolicyWithMark refuses what a form would take for a place to fill in.
func TestPolicyWithMark(t *testing.T) {
	mark := anyCallee().secret
	for _, rule := range []mesh.Rule{
		from(mark), {From: []mesh.Source{{NotNamespaces: []string{mark}}}},
		{WhenCaller: []mesh.Source{{Namespaces: []string{"a", mark}}}}, {WhenCaller: []mesh.Source{{NotPrincipals: []string{mark}}}},
		{WhenCalled: []mesh.Operation{{SNI: []string{mark}}}}, {WhenCalled: []mesh.Operation{{NotSNI: []string{mark}}}},
	} {
		p := mesh.AuthorizationPolicy{Namespace: "shop", Name: "p", Rules: []mesh.Rule{rule}}
		if err := (policySet{allow: []*mesh.AuthorizationPolicy{&p}}).writable(); err == nil {
			t.Errorf("%v can be written", rule)
		}
	}
}

// TestOwnTrustDomain reads cluster.local in full identities as the mesh's own.
func TestOwnTrustDomain(t *testing.T) {
	for principal, want := range map[string]string{
		"cluster.local/ns/a/sa/b":   "corp/ns/a/sa/b",
		"cluster.local/ns/a/sa/*":   "corp/ns/a/sa/*",
		"other.local/ns/a/sa/b":     "other.local/ns/a/sa/b",
		"cluster.local/*":           "cluster.local/*",
		"cluster.locals/ns/a/sa/b":  "cluster.locals/ns/a/sa/b",
		"cluster.local/ns/a/sa/b/c": "cluster.local/ns/a/sa/b/c",
		"*":                         "*",
	} {
		if got := (ruleWriter{trustDomain: "corp"}).ownTrustDomain(principal); got != want {
			t.Errorf("%s became %s, want %s", principal, got, want)
		}
	}
}

// TestHostilePatterns wants every regular expression to compile, whatever a policy
// says: one that does not would have the proxy refuse the listener of all pods.
func TestHostilePatterns(t *testing.T) {
	for i, text := range []string{"[", "*[", "*(", `*\`, "*a{99999}", "*)", "*?", "*a++", "**", "a*b*", "*\x80"} {
		w := ruleWriter{engine: true, exact: i%2 == 0}
		for _, m := range []interface{ GetRegex() string }{
			w.identity(text).GetAuthenticated().GetPrincipalName().GetSafeRegex(),
			w.namespace(text).GetAuthenticated().GetPrincipalName().GetSafeRegex(),
		} {
			if _, err := regexp.Compile(m.GetRegex()); err != nil && strings.ToValidUTF8(text, "") == text {
				t.Errorf("%q: %v", text, err)
			}
		}
	}
}

// TestNamespacePatterns wants no part of an identity to be taken for another in the
// hardened profile. The article's form has the weakness of 2022.
func TestNamespacePatterns(t *testing.T) {
	for _, c := range []struct {
		pattern, identity string
		article, hardened bool
	}{
		{"default", "spiffe://td/ns/default/sa/sleep", true, true},
		{"default", "spiffe://td/ns/default2/sa/sleep", false, false},
		{"team-*", "spiffe://td/ns/team-a/sa/b", true, true},
		{"*-a", "spiffe://td/ns/team-a/sa/b", true, true},
		{"*", "spiffe://td.example/ns/any/sa/x.y", true, true},
		{"*a", "spiffe://td/ns/other/sa/b", true, false},

		{"o*a", "spiffe://td/ns/other/sa/b", true, false},
		{"sa", "spiffe://td/ns/ns/sa/b", true, false},
		{"x", "spiffe://td/ns/y/ns/x/sa/b", true, false},
		{"x", "CN=/ns/x/", true, false},
	} {
		for profile, want := range map[Profile]bool{Article: c.article, Hardened: c.hardened} {
			m := newRuleWriter("td", Options{Profile: profile}).namespace(c.pattern).GetAuthenticated().GetPrincipalName().GetSafeRegex()
			// Envoy wants the whole text to match.
			if got := regexp.MustCompile(`\A(?:` + m.GetRegex() + `)\z`).MatchString(c.identity); got != want {
				t.Errorf("%s: namespace %q matches %s: %v, want %v", profile, c.pattern, c.identity, got, want)
			}
		}
	}
}

// TestBrokenTextIsAnError wants what can't be put on the wire to be refused here.
func TestBrokenTextIsAnError(t *testing.T) {
	broken := mesh.AuthorizationPolicy{Namespace: "shop", Name: "p", Rules: []mesh.Rule{from("\xff")}}
	if _, err := filtersOf("td", namedPod(1, nil), broken); err == nil {
		t.Error("a principal that is no UTF-8 was written")
	}
}

// TestRuleNamesDiffer wants no rule lost to another of its name.
func TestRuleNamesDiffer(t *testing.T) {
	filters, err := filtersOf("td", namedPod(1, nil),
		mesh.AuthorizationPolicy{Namespace: "shop", Name: "p", Rules: []mesh.Rule{from("c")}},
		mesh.AuthorizationPolicy{Namespace: mesh.RootNamespace, Name: "p", Rules: []mesh.Rule{from("a"), from("b")}},
	)
	if err != nil {
		t.Fatal(err)
	}
	if got := len(rulesOf(t, filters[0])); got != 3 {
		t.Errorf("%d of 3 rules are there", got)
	}
}

func rulesOf(t *testing.T, f *listenerv3.Filter) map[string]bool {
	t.Helper()
	m := &networkrbacv3.RBAC{}
	if err := f.GetTypedConfig().UnmarshalTo(m); err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for name := range m.Rules.Policies {
		names[name] = true
	}
	return names
}
