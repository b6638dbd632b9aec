// SPDX-License-Identifier: Apache-2.0

package envoyconfig_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	gocmp "github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/ambient22/ambient22/envoyconfig"
	"github.com/ambient22/ambient22/internal/golden"
	"github.com/ambient22/ambient22/internal/manifest"
	"github.com/ambient22/ambient22/internal/mesh"
)

// policed are the filters in front of one pod. What is the same on port 15008 as
// on 15006, or in both profiles, is written once.
type policed struct {
	Plain       []json.RawMessage `json:"15006"`
	Tunnels     []json.RawMessage `json:"15008,omitempty"` // before the HCM
	HardPlain   []json.RawMessage `json:"15006 hardened,omitempty"`
	HardTunnels []json.RawMessage `json:"15008 hardened,omitempty"`          // before the HCM
	Requests    []json.RawMessage `json:"15008 hardened requests,omitempty"` // in it
}

// TestPolicies shows, for each manifest with policies, the filters that enforce
// them, pod by pod.
func TestPolicies(t *testing.T) {
	cases, err := filepath.Glob("testdata/rbac/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range cases {
		name := strings.TrimSuffix(filepath.Base(path), ".yaml")
		if name == "base" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			s := withBase(t, path)
			pods := map[string]policed{}
			for i := range s.Workloads {
				if w := &s.Workloads[i]; w.Class == mesh.InMesh {
					pods[w.Name] = police(t, s, w)
				}
			}
			var out bytes.Buffer
			e := json.NewEncoder(&out)
			e.SetEscapeHTML(false)
			e.SetIndent("", " ")
			if err := e.Encode(pods); err != nil {
				t.Fatal(err)
			}
			golden.Check(t, strings.TrimSuffix(path, ".yaml")+".json", out.String())
		})
	}
}

// withBase loads a manifest beside base.yaml.
func withBase(t *testing.T, path string) *mesh.Snapshot {
	t.Helper()
	dir := t.TempDir()
	for _, from := range []string{"testdata/rbac/base.yaml", path} {
		text, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(from)), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	s, err := manifest.Load(dir, manifest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func police(t *testing.T, s *mesh.Snapshot, w *mesh.Workload) policed {
	t.Helper()
	article := inboundChains(t, s, w, envoyconfig.Options{})
	hardened := inboundChains(t, s, w, envoyconfig.Options{Profile: envoyconfig.Hardened})
	p := policed{
		Plain:       ofConnection(t, article.plain),
		HardTunnels: ofConnection(t, hardened.tunnels),
		Requests:    ofRequest(t, hardened.tunnels),
	}
	if tunnels := ofConnection(t, article.tunnels); !gocmp.Equal(tunnels, p.Plain) {
		p.Tunnels = tunnels
	}
	if plain := ofConnection(t, hardened.plain); !gocmp.Equal(plain, p.Plain) {
		p.HardPlain = plain
	}
	sameUpstream(t, s, w, p)
	return p
}

// sameUpstream wants the other dialect to differ in the header that names the
// target, and in what is said about regular expressions.
func sameUpstream(t *testing.T, s *mesh.Snapshot, w *mesh.Workload, p policed) {
	t.Helper()
	chains := inboundChains(t, s, w, envoyconfig.Options{Profile: envoyconfig.Hardened, Dialect: envoyconfig.Upstream})
	words := strings.NewReplacer(`"x-envoy-original-dst-host"`, `":authority"`, `"google_re2":{},`, "")
	for _, both := range [][2][]json.RawMessage{
		{p.Requests, ofRequest(t, chains.tunnels)},
		{p.HardTunnels, ofConnection(t, chains.tunnels)},
	} {
		var want []json.RawMessage
		for _, f := range both[0] {
			want = append(want, json.RawMessage(words.Replace(string(f))))
		}
		if diff := gocmp.Diff(want, both[1]); diff != "" {
			t.Errorf("upstream differs (-want +got):\n%s", diff)
		}
	}
}

type chains struct{ tunnels, plain *listenerv3.FilterChain }

func inboundChains(t *testing.T, s *mesh.Snapshot, w *mesh.Workload, o envoyconfig.Options) chains {
	t.Helper()
	o.Node = w.Node
	r, err := envoyconfig.Build(s, o)
	if err != nil {
		t.Fatal(err)
	}
	var found chains
	for _, resource := range r.Listeners {
		m, err := resource.Message()
		if err != nil {
			t.Fatal(err)
		}
		for _, chain := range m.(*listenerv3.Listener).FilterChains {
			switch {
			case chain.Name != "inbound_"+w.IP.String():
			case resource.Name == envoyconfig.InboundListener:
				found.tunnels = chain
			case resource.Name == envoyconfig.InboundPlaintextListener:
				found.plain = chain
			}
		}
	}
	if found.tunnels == nil || found.plain == nil {
		t.Fatalf("pod %s has no inbound chains", w.Name)
	}
	return found
}

// ofConnection are a chain's filters but the last, which is no policy's.
func ofConnection(t *testing.T, chain *listenerv3.FilterChain) []json.RawMessage {
	t.Helper()
	var list []json.RawMessage
	for _, f := range chain.Filters[:len(chain.Filters)-1] {
		list = append(list, asJSON(t, f))
	}
	return list
}

// ofRequest are the HTTP filters of a chain's last filter, but the router.
func ofRequest(t *testing.T, chain *listenerv3.FilterChain) []json.RawMessage {
	t.Helper()
	hcm := &hcmv3.HttpConnectionManager{}
	if err := chain.Filters[len(chain.Filters)-1].GetTypedConfig().UnmarshalTo(hcm); err != nil {
		t.Fatal(err)
	}
	var list []json.RawMessage
	for _, f := range hcm.HttpFilters[:len(hcm.HttpFilters)-1] {
		list = append(list, asJSON(t, f))
	}
	return list
}

// asJSON sorts the keys, too.
func asJSON(t *testing.T, m proto.Message) json.RawMessage {
	t.Helper()
	text, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	var value any
	if err := json.Unmarshal(text, &value); err != nil {
		t.Fatal(err)
	}
	text, err = json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
