// SPDX-License-Identifier: Apache-2.0

package kube_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ambient22/ambient22/internal/kube"
	"github.com/ambient22/ambient22/internal/mesh"
)

func policy(t *testing.T, text string) *kube.AuthorizationPolicy {
	t.Helper()
	p := &kube.AuthorizationPolicy{}
	if err := json.Unmarshal([]byte(`{"metadata": {"name": "p", "namespace": "shop"}, "spec": `+text+`}`), p); err != nil {
		t.Fatal(err)
	}
	return p
}

// TestBrokenRules wants a policy with a broken part to let in no more than the
// whole would: who can't mend it at once must not be open meanwhile.
func TestBrokenRules(t *testing.T) {
	for name, c := range map[string]struct {
		rule     string
		want     mesh.Rule
		problems int
	}{
		"one of two ports": {
			`{"to": [{"operation": {"ports": ["80", "x"], "notPorts": ["81"]}}]}`,
			mesh.Rule{To: []mesh.Operation{{NotPorts: []uint16{81}}}, Unusable: []string{"to[0].operation.ports[1]"}}, 1,
		},
		"one of two exceptions": {
			`{"from": [{"source": {"notNamespaces": ["a", ""], "namespaces": ["b"]}}]}`,
			mesh.Rule{From: []mesh.Source{{Namespaces: []string{"b"}}}, Unusable: []string{"from[0].source.notNamespaces[1]"}}, 1,
		},
		"unknown key": {
			`{"when": [{"key": "source.port", "values": ["1"]}, {"key": "source.namespace", "values": ["a"]}]}`,
			mesh.Rule{WhenCaller: []mesh.Source{{Namespaces: []string{"a"}}}, Unusable: []string{"when[0].key"}}, 1,
		},
		"for HTTP, no problem": {
			`{"from": [{"source": {"requestPrincipals": ["*"], "notRequestPrincipals": ["x"]}}], "to": [{"operation": {"hosts": ["a"], "notHosts": ["b"], "methods": ["GET"], "notMethods": ["PUT"], "paths": ["/"], "notPaths": ["/x"]}}],
				"when": [{"key": "request.headers[a]", "values": ["b"]}, {"key": "request.auth.claims[a]", "notValues": ["b"]}]}`,
			mesh.Rule{From: []mesh.Source{{}}, To: []mesh.Operation{{}}, Unusable: []string{
				"from[0].source.requestPrincipals", "from[0].source.notRequestPrincipals",
				"to[0].operation.hosts", "to[0].operation.notHosts", "to[0].operation.methods",
				"to[0].operation.notMethods", "to[0].operation.paths", "to[0].operation.notPaths", "when[0].key", "when[1].key",
			}}, 0,
		},
		"later fields": {
			`{"from": [{"source": {"serviceAccounts": ["a"], "trustDomains": ["b"], "namespaces": ["c"]}}]}`,
			mesh.Rule{From: []mesh.Source{{Namespaces: []string{"c"}}}, Unusable: []string{"from[0].source.serviceAccounts", "from[0].source.trustDomains"}}, 2,
		},
		"characters that no name has": {
			`{"from": [{"source": {"principals": ["\uE022h1\uE023"], "notPrincipals": ["b"]}}], "when": [{"key": "connection.sni", "values": ["a\tb"]}]}`,
			mesh.Rule{
				From: []mesh.Source{{NotPrincipals: []string{"b"}}}, WhenCalled: []mesh.Operation{{}},
				Unusable: []string{"from[0].source.principals[0]", "when[0].values[0]"},
			}, 2,
		},
		"empty": {`{}`, mesh.Rule{}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			objects := one()
			objects.AuthorizationPolicies = []*kube.AuthorizationPolicy{policy(t, `{"action": "DENY", "rules": [`+c.rule+`]}`)}
			s, problems := kube.Snapshot(objects, kube.Options{})
			if len(problems) != c.problems || len(s.Policies) != 1 {
				t.Fatalf("problems %v, policies %+v", problems, s.Policies)
			}
			if diff := cmp.Diff([]mesh.Rule{c.want}, s.Policies[0].Rules, cmp.Comparer(samePrefix)); diff != "" {
				t.Errorf("the rule differs (-want +got):\n%s", diff)
			}
		})
	}
}

// TestUnusablePolicies leaves policies out that nobody could hold a connection
// against, and keeps the others.
func TestUnusablePolicies(t *testing.T) {
	for name, spec := range map[string]string{
		"CUSTOM":         `{"action": "CUSTOM", "provider": {"name": "x"}, "rules": [{}]}`,
		"provider":       `{"provider": {"name": "x"}}`,
		"target":         `{"targetRef": {"kind": "Gateway", "name": "x"}}`,
		"targets":        `{"targetRefs": [{"kind": "Gateway", "name": "x"}]}`,
		"unknown action": `{"action": 7}`,
		"wildcard":       `{"selector": {"matchLabels": {"app": "*"}}}`,
	} {
		t.Run(name, func(t *testing.T) {
			objects := one()
			good := policy(t, `{}`)
			good.Name = "good"
			objects.AuthorizationPolicies = []*kube.AuthorizationPolicy{policy(t, spec), good}
			s, problems := kube.Snapshot(objects, kube.Options{})
			if len(problems) != 1 || problems[0].Fix == "" || problems[0].Object.String() != "AuthorizationPolicy shop/p" {
				t.Errorf("problems: %v", problems)
			}
			if len(s.Policies) != 1 || s.Policies[0].Name != "good" {
				t.Errorf("policies: %+v", s.Policies)
			}
		})
	}
}

// TestDryRunAnnotation reads truth as Go writes it, and enforces what it can't
// read.
func TestDryRunAnnotation(t *testing.T) {
	for value, want := range map[string]bool{"true": true, "True": true, "1": true, "false": false, "maybe": false} {
		p := policy(t, `{}`)
		p.Annotations = map[string]string{mesh.AnnotationDryRun: value}
		objects := one()
		objects.AuthorizationPolicies = []*kube.AuthorizationPolicy{p}
		s, problems := kube.Snapshot(objects, kube.Options{})
		if len(s.Policies) != 1 || s.Policies[0].DryRun != want || (len(problems) > 0) != (value == "maybe") {
			t.Errorf("%q: policies %+v, problems %v", value, s.Policies, problems)
		}
	}
}

// TestSamePolicyTwice keeps one of two with a name, which only files can hold.
func TestSamePolicyTwice(t *testing.T) {
	objects := one()
	objects.AuthorizationPolicies = []*kube.AuthorizationPolicy{policy(t, `{}`), policy(t, `{}`)}
	objects.PeerAuthentications = []*kube.PeerAuthentication{{}, {}}
	s, problems := kube.Snapshot(objects, kube.Options{})
	if len(s.Policies) != 1 || len(s.PeerAuthentications) != 0 {
		t.Errorf("policies %+v, modes %+v", s.Policies, s.PeerAuthentications)
	}
	if len(problems) == 0 || !strings.Contains(problems[0].Error(), "two objects have this name") {
		t.Errorf("problems: %v", problems)
	}
}

func TestDeepCopy(t *testing.T) {
	p := policy(t, `{"selector": {"matchLabels": {"app": "web"}}}`)
	c := p.DeepCopyObject().(*kube.AuthorizationPolicy)
	c.Spec.Selector.MatchLabels["app"] = "db"
	if p.Spec.Selector.MatchLabels["app"] != "web" {
		t.Error("the copy shares its selector")
	}
	m := &kube.PeerAuthentication{}
	m.Labels = map[string]string{"a": "b"}
	m.DeepCopyObject().(*kube.PeerAuthentication).Labels["a"] = "c"
	if m.Labels["a"] != "b" {
		t.Error("the copy shares its labels")
	}
}
