// SPDX-License-Identifier: Apache-2.0

package envoyconfig_test

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	gocmp "github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/ambient22/ambient22/envoyconfig"
)

// differencesDoc is the document whose table says what is served differently than
// in 2022, and the heading above the table.
const (
	differencesDoc   = "../docs/differences.md"
	differencesTitle = "## Field by field, for the article's mesh"
)

// TestGolden compares, field by field, with what the control plane of September
// 2022 served to the two ztunnels of the article. The differences are exactly
// those that the table in the document names.
func TestGolden(t *testing.T) {
	want := documentedDifferences(t)
	for _, node := range []struct{ prefix, name, proxy string }{
		{"a", nodeA, "ztunnel-rts54.istio-system"},
		{"b", nodeB, "ztunnel-z4qmh.istio-system"},
	} {
		r, err := envoyconfig.Build(articleMesh(), envoyconfig.Options{Node: node.name, ProxyID: node.proxy})
		if err != nil {
			t.Fatal(err)
		}
		var got []difference
		for _, kind := range []struct {
			file   string
			list   []*envoyconfig.Resource
			decode func() proto.Message
		}{
			{"listeners", r.Listeners, func() proto.Message { return &listenerv3.Listener{} }},
			{"clusters", r.Clusters, func() proto.Message { return &clusterv3.Cluster{} }},
			{"endpoints", r.Endpoints, func() proto.Message { return &endpointv3.ClusterLoadAssignment{} }},
			{"ecds", r.Extensions, func() proto.Message { return &corev3.TypedExtensionConfig{} }},
		} {
			then := readGolden(t, "testdata/"+node.prefix+"-"+kind.file+".json", kind.decode)
			got = append(got, compareResources(then, resourceTrees(t, kind.list))...)
		}
		if diff := gocmp.Diff(want, got); diff != "" {
			t.Errorf("what differs from 2022 on node %s is not what %s says (-document +found):\n%s", node.prefix, differencesDoc, diff)
		}
	}
}

// documentedDifferences reads the document's table: resource, field, then, here,
// and why, of which the first four are code.
func documentedDifferences(t *testing.T) []difference {
	t.Helper()
	text, err := os.ReadFile(differencesDoc)
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(text), differencesTitle+"\n")
	if !found {
		t.Fatalf("%s has no section %q", differencesDoc, differencesTitle)
	}
	section, _, _ = strings.Cut(section, "\n## ")
	var rows []difference
	for line := range strings.Lines(section) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) != 5 || !strings.Contains(cells[0], "`") {
			continue
		}
		for i := range cells {
			cells[i] = strings.Trim(cells[i], " `")
		}
		rows = append(rows, difference{Resource: cells[0], Field: cells[1], Then: cells[2], Here: cells[3]})
	}
	return rows
}

// readGolden reads a list of messages as trees. A field that the message does not
// have is an error.
func readGolden(t *testing.T, path string, message func() proto.Message) map[string]any {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var list []json.RawMessage
	if err := json.Unmarshal(text, &list); err != nil {
		t.Fatal(err)
	}
	var messages []proto.Message
	for _, item := range list {
		m := message()
		if err := protojson.Unmarshal(item, m); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		messages = append(messages, m)
	}
	return trees(t, messages)
}

func resourceTrees(t *testing.T, resources []*envoyconfig.Resource) map[string]any {
	t.Helper()
	var messages []proto.Message
	for _, r := range resources {
		m, err := r.Message()
		if err != nil {
			t.Fatal(err)
		}
		messages = append(messages, m)
	}
	return trees(t, messages)
}

// trees are messages by name, as JSON with proto field names.
func trees(t *testing.T, messages []proto.Message) map[string]any {
	t.Helper()
	all := map[string]any{}
	for _, m := range messages {
		text, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		var tree map[string]any
		if err := json.Unmarshal(text, &tree); err != nil {
			t.Fatal(err)
		}
		name, _ := tree["name"].(string)
		if name == "" {
			name, _ = tree["cluster_name"].(string)
		}
		all[name] = tree
	}
	return all
}

// TestDocumentedDifferences wants at least one: otherwise the table was not found.
func TestDocumentedDifferences(t *testing.T) {
	rows := documentedDifferences(t)
	if len(rows) == 0 || slices.ContainsFunc(rows, func(d difference) bool { return d.Field == "" }) {
		t.Errorf("the table in %s reads as %v", differencesDoc, rows)
	}
}
