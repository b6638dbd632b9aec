// SPDX-License-Identifier: Apache-2.0

package xdsdiff_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ambient22/ambient22/internal/xdsdiff"
)

// dump is a config_dump with one resource of every kind.
const dump = `{"configs":[
 {"@type":"type.googleapis.com/envoy.admin.v3.BootstrapConfigDump","bootstrap":{"node":{"id":"ztunnel~1"}},"last_updated":"2022-11-11T07:00:00Z"},
 {"@type":"type.googleapis.com/envoy.admin.v3.ClustersConfigDump","version_info":"7",
  "static_clusters":[{"cluster":{"@type":"type.googleapis.com/envoy.config.cluster.v3.Cluster","name":"xds-grpc","type":"STATIC"},"last_updated":"2022-11-11T07:00:00Z"}],
  "dynamic_active_clusters":[{"version_info":"7","cluster":{"@type":"type.googleapis.com/envoy.config.cluster.v3.Cluster","name":"c","type":"EDS"}}],
  "dynamic_warming_clusters":[{"cluster":{"@type":"type.googleapis.com/envoy.config.cluster.v3.Cluster","name":"w","type":"EDS"}}]},
 {"@type":"type.googleapis.com/envoy.admin.v3.EcdsConfigDump","ecds_filters":[{"ecds_filter":{"@type":"type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig","name":"x"}}]},
 {"@type":"type.googleapis.com/envoy.admin.v3.EndpointsConfigDump","dynamic_endpoint_configs":[{"endpoint_config":{"@type":"type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment","cluster_name":"c",
  "endpoints":[{"locality":{},"lb_endpoints":[{"endpoint":{"address":{"socket_address":{"address":"10.4.3.20","port_value":80}},"health_check_config":{}},"health_status":"HEALTHY","load_balancing_weight":1}]}],"policy":{"overprovisioning_factor":140}}}]},
 {"@type":"type.googleapis.com/envoy.admin.v3.ListenersConfigDump","dynamic_listeners":[
  {"name":"l","active_state":{"version_info":"1","listener":{"@type":"type.googleapis.com/envoy.config.listener.v3.Listener","name":"l"},"last_updated":"2022-11-11T07:33:10.485Z"},
   "error_state":{"failed_configuration":{"@type":"type.googleapis.com/envoy.config.listener.v3.Listener","name":"l","transparent":true},"last_update_attempt":"2022-11-11T08:00:00Z","details":"no such filter","version_info":"2"}}]},
 {"@type":"type.googleapis.com/envoy.admin.v3.ScopedRoutesConfigDump"},
 {"@type":"type.googleapis.com/envoy.admin.v3.RoutesConfigDump","dynamic_route_configs":[{"route_config":{"@type":"type.googleapis.com/envoy.config.route.v3.RouteConfiguration","name":"r","virtual_hosts":[{"name":"v","routes":[{"match":{"prefix":"/a"}},{"match":{"prefix":"/b"}}]}]}}]},
 {"@type":"type.googleapis.com/envoy.admin.v3.SecretsConfigDump","dynamic_active_secrets":[{"name":"s","secret":{"@type":"type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret","name":"s"}}]}
]}`

func replaced(text string, pairs ...string) string {
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(text, pairs[i]) {
			panic("no " + pairs[i])
		}
	}
	return strings.NewReplacer(pairs...).Replace(text)
}

func TestDumps(t *testing.T) {
	if out := compare(t, dump, replaced(dump, "07:33:10.485Z", "09:00:00Z", `"version_info":"1"`, `"version_info":"99"`, "T08:00:00Z", "T09:00:00Z", `"version_info":"2"`, `"version_info":"3"`), xdsdiff.Options{}); out != "" {
		t.Errorf("versions and times differ:\n%s", out)
	}
	got := compare(t, dump, replaced(dump, "ztunnel~1", "ztunnel~2", `"name":"xds-grpc","type":"STATIC"`, `"name":"xds-grpc","type":"EDS"`, `"name":"w"`, `"name":"w2"`,
		"no such filter", "no such cluster", `{"prefix":"/a"}},{"match":{"prefix":"/b"}}`, `{"prefix":"/b"}},{"match":{"prefix":"/a"}}`, "140", "150"), xdsdiff.Options{})
	want := `~ bootstrap
    ~ node.id: "ztunnel~1" → "ztunnel~2"
~ endpoint c
    ~ policy.overprovisioning_factor: 140 → 150
~ rejected listener l
    ~ details: "no such filter" → "no such cluster"
~ route r
    ~ virtual_hosts[v].routes: order ["{\"prefix\":\"/a\"}","{\"prefix\":\"/b\"}"] → ["{\"prefix\":\"/b\"}","{\"prefix\":\"/a\"}"]
~ static cluster xds-grpc
    ~ type: "STATIC" → "EDS"
- warming cluster w (only in A)
+ warming cluster w2 (only in B)
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestShapes: the same resource in every shape in which it may come.
func TestShapes(t *testing.T) {
	const listener = `{"name":"l","transparent":true}`
	const packed = `{"@type":"type.googleapis.com/envoy.config.listener.v3.Listener","name":"l","transparent":true}`
	const entry = `{"name":"l","active_state":{"listener":` + packed + `}}`
	shapes := map[string]string{
		"render":         `[` + listener + `]`,
		"single":         listener,
		"typed":          packed,
		"several kinds":  `{"listeners":[` + listener + `],"clusters":[]}`,
		"section":        `{"@type":"type.googleapis.com/envoy.admin.v3.ListenersConfigDump","dynamic_listeners":[` + entry + `]}`,
		"bare section":   `{"dynamic_listeners":[` + entry + `]}`,
		"camel case":     `{"dynamicListeners":[{"name":"l","activeState":{"listener":` + packed + `}}]}`,
		"configs":        `{"configs":[{"dynamic_listeners":[` + entry + `]}]}`,
		"entries":        `{"configs":[{"@type":"type.googleapis.com/envoy.admin.v3.ListenersConfigDump.DynamicListener","name":"l","active_state":{"listener":` + packed + `}}]}`,
		"entry":          entry,
		"response":       `{"version_info":"1","resources":[` + packed + `],"type_url":"type.googleapis.com/envoy.config.listener.v3.Listener"}`,
		"with a mark":    "\xef\xbb\xbf" + `[` + listener + `]` + "\n",
		"untyped active": `{"configs":[{"dynamic_listeners":[{"name":"l","active_state":{"listener":` + listener + `}}]}]}`,
	}
	for nameA, a := range shapes {
		for nameB, b := range shapes {
			if out := compare(t, a, b, xdsdiff.Options{}); out != "" {
				t.Errorf("%s against %s:\n%s", nameA, nameB, out)
			}
			if out := compare(t, a, strings.ReplaceAll(b, "true", "false"), xdsdiff.Options{}); out != "~ listener l\n    ~ transparent: true → false\n" {
				t.Errorf("%s against a changed %s:\n%s", nameA, nameB, out)
			}
		}
	}
}

func TestEndpointShapes(t *testing.T) {
	const assignment = `{"endpoints":[{"lb_endpoints":[{"endpoint":{"address":{"pipe":{"path":"/p"}}}}]}],"cluster_name":"c"}`
	for nameA, a := range map[string]string{
		"single": assignment, "render": `[` + assignment + `]`, "kinds": `{"clusters":[],"endpoints":[` + assignment + `]}`, "only kind": `{"endpoints":[` + assignment + `]}`,
	} {
		if out := compare(t, a, `{"endpoint_config":`+assignment+`}`, xdsdiff.Options{}); out != "" {
			t.Errorf("%s:\n%s", nameA, out)
		}
		if out := compare(t, a, `{"clusters":[],"endpoints":[]}`, xdsdiff.Options{}); out != "- endpoint c (only in A)\n" {
			t.Errorf("%s against none:\n%s", nameA, out)
		}
		if out := compare(t, a, `{"endpoints":[]}`, xdsdiff.Options{}); out != "- endpoint c (only in A)\n" {
			t.Errorf("%s against an empty list:\n%s", nameA, out)
		}
	}
}

// TestWhatADumpAdds: a host in a dump has more fields than the one that was served.
func TestWhatADumpAdds(t *testing.T) {
	const rendered = `[{"cluster_name":"c","endpoints":[{"lb_endpoints":[{"endpoint":{"address":{"socket_address":{"address":"10.4.3.20","port_value":80}}}}]}]}]`
	if out := compare(t, dump, rendered, xdsdiff.Options{}); out != "" {
		t.Errorf("differences:\n%s", out)
	}
	out := compare(t, rendered, dump, xdsdiff.Options{ShowAdded: true})
	for _, want := range []string{"health_status", "health_check_config", "load_balancing_weight", "locality", "policy"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %s in\n%s", want, out)
		}
	}
	// Between two renders they are fields like any other.
	weighed := strings.Replace(rendered, `{"lb_endpoints":[{`, `{"lb_endpoints":[{"load_balancing_weight":1,`, 1)
	if out := compare(t, rendered, weighed, xdsdiff.Options{}); !strings.Contains(out, "+ endpoints[no locality].lb_endpoints[10.4.3.20:80].load_balancing_weight: 1") {
		t.Errorf("between renders:\n%s", out)
	}
	// A dump always has them: what was served with a weight, and is dumped without, differs.
	if out := compare(t, weighed, strings.Replace(dump, `,"load_balancing_weight":1`, "", 1), xdsdiff.Options{}); !strings.Contains(out, "- endpoints[no locality].lb_endpoints[10.4.3.20:80].load_balancing_weight") {
		t.Errorf("a weight that is lost:\n%s", out)
	}
	if out := compare(t, strings.Replace(dump, "HEALTHY", "DRAINING", 1), rendered, xdsdiff.Options{}); !strings.Contains(out, `health_status: "DRAINING"`) {
		t.Errorf("a host that is not healthy:\n%s", out)
	}
}

// TestNoClusterName: Envoys of 2022 dump assignments without a name.
func TestNoClusterName(t *testing.T) {
	host := func(name, ip string) string {
		return fmt.Sprintf(`{"endpoint_config":{%s"endpoints":[{"lb_endpoints":[{"endpoint":{"address":{"socket_address":{"address":%q,"port_value":80}}}}]}]}}`, name, ip)
	}
	section := func(entries ...string) string {
		return `{"dynamic_endpoint_configs":[` + strings.Join(entries, ",") + `]}`
	}
	named := section(host(`"cluster_name":"a",`, "10.0.0.1"), host(`"cluster_name":"b",`, "10.0.0.2"), host(`"cluster_name":"b2",`, "10.0.0.2"))
	nameless := section(host("", "10.0.0.2"), host("", "10.0.0.1"))
	want := `+ endpoint (no cluster_name: 10.0.0.2:80) (only in B)
- endpoint b (only in A)
- endpoint b2 (only in A)
`
	if diff := cmp.Diff(want, compare(t, named, nameless, xdsdiff.Options{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if out := compare(t, nameless, section(host("", "10.0.0.1"), host("", "10.0.0.2")), xdsdiff.Options{}); out != "" {
		t.Errorf("both without names:\n%s", out)
	}
}

// TestNotCompared: nobody expects a render to have what only a proxy has, and the
// summary says what was left out.
func TestNotCompared(t *testing.T) {
	render := open(t, write(t, "render.json", `[{"name":"c","type":"EDS"}]`))
	whole := open(t, write(t, "dump.json", dump))
	var out bytes.Buffer
	p := &xdsdiff.Printer{Out: &out}
	summary, err := xdsdiff.Compare(whole, render, xdsdiff.Options{}, p.Resource)
	if err != nil || !summary.Same() {
		t.Fatalf("%+v, %v\n%s", summary, err, out.String())
	}
	var types []string
	for _, n := range summary.NotCompared {
		types = append(types, fmt.Sprint(n.Type, " ", n.Count))
	}
	want := []string{"bootstrap 1", "endpoint 1", "extension 1", "listener 1", "rejected listener 1", "route 1", "secret 1", "static cluster 1", "warming cluster 1"}
	if diff := cmp.Diff(want, types); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if err := p.Summary(summary); err != nil || !strings.Contains(out.String(), "not compared: 1 static cluster in "+whole.Name) || !strings.Contains(out.String(), "1 resource equal") {
		t.Errorf("%v\n%s", err, out.String())
	}
	// Asked for by kind, it is compared.
	summary, err = xdsdiff.Compare(open(t, whole.Name), open(t, render.Name), xdsdiff.Options{Kinds: []string{"cluster"}}, p.Resource)
	if err != nil || summary.OnlyA != 2 {
		t.Errorf("%+v, %v", summary, err)
	}
}

func TestBadInput(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"empty":             {"", "the file is empty"},
		"blank":             {" \n", "the file ends"},
		"no JSON":           {"upstream connect error", `line 1 (byte 0): a config_dump is an object and a render a list; this begins with 'u'`},
		"cut off":           {"[\n{\"name\":\"c\",", "line 2 (byte 14): the file ends in the middle of a JSON value"},
		"a comma too much":  {"[\n{\"name\":\"c\",}]", "line 2 (byte 14): something should follow the comma"},
		"no comma":          {`[{"name":"c"} {"name":"d"}]`, `a comma or ] should be here, not '{'`},
		"a broken value":    {"{\"clusters\":[\n{\"name\":\"c\",\n\"type\":EDS}]}", "line 3 (byte 34): neither an object"},
		"a broken escape":   {`[{"name":"\x"}]`, "line 1 (byte 9): a string with a broken escape"},
		"not UTF-8":         {"[{\"name\":\"\xff\"}]", "a string that is not UTF-8"},
		"a key twice":       {`[{"name":"c","name":"d"}]`, `the key "name" stands twice in an object`},
		"two values":        {`[] []`, "something follows the JSON value"},
		"a list of numbers": {`[1]`, `the list should hold objects, not '1'`},
		"something else":    {`{"kind":"Pod","apiVersion":"v1"}`, "neither an xDS resource nor a part of a config_dump"},
		"no resource":       {`{"configs":[]}`, "no xDS resources found"},
		"too deep":          {`[{"metadata":` + strings.Repeat(`{"a":`, 3000) + `1` + strings.Repeat("}", 3000) + `}]`, "nested deeper than"},
		"brackets crossed":  {`[{"filter_chains":[}]}]`, "a comma or } should be here, not ']'"},
		"no kind":           {`[{"name":"x"}]`, `"x" may be a `},
	} {
		t.Run(name, func(t *testing.T) {
			path := write(t, "bad.json", c.text)
			f, err := xdsdiff.Open(path, nil)
			if err == nil {
				_, err = xdsdiff.Compare(f, open(t, path), xdsdiff.Options{}, func(xdsdiff.Resource) error { return nil })
			}
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("%v, want %q of %s", err, c.want, path)
			}
		})
	}
	for name, path := range map[string]string{"no file": "/no/such", "a folder": t.TempDir()} {
		if _, err := xdsdiff.Open(path, nil); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", name, err)
		}
	}
	listeners, clusters := open(t, write(t, "l.json", `[{"name":"l","transparent":true}]`)), open(t, write(t, "c.json", `[{"name":"c","type":"EDS"}]`))
	if _, err := xdsdiff.Compare(listeners, clusters, xdsdiff.Options{}, nil); err == nil || !strings.Contains(err.Error(), "no kind of resource in common: listeners here, clusters there") {
		t.Error(err)
	}
}

// TestAmbiguousKind: a resource with a name only takes its kind from the others.
func TestAmbiguousKind(t *testing.T) {
	if out := compare(t, `[{"name":"x"}]`, `[{"name":"x"},{"name":"y","type":"EDS"}]`, xdsdiff.Options{}); out != "+ cluster y (only in B)\n" {
		t.Errorf("by the others:\n%s", out)
	}
	if out := compare(t, `[{"name":"x"}]`, `[{"name":"y"}]`, xdsdiff.Options{Kinds: []string{"listener"}}); out != "- listener x (only in A)\n+ listener y (only in B)\n" {
		t.Errorf("by asking:\n%s", out)
	}
}

// TestPipe: what can be read only once is kept while it is compared.
func TestPipe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	if out, err := exec.Command("mkfifo", path).CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	wrote := make(chan error, 1)
	go func() { wrote <- os.WriteFile(path, []byte(dump), 0) }()
	a := open(t, path)
	if err := <-wrote; err != nil {
		t.Fatal(err)
	}
	b, err := xdsdiff.Open("-", strings.NewReader(strings.ReplaceAll(dump, `"EDS"`, `"LOGICAL_DNS"`)))
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	summary, err := xdsdiff.Compare(a, b, xdsdiff.Options{}, func(xdsdiff.Resource) error { return nil })
	if err != nil || summary.Changed != 2 {
		t.Errorf("%+v, %v", summary, err)
	}
}
