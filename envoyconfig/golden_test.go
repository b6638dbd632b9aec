// SPDX-License-Identifier: Apache-2.0

package envoyconfig_test

import (
	"cmp"
	"encoding/json"
	"os"
	"slices"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/ambient22/ambient22/envoyconfig"
)

// TestGolden compares, field by field, with what the control plane of September
// 2022 served to the two ztunnels of the article.
func TestGolden(t *testing.T) {
	for _, node := range []struct{ prefix, name, proxy string }{
		{"a", nodeA, "ztunnel-rts54.istio-system"},
		{"b", nodeB, "ztunnel-z4qmh.istio-system"},
	} {
		r, err := envoyconfig.Build(articleMesh(), envoyconfig.Options{Node: node.name, ProxyID: node.proxy})
		if err != nil {
			t.Fatal(err)
		}
		for file, resources := range map[string][]*envoyconfig.Resource{
			"listeners": r.Listeners, "clusters": r.Clusters, "endpoints": r.Endpoints, "ecds": r.Extensions,
		} {
			t.Run(node.prefix+"-"+file, func(t *testing.T) {
				want := readGolden(t, "testdata/"+node.prefix+"-"+file+".json")
				closeBlackHole(want)
				sortChains(want)
				got := generic(t, resources)
				sortChains(got)
				if diff := gocmp.Diff(want, got); diff != "" {
					t.Errorf("differs from 2022 (-2022 +here):\n%s", diff)
				}
			})
		}
	}
}

// closeBlackHole applies the one difference that is meant: in 2022 the matcher
// sent port 15001 to a chain that did not exist, beside one that pointed to a
// cluster that did not exist. Here chain and cluster exist by the matcher's name.
func closeBlackHole(listeners []map[string]any) {
	for _, l := range listeners {
		for _, chain := range chainsOf(l) {
			if chain["name"] != "blackhole outbound" {
				continue
			}
			chain["name"] = envoyconfig.BlackHoleCluster
			proxy := chain["filters"].([]any)[0].(map[string]any)["typedConfig"].(map[string]any)
			proxy["cluster"] = envoyconfig.BlackHoleCluster
		}
	}
}

// sortChains undoes the order of chains, which the golden files don't keep.
func sortChains(listeners []map[string]any) {
	for _, l := range listeners {
		chains := chainsOf(l)
		slices.SortFunc(chains, func(a, b map[string]any) int {
			x, _ := a["name"].(string)
			y, _ := b["name"].(string)
			return cmp.Compare(x, y)
		})
		if chains != nil {
			l["filterChains"] = chains
		}
	}
}

func chainsOf(listener map[string]any) []map[string]any {
	list, _ := listener["filterChains"].([]any)
	var chains []map[string]any
	for _, c := range list {
		chains = append(chains, c.(map[string]any))
	}
	return chains
}

func readGolden(t *testing.T, path string) []map[string]any {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var list []map[string]any
	if err := json.Unmarshal(text, &list); err != nil {
		t.Fatal(err)
	}
	return list
}

func generic(t *testing.T, resources []*envoyconfig.Resource) []map[string]any {
	t.Helper()
	var list []map[string]any
	for _, r := range resources {
		m, err := r.Message()
		if err != nil {
			t.Fatal(err)
		}
		text, err := protojson.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		var object map[string]any
		if err := json.Unmarshal(text, &object); err != nil {
			t.Fatal(err)
		}
		list = append(list, object)
	}
	return list
}
