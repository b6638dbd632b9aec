// SPDX-License-Identifier: Apache-2.0

package envoyconfig_test

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/ambient22/ambient22/envoyconfig"
	"github.com/ambient22/ambient22/internal/golden"
)

// TestMeshes compares everything node A's ztunnel is served, in other meshes than
// the article's, with golden files.
func TestMeshes(t *testing.T) {
	all := scenarios()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		t.Run(name, func(t *testing.T) {
			r := buildScenario(t, all[name])
			if err := r.Verify(); err != nil {
				t.Error(err)
			}
			golden.Check(t, "testdata/meshes/"+name+".yaml", folded(t, r))
		})
	}
}

func buildScenario(t *testing.T, c scenario) *envoyconfig.Resources {
	t.Helper()
	s := articleMesh()
	c.change(s)
	c.options.Node, c.options.ProxyID = nodeA, "ztunnel-rts54.istio-system"
	r, err := envoyconfig.Build(s, c.options)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// folded is everything that is served, as YAML, with access logs shortened to
// their last words: they are long, and compared with 2022 elsewhere.
func folded(t *testing.T, r *envoyconfig.Resources) []byte {
	t.Helper()
	whole := map[string]any{"secrets": r.Secrets}
	for kind, list := range map[string][]*envoyconfig.Resource{
		"listeners": r.Listeners, "clusters": r.Clusters, "endpoints": r.Endpoints, "extensions": r.Extensions,
	} {
		text, err := envoyconfig.Render(list)
		if err != nil {
			t.Fatal(err)
		}
		var value any
		if err := json.Unmarshal(text, &value); err != nil {
			t.Fatal(err)
		}
		whole[kind] = fold(value)
	}
	text, err := yaml.Marshal(whole)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func fold(value any) any {
	switch v := value.(type) {
	case []any:
		for i := range v {
			v[i] = fold(v[i])
		}
	case map[string]any:
		for key := range v {
			if key == "access_log" {
				v[key] = place(v[key])
			} else {
				v[key] = fold(v[key])
			}
		}
	}
	return value
}

// place is the last words of an access log.
func place(log any) any {
	config := log.([]any)[0].(map[string]any)["typed_config"].(map[string]any)
	format := config["log_format"].(map[string]any)["text_format_source"].(map[string]any)["inline_string"].(string)
	_, words, _ := strings.Cut(format, "%ROUTE_NAME% ")
	return strings.TrimSpace(words)
}
