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

// filtersOf is a policyFilters for a mesh with these policies.
func filtersOf(trustDomain string, policies ...mesh.AuthorizationPolicy) (*policyFilters, *packer) {
	s := &mesh.Snapshot{TrustDomain: trustDomain, Policies: policies}
	p := &packer{}
	return newPolicyFilters(p, s, true), p
}

func namedPod(i int, labels map[string]string) *mesh.Workload {
	return &mesh.Workload{Namespace: "shop", Name: fmt.Sprint("pod", i), IP: netip.AddrFrom4([4]byte{10, 4, byte(i >> 8), byte(i)}), Labels: labels}
}

func from(principals ...string) mesh.Rule {
	return mesh.Rule{From: []mesh.Source{{Principals: principals}}}
}

func TestPodsShareFilters(t *testing.T) {
	f, p := filtersOf(mesh.DefaultTrustDomain,
		mesh.AuthorizationPolicy{Namespace: "shop", Name: "all", Rules: []mesh.Rule{from("a")}},
		mesh.AuthorizationPolicy{Namespace: "shop", Name: "db", Selector: map[string]string{"app": "db"}, Rules: []mesh.Rule{{To: []mesh.Operation{{Ports: []uint16{80}}}}}},
		mesh.AuthorizationPolicy{Namespace: "shop", Name: "seen", Selector: map[string]string{"seen": "1"}, Action: mesh.Audit, Rules: []mesh.Rule{{}}},
	)
	db := map[string]string{"app": "db"}
	plain, seen, db1, db2 := namedPod(1, nil), namedPod(2, map[string]string{"seen": "1"}), namedPod(3, db), namedPod(4, db)
	if f.networkFilters(plain)[0] != f.networkFilters(seen)[0] || f.networkFilters(db1)[0] != f.networkFilters(db2)[0] {
		t.Error("pods with the same policies have network filters of their own")
	}
	if f.httpFilters(plain, "h")[0] != f.httpFilters(seen, "h")[0] {
		t.Error("pods with the same policies have HTTP filters of their own, though none asks for a port")
	}
	if f.networkFilters(plain)[0] == f.networkFilters(db1)[0] || f.httpFilters(db1, "h")[0] == f.httpFilters(db2, "h")[0] || f.httpFilters(db1, "h")[0] == f.httpFilters(db1, "i")[0] {
		t.Error("filters are shared that differ")
	}
	if p.err != nil {
		t.Error(p.err)
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
	for _, text := range []string{"[", "*[", "*(", `*\`, "*a{99999}", "*)", "*?", "*a++", "**", "a*b*", "*\x80"} {
		w := ruleWriter{engine: true}
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

// TestBrokenTextIsAnError wants what can't be put on the wire to be refused here.
func TestBrokenTextIsAnError(t *testing.T) {
	f, p := filtersOf("td", mesh.AuthorizationPolicy{Namespace: "shop", Name: "p", Rules: []mesh.Rule{from("\xff")}})
	f.networkFilters(namedPod(1, nil))
	if p.err == nil {
		t.Error("a principal that is no UTF-8 was written")
	}
}

// TestRuleNamesDiffer wants no rule lost to another of its name.
func TestRuleNamesDiffer(t *testing.T) {
	f, _ := filtersOf("td",
		mesh.AuthorizationPolicy{Namespace: "shop", Name: "p", Rules: []mesh.Rule{from("c")}},
		mesh.AuthorizationPolicy{Namespace: mesh.RootNamespace, Name: "p", Rules: []mesh.Rule{from("a"), from("b")}},
	)
	if got := len(rulesOf(t, f.networkFilters(namedPod(1, nil))[0])); got != 3 {
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

// BenchmarkPolicies is a node with 250 pods of 10 applications, in a namespace
// with 100 policies of 5 rules.
func BenchmarkPolicies(b *testing.B) {
	var policies []mesh.AuthorizationPolicy
	for i := range 100 {
		p := mesh.AuthorizationPolicy{Namespace: "shop", Name: fmt.Sprintf("p%03d", i), Selector: map[string]string{"app": fmt.Sprint(i % 10)}}
		for j := range 5 {
			p.Rules = append(p.Rules, from(fmt.Sprintf("cluster.local/ns/shop/sa/%d", j)))
		}
		policies = append(policies, p)
	}
	var pods []*mesh.Workload
	for i := range 250 {
		pods = append(pods, namedPod(i, map[string]string{"app": fmt.Sprint(i % 10)}))
	}
	b.ReportAllocs()
	for b.Loop() {
		f, _ := filtersOf(mesh.DefaultTrustDomain, policies...)
		for _, w := range pods {
			f.networkFilters(w)
			f.httpFilters(w, "h")
		}
	}
}
