// SPDX-License-Identifier: Apache-2.0

package manifest_test

import (
	"net/netip"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ambient22/ambient22/internal/manifest"
	"github.com/ambient22/ambient22/internal/mesh"
)

// TestPolicies loads policies of both versions, alone, in a List and in a list of
// their kind, as kubectl and the API server print them.
func TestPolicies(t *testing.T) {
	const policies = `apiVersion: security.istio.io/v1beta1
kind: AuthorizationPolicy
metadata:
  name: callers
  namespace: shop
  annotations: {istio.io/dry-run: "true"}
  creationTimestamp: "2022-11-08T06:31:00Z"
  managedFields: [{manager: kubectl, operation: Update}]
spec:
  selector: {matchLabels: {app: web}}
  action: DENY
  rules:
  - from:
    - source: {notPrincipals: [cluster.local/ns/default/sa/sleep], ipBlocks: [10.4.4.19, 10.4.3.7/16]}
    to:
    - operation: {ports: ["9080"], methods: [GET]}
    when:
    - {key: destination.port, notValues: ["9081"]}
    - {key: source.namespace, values: [default]}
    - {key: "request.headers[x-team]", values: [a]}
status: {conditions: []}
---
apiVersion: v1
kind: List
items:
- apiVersion: security.istio.io/v1
  kind: AuthorizationPolicy
  metadata: {name: nothing}
- apiVersion: security.istio.io/v1
  kind: PeerAuthentication
  metadata: {name: mesh, namespace: istio-system, creationTimestamp: "2022-11-08T06:30:00Z"}
  spec: {mtls: {mode: STRICT}}
---
apiVersion: security.istio.io/v1beta1
kind: PeerAuthenticationList
metadata: {resourceVersion: "7"}
items:
- metadata: {name: web, namespace: shop}
  spec:
    selector: {matchLabels: {app: web}}
    portLevelMtls:
      9080: {mode: PERMISSIVE}
      "9081": {}
`
	dir := t.TempDir()
	copyFile(t, "testdata/broken/base.yaml", filepath.Join(dir, "base.yaml"))
	write(t, filepath.Join(dir, "policies.yaml"), policies)
	s, err := manifest.Load(dir, manifest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	web := map[string]string{"app": "web"}
	wantPolicies := []mesh.AuthorizationPolicy{
		{Namespace: "default", Name: "nothing"},
		{
			Namespace: "shop", Name: "callers", Action: mesh.Deny, DryRun: true, Selector: web,
			Rules: []mesh.Rule{{
				From: []mesh.Source{{
					NotPrincipals: []string{"cluster.local/ns/default/sa/sleep"},
					IPBlocks:      []netip.Prefix{netip.MustParsePrefix("10.4.4.19/32"), netip.MustParsePrefix("10.4.3.7/16")},
				}},
				To:         []mesh.Operation{{Ports: []uint16{9080}}},
				WhenCaller: []mesh.Source{{Namespaces: []string{"default"}}},
				WhenCalled: []mesh.Operation{{NotPorts: []uint16{9081}}},
				Unusable:   []string{"to[0].operation.methods", "when[2].key"},
			}},
		},
	}
	wantModes := []mesh.PeerAuthentication{
		{Namespace: "istio-system", Name: "mesh", Created: time.Date(2022, 11, 8, 6, 30, 0, 0, time.UTC), Mode: mesh.MTLSStrict},
		{Namespace: "shop", Name: "web", Selector: web, Ports: map[uint16]mesh.MTLSMode{9080: mesh.MTLSPermissive, 9081: mesh.MTLSUnset}},
	}
	sameBlock := cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })
	if diff := cmp.Diff(wantPolicies, s.Policies, sameBlock); diff != "" {
		t.Errorf("policies differ (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(wantModes, s.PeerAuthentications); diff != "" {
		t.Errorf("modes differ (-want +got):\n%s", diff)
	}
}
