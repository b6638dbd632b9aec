// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/testing/protocmp"
)

const (
	nodeA    = "gke-jimmy-cluster-default-pool-d5041909-d10i"
	twoPods  = "../../internal/manifest/testdata/two-pods"
	original = "../../envoyconfig/testdata"
)

func render(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), append([]string{"xds", "render"}, args...), nil, &out, &errs)
	return code, out.String(), errs.String()
}

// clusters reads a JSON list of clusters, in either spelling of field names.
func clusters(t *testing.T, text []byte) []*clusterv3.Cluster {
	t.Helper()
	var list []json.RawMessage
	if err := json.Unmarshal(text, &list); err != nil {
		t.Fatal(err)
	}
	var all []*clusterv3.Cluster
	for _, body := range list {
		var c clusterv3.Cluster
		if err := protojson.Unmarshal(body, &c); err != nil {
			t.Fatal(err)
		}
		all = append(all, &c)
	}
	return all
}

func TestRenderIsWhatTheOriginalServed(t *testing.T) {
	code, stdout, stderr := render(t, "--manifests", twoPods, "--node", nodeA, "--kind", "clusters")
	if code != 0 {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	want, err := os.ReadFile(filepath.Join(original, "a-clusters.json"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(clusters(t, want), clusters(t, []byte(stdout)), protocmp.Transform()); diff != "" {
		t.Errorf("(-original +rendered):\n%s", diff)
	}
	if !strings.Contains(stdout, `"lb_policy": "CLUSTER_PROVIDED"`) || strings.Contains(stdout, "type_url") {
		t.Error("field names are not those of a config_dump, or an Any is not spelled out")
	}
	for range 3 {
		if _, again, _ := render(t, "--manifests", twoPods, "--node", nodeA, "--kind", "clusters"); again != stdout {
			t.Error("the same mesh rendered differently")
		}
	}
}

// TestRenderForms renders each profile and dialect, which must show.
func TestRenderForms(t *testing.T) {
	for _, c := range []struct {
		kind, has string
		flags     []string
	}{
		{"clusters", `"match_subject_alt_names"`, []string{"--profile", "hardened"}},
		{"clusters", `"match_typed_subject_alt_names"`, []string{"--profile", "hardened", "--dialect", "upstream"}},
		{"listeners", `"require_client_certificate": true`, []string{"--profile", "hardened", "--dialect", "istio-1.16"}},
		{"endpoints", `"envoy.filters.listener.original_dst"`, []string{"--dialect", "upstream"}},
	} {
		args := []string{"--manifests", twoPods, "--node", nodeA, "--kind", c.kind}
		_, plain, _ := render(t, args...)
		code, stdout, stderr := render(t, append(args, c.flags...)...)
		if code != 0 || !strings.Contains(stdout, c.has) || strings.Contains(plain, c.has) {
			t.Errorf("%s %v: exit code %d, %s; %q is missing, or always there", c.kind, c.flags, code, stderr, c.has)
		}
	}
}

func TestRenderNamesWhatIsWrong(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		want []string
	}{
		"nothing":   {nil, []string{"--manifests is required", "--node is required", "--kind"}},
		"profile":   {[]string{"--manifests", twoPods, "--node", nodeA, "--kind", "clusters", "--profile", "soft", "--dialect", "envoy"}, []string{"--profile", "--dialect"}},
		"kind":      {[]string{"--manifests", twoPods, "--node", nodeA, "--kind", "routes"}, []string{"routes", "listeners, clusters, endpoints, extensions and all"}},
		"node":      {[]string{"--manifests", twoPods, "--node", "node-9", "--kind", "clusters"}, []string{"node-9", nodeA}},
		"no folder": {[]string{"--manifests", "/no/such", "--node", nodeA, "--kind", "clusters"}, []string{"/no/such"}},
		"domain":    {[]string{"--trust-domain", "spiffe://mesh.example"}, []string{`--trust-domain: "spiffe://mesh.example"`, "cluster.local"}},
		"no domain": {[]string{"--trust-domain", ""}, []string{"--trust-domain"}},
		"mode":      {[]string{"--mesh-mode", "maybe"}, []string{"--mesh-mode", "maybe"}},
	} {
		t.Run(name, func(t *testing.T) {
			code, stdout, stderr := render(t, c.args...)
			if code == 0 || stdout != "" {
				t.Errorf("exit code %d, output %q", code, stdout)
			}
			for _, want := range c.want {
				if !strings.Contains(stderr, want) {
					t.Errorf("the error does not say %q:\n%s", want, stderr)
				}
			}
		})
	}
}
