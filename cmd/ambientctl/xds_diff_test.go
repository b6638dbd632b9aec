// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ambient22/ambient22/envoyconfig"
	"github.com/ambient22/ambient22/internal/kube"
	"github.com/ambient22/ambient22/internal/manifest"
	"github.com/ambient22/ambient22/internal/proxy/admin"
	"github.com/ambient22/ambient22/internal/proxy/state"
)

func ambientctl(t *testing.T, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), args, strings.NewReader(stdin), &out, &errs)
	return code, out.String(), errs.String()
}

func saved(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file.json")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// proxyWith is a proxy that took all it was served.
type proxyWith struct{ r *envoyconfig.Resources }

func (p proxyWith) Ready() bool { return true }

func (p proxyWith) State() *state.Snapshot {
	kind := func(resources []*envoyconfig.Resource) state.Kind {
		k := state.Kind{Version: "1"}
		for _, r := range resources {
			active := &state.Accepted{Version: r.Version, Updated: time.Now(), Body: r.Body()}
			k.Resources = append(k.Resources, state.Resource{Name: r.Name, Active: active})
		}
		return k
	}
	return &state.Snapshot{
		Listeners: kind(p.r.Listeners), Clusters: kind(p.r.Clusters), Endpoints: kind(p.r.Endpoints), Extensions: kind(p.r.Extensions),
	}
}

// TestDiffOfDumpAndRender compares what a proxy dumps with what is rendered offline.
func TestDiffOfDumpAndRender(t *testing.T) {
	mesh, err := manifest.Load(twoPods, manifest.Options{TrustDomain: "cluster.local", Mode: kube.ModeDefault, Node: nodeA})
	if err != nil {
		t.Fatal(err)
	}
	built, err := envoyconfig.Build(mesh, envoyconfig.Options{Node: nodeA, ProxyID: mesh.ProxyID(nodeA)})
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	admin.New(admin.Config{Source: proxyWith{built}}).ServeHTTP(w, httptest.NewRequest("GET", "/config_dump?include_eds", nil))
	dump := saved(t, w.Body.String())
	for _, kind := range []string{"listeners", "clusters", "endpoints", "extensions", "all"} {
		_, rendered, stderr := render(t, "--manifests", twoPods, "--node", nodeA, "--kind", kind)
		code, stdout, more := ambientctl(t, rendered, "xds", "diff", dump, "-")
		if code != 0 || stderr+more != "" || !strings.Contains(stdout, "0 only in A, 0 only in B, 0 differ") {
			t.Errorf("%s: exit code %d\n%s%s", kind, code, stdout, more)
		}
		if kind == "endpoints" {
			if code, stdout, _ := ambientctl(t, rendered, "xds", "diff", "--show-added", dump, "-"); code != 1 || !strings.Contains(stdout, `health_status: "HEALTHY"`) {
				t.Errorf("what the dump adds: exit code %d\n%s", code, stdout)
			}
		}
	}
}

// TestDiffWithTheOriginal: the one thing that is different on purpose.
func TestDiffWithTheOriginal(t *testing.T) {
	_, rendered, _ := render(t, "--manifests", twoPods, "--node", nodeA, "--kind", "listeners")
	code, stdout, stderr := ambientctl(t, rendered, "xds", "diff", filepath.Join(original, "a-listeners.json"), "-")
	const want = `~ listener ztunnel_outbound
    ~ filter_chains[blackhole outbound].filters[envoy.filters.network.tcp_proxy].typed_config.cluster: "blackhole outbound" → "BlackHoleCluster"
    ~ filter_chains[blackhole outbound].name: "blackhole outbound" → "BlackHoleCluster"
4 resources equal, 0 only in A, 0 only in B, 1 differ (2 differences)
`
	if code != 1 || stdout != want || stderr != "" {
		t.Errorf("exit code %d\n%s%s", code, stdout, stderr)
	}
}

func TestDiffAsJSON(t *testing.T) {
	a, b := saved(t, `[{"name":"c","type":"EDS","alt_stat_name":"<x>"}]`), saved(t, `[{"name":"c","type":"STATIC"},{"name":"d","type":"EDS"}]`)
	code, stdout, _ := ambientctl(t, "", "xds", "diff", "--json", a, b)
	var got struct {
		A, B      string
		Resources []struct {
			Op, Type, Name string
			Differences    []struct {
				Op, Path string
				Old, New any
			}
		}
		Summary map[string]any
	}
	if err := json.Unmarshal([]byte(stdout), &got); err != nil {
		t.Fatalf("%v\n%s", err, stdout)
	}
	if code != 1 || got.A != a || got.B != b || len(got.Resources) != 2 || len(got.Resources[0].Differences) != 2 {
		t.Fatalf("exit code %d\n%s", code, stdout)
	}
	first, second := got.Resources[0].Differences[0], got.Resources[0].Differences[1]
	if first.Op != "remove" || first.Path != "alt_stat_name" || first.Old != "<x>" || first.New != nil ||
		second.Op != "change" || second.Old != "EDS" || second.New != "STATIC" || got.Resources[1].Op != "add" || got.Summary["changed"] != 1.0 {
		t.Errorf("%s", stdout)
	}
	code, stdout, _ = ambientctl(t, "", "xds", "diff", "--json", a, a)
	if err := json.Unmarshal([]byte(stdout), &got); err != nil || code != 0 || len(got.Resources) != 0 {
		t.Errorf("the same: exit code %d, %v\n%s", code, err, stdout)
	}
}

func TestDiffColour(t *testing.T) {
	a, b := saved(t, `[{"name":"c","type":"EDS"}]`), saved(t, `[{"name":"d","type":"EDS"}]`)
	if _, stdout, _ := ambientctl(t, "", "xds", "diff", a, b); strings.Contains(stdout, "\x1b") {
		t.Errorf("colour where there is no terminal: %q", stdout)
	}
	if _, stdout, _ := ambientctl(t, "", "xds", "diff", "--color=always", a, b); !strings.Contains(stdout, "\x1b[31m- cluster c (only in A)\x1b[0m\n") {
		t.Errorf("no colour: %q", stdout)
	}
}

// TestDiffInTrouble: trouble is never taken for a difference.
func TestDiffInTrouble(t *testing.T) {
	good, bad := saved(t, `[{"name":"c","type":"EDS"}]`), saved(t, "[\n{\"name\":}]")
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"one file":       {[]string{good}, "comparing takes two files, not 1"},
		"no such flag":   {[]string{"--what", good, good}, "--what"},
		"no such file":   {[]string{good, "/no/such"}, "/no/such"},
		"bad file":       {[]string{good, bad}, bad + ": line 2 (byte 10)"},
		"no such kind":   {[]string{"--kind", "pods", good, good}, `"pod" is none of`},
		"no such colour": {[]string{"--color=red", good, good}, `"red"`},
		"stdin twice":    {[]string{"-", "-"}, "standard input"},
	} {
		code, stdout, stderr := ambientctl(t, "", append([]string{"xds", "diff"}, c.args...)...)
		if code != 2 || stdout != "" || !strings.Contains(stderr, c.want) {
			t.Errorf("%s: exit code %d, %q, %q", name, code, stdout, stderr)
		}
	}
	if code, _, stderr := ambientctl(t, "", "xds", "dif", good, good); code == 0 || !strings.Contains(stderr, `"dif"`) {
		t.Errorf("a mistyped command: exit code %d, %s", code, stderr)
	}
	if code, _, stderr := ambientctl(t, "", "xds", "diff", "--kind", "clusters", good, good); code != 0 {
		t.Errorf("the plural: exit code %d, %s", code, stderr)
	}
}
