// SPDX-License-Identifier: Apache-2.0

package xdsdiff_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ambient22/ambient22/internal/xdsdiff"
)

// write puts a text into a file to compare.
func write(t testing.TB, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func open(t testing.TB, path string) *xdsdiff.File {
	t.Helper()
	f, err := xdsdiff.Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

// compare prints the differences of two texts, without the last line.
func compare(t *testing.T, a, b string, o xdsdiff.Options) string {
	t.Helper()
	var out bytes.Buffer
	p := &xdsdiff.Printer{Out: &out}
	summary, err := xdsdiff.Compare(open(t, write(t, "a.json", a)), open(t, write(t, "b.json", b)), o, p.Resource)
	if err != nil {
		t.Fatal(err)
	}
	if summary.Same() != (out.Len() == 0) {
		t.Errorf("the summary says same = %v of\n%s", summary.Same(), out.String())
	}
	return out.String()
}

// TestSameMeaning compares two spellings of the same resource.
func TestSameMeaning(t *testing.T) {
	for name, c := range map[string][2]string{
		"field names":     {`[{"name":"c","connectTimeout":"2s","lbPolicy":"RANDOM"}]`, `[{"lb_policy":"RANDOM","name":"c","connect_timeout":"2s"}]`},
		"durations":       {`[{"name":"c","type":"EDS","connect_timeout":"2.000s"}]`, `[{"name":"c","type":"EDS","connect_timeout":"2s"}]`},
		"zero values":     {`[{"name":"c","type":"EDS","alt_stat_name":"","lb_policy":"ROUND_ROBIN","filters":[],"metadata":null}]`, `[{"name":"c","type":"EDS"}]`},
		"enum numbers":    {`[{"name":"c","type":"EDS"}]`, `[{"name":"c","type":3}]`},
		"64-bit integers": {`[{"name":"l","socket_options":[{"level":"1","name":36,"int_value":"1025"}]}]`, `[{"name":"l","socket_options":[{"level":1,"name":"36","int_value":1025.0}]}]`},
		"escapes":         {`[{"name":"c","type":"EDS","alt_stat_name":"aAb<\/"}]`, `[{"name":"c","type":"EDS","alt_stat_name":"a\u0041b\u003c/"}]`},
		"base64":          {`[{"name":"s","tls_certificate":{"certificate_chain":{"inline_bytes":"_-8="}}}]`, `[{"name":"s","tls_certificate":{"certificate_chain":{"inline_bytes":"/+8"}}}]`},
		"an Any's type":   {`[{"@type":"type.googleapis.com/envoy.config.cluster.v3.Cluster","name":"c"}]`, `[{"name":"c","connect_timeout":null,"lb_policy":0}]`},
		"a wrapped value": {
			`[{"name":"e","typed_config":{"@type":"type.googleapis.com/google.protobuf.StringValue","value":"x"}}]`,
			`[{"name":"e","typedConfig":{"value":"x","@type":"type.googleapis.com/google.protobuf.StringValue"}}]`,
		},
		"an unknown type": {
			`[{"name":"e","typed_config":{"@type":"type.googleapis.com/no.Such","count":"12","list":[{"name":"a"}],"x":1.0}}]`,
			`[{"name":"e","typed_config":{"@type":"type.googleapis.com/no.Such","x":1,"list":[{"name":"a"}],"count":12}}]`,
		},
		"fractions": {
			`[{"name":"l","transparent":true,"metadata":{"filter_metadata":{"m":{"x":1.50,"y":25e-1,"z":100}}}}]`, `[{"name":"l","transparent":true,"metadata":{"filter_metadata":{"m":{"x":1.5,"y":2.5,"z":1e2}}}}]`,
		},
		"shorter durations": {
			`[{"name":"r","virtual_hosts":[{"name":"v","retry_policy":{"retry_back_off":{"base_interval":"0.250s"},"num_retries":"3"}}]}]`,
			`[{"name":"r","virtual_hosts":[{"name":"v","retry_policy":{"retry_back_off":{"base_interval":"0.25s"},"num_retries":3}}]}]`,
		},
		"doubles": {
			`[{"name":"c","type":"EDS","circuit_breakers":{"thresholds":[{"retry_budget":{"budget_percent":{"value":"20.50"}}}]}}]`,
			`[{"name":"c","type":"EDS","circuit_breakers":{"thresholds":[{"retry_budget":{"budget_percent":{"value":2.05e1}}}]}}]`,
		},
		"times": {
			`[{"name":"s","tls_certificate":{"certificate_chain":{"inline_string":"x"}}},{"name":"x","typed_config":{"@type":"t/google.protobuf.Timestamp","value":"2022-09-01T02:00:00.500+02:00"}}]`,
			`[{"name":"s","tls_certificate":{"certificate_chain":{"inline_string":"x"}}},{"name":"x","typed_config":{"@type":"t/google.protobuf.Timestamp","value":"2022-09-01T00:00:00.5Z"}}]`,
		},
		"chains in any order": {
			`[{"name":"l","filter_chains":[{"name":"a"},{"name":"b"}]}]`,
			`[{"name":"l","filter_chains":[{"name":"b"},{"name":"a"}]}]`,
		},
		"hosts in any order": {
			`[{"cluster_name":"c","endpoints":[{"lb_endpoints":[{"endpoint":{"address":{"socket_address":{"address":"1.1.1.1","port_value":1}}}},{"endpoint":{"address":{"socket_address":{"address":"1.1.1.2","port_value":1}}}}]}]}]`,
			`[{"cluster_name":"c","endpoints":[{"lb_endpoints":[{"endpoint":{"address":{"socket_address":{"address":"1.1.1.2","port_value":1}}}},{"endpoint":{"address":{"socket_address":{"address":"1.1.1.1","port_value":1}}}}]}]}]`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			for _, pair := range [][2]string{{c[0], c[1]}, {c[1], c[0]}} {
				if out := compare(t, pair[0], pair[1], xdsdiff.Options{}); out != "" {
					t.Errorf("differences:\n%s", out)
				}
			}
		})
	}
}

// TestDifferences says what is printed for a difference.
func TestDifferences(t *testing.T) {
	for name, c := range map[string]struct{ a, b, want string }{
		"a field": {
			`[{"name":"c","type":"EDS","connect_timeout":"2s"}]`, `[{"name":"c","type":"STATIC","connect_timeout":"2.5s","alt_stat_name":"x"}]`,
			"~ cluster c\n    + alt_stat_name: \"x\"\n    ~ connect_timeout: \"2s\" → \"2.5s\"\n    ~ type: \"EDS\" → \"STATIC\"\n",
		},
		"resources, sorted": {
			`{"listeners":[{"name":"b"},{"name":"a"}],"clusters":[{"name":"z","type":"EDS"}]}`, `{"listeners":[{"name":"c"}],"clusters":[]}`,
			"- cluster z (only in A)\n- listener a (only in A)\n- listener b (only in A)\n+ listener c (only in B)\n",
		},
		"an empty message is not none": {
			`[{"name":"c","type":"EDS","lb_policy":"CLUSTER_PROVIDED","original_dst_lb_config":{}}]`, `[{"name":"c","type":"EDS","lb_policy":"CLUSTER_PROVIDED"}]`,
			"~ cluster c\n    - original_dst_lb_config: {}\n",
		},
		"a wrapper's zero is not none": {
			`[{"name":"l","transparent":false}]`, `[{"name":"l","filter_chains":[]}]`,
			"~ listener l\n    - transparent: false\n",
		},
		"a Struct's zero is not none": {
			`[{"name":"l","metadata":{"filter_metadata":{"m":{"x":false,"n":"1"}}}, "transparent":true}]`, `[{"name":"l","metadata":{"filter_metadata":{"m":{"n":1}}},"transparent":true}]`,
			"~ listener l\n    ~ metadata.filter_metadata[m].n: \"1\" → 1\n    - metadata.filter_metadata[m].x: false\n",
		},
		"a filter put first": {
			`[{"name":"l","filter_chains":[{"name":"x","filters":[{"name":"tcp"}]}]}]`, `[{"name":"l","filter_chains":[{"name":"x","filters":[{"name":"rbac"},{"name":"tcp"}]}]}]`,
			"~ listener l\n    + filter_chains[x].filters[rbac]: {\"name\":\"rbac\"}\n",
		},
		"filters in another order": {
			`[{"name":"l","listener_filters":[{"name":"a"},{"name":"b"},{"name":"c"}]}]`, `[{"name":"l","listener_filters":[{"name":"b"},{"name":"a"}]}]`,
			"~ listener l\n    ~ listener_filters: order [\"a\",\"b\"] → [\"b\",\"a\"]\n    - listener_filters[c]: {\"name\":\"c\"}\n",
		},
		"two filters of a name": {
			`[{"name":"l","filter_chains":[{"filters":[{"name":"rbac","config_discovery":{"type_urls":["allow"]}}]}]}]`,
			`[{"name":"l","filter_chains":[{"filters":[{"name":"rbac","config_discovery":{"type_urls":["deny"]}},{"name":"rbac","config_discovery":{"type_urls":["allow"]}}]}]}]`,
			"~ listener l\n    + filter_chains[0].filters[rbac#1]: {\"config_discovery\":{\"type_urls\":[\"deny\"]},\"name\":\"rbac\"}\n",
		},
		"a chain with another name": {
			`[{"name":"l","filter_chains":[{"name":"x","filter_chain_match":{"destination_port":1}},{"name":"y"}]}]`, `[{"name":"l","filter_chains":[{"name":"z","filterChainMatch":{"destinationPort":1}},{"name":"y"}]}]`,
			"~ listener l\n    ~ filter_chains[x].name: \"x\" → \"z\"\n",
		},
		"a chain with another name, found by its content": {
			`[{"name":"l","filter_chains":[{"name":"x","filters":[{"name":"tcp"}]},{"name":"y"}]}]`, `[{"name":"l","filter_chains":[{"name":"y"},{"name":"z","filters":[{"name":"tcp"}]}]}]`,
			"~ listener l\n    ~ filter_chains[x].name: \"x\" → \"z\"\n",
		},
		"a chain in another's place": {
			`[{"name":"l","filter_chains":[{"name":"x","filter_chain_match":{"destination_port":1}}]}]`, `[{"name":"l","filter_chains":[{"name":"z","filter_chain_match":{"destination_port":2}}]}]`,
			"~ listener l\n    - filter_chains[x]: {\"filter_chain_match\":{\"destination_port\":1},\"name\":\"x\"}\n" +
				"    + filter_chains[z]: {\"filter_chain_match\":{\"destination_port\":2},\"name\":\"z\"}\n",
		},
		"a route with another match": {
			`[{"name":"r","virtual_hosts":[{"name":"v","routes":[{"match":{"connect_matcher":{}}},{"match":{"prefix":"/"}}]}]}]`,
			`[{"name":"r","virtual_hosts":[{"name":"v","routes":[{"match":{"connect_matcher":{},"case_sensitive":true}},{"match":{"prefix":"/"}}]}]}]`,
			"~ route r\n    + virtual_hosts[v].routes[0].match.case_sensitive: true\n",
		},
		"a map's key": {
			`[{"name":"l","filter_chain_matcher":{"matcher_tree":{"exact_match_map":{"map":{"10.0.0.1":{"action":{"name":"a"}}}}}}}]`,
			`[{"name":"l","filter_chain_matcher":{"matcher_tree":{"exact_match_map":{"map":{"10.0.0.1":{"action":{"name":"b"}},"]":{}}}}}}]`,
			"~ listener l\n    + filter_chain_matcher.matcher_tree.exact_match_map.map[\"]\"]: {}\n    ~ filter_chain_matcher.matcher_tree.exact_match_map.map[10.0.0.1].action.name: \"a\" → \"b\"\n",
		},
		"a plain list": {
			`[{"name":"l","listener_filters":[{"name":"f","config_discovery":{"type_urls":["a","b"]}}]}]`, `[{"name":"l","listener_filters":[{"name":"f","config_discovery":{"type_urls":["b","c","d"]}}]}]`,
			"~ listener l\n    ~ listener_filters[f].config_discovery.type_urls[0]: \"a\" → \"c\"\n    + listener_filters[f].config_discovery.type_urls[2]: \"d\"\n",
		},
		"a plain list in another order": {
			`[{"name":"c","type":"EDS","transport_socket":{"typed_config":{"@type":"t/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext","common_tls_context":{"alpn_protocols":["h2","h1"]}}}}]`,
			`[{"name":"c","type":"EDS","transport_socket":{"typed_config":{"@type":"t/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext","common_tls_context":{"alpn_protocols":["h1","h2"]}}}}]`,
			"~ cluster c\n    ~ transport_socket.typed_config.common_tls_context.alpn_protocols: order [\"h2\",\"h1\"] → [\"h1\",\"h2\"]\n",
		},
		"an Any of another type": {
			`[{"name":"e","typed_config":{"@type":"t/google.protobuf.StringValue","value":"x"}}]`, `[{"name":"e","typed_config":{"@type":"t/google.protobuf.BytesValue","value":"eA=="}}]`,
			"~ extension e\n    ~ typed_config: {\"@type\":\"t/google.protobuf.StringValue\",\"value\":\"x\"} → {\"@type\":\"t/google.protobuf.BytesValue\",\"value\":\"eA==\"}\n",
		},
		"a private key": {
			`[{"name":"s","tls_certificate":{"private_key":{"inline_string":"one"}}}]`, `[{"name":"s","tls_certificate":{"private_key":{"inline_string":"two"}}},{"name":"t","tls_certificate":{}}]`,
			"~ secret s\n    ~ tls_certificate.private_key: \"[hidden]\" → \"[hidden]\"\n+ secret t (only in B)\n",
		},
		"a name twice": {
			`[{"name":"c","type":"EDS"},{"name":"c","type":"STATIC"}]`, `[{"name":"c","type":"EDS"}]`,
			"- cluster c (number 2 of that name) (only in A)\n",
		},
		"a field that nobody knows": {
			`[{"name":"c","type":"EDS","no_such":1}]`, `[{"name":"c","type":"EDS","no_such":2}]`,
			"~ cluster c\n    ~ no_such: 1 → 2\n",
		},
		"nothing at all": {`[]`, `[{"name":"c","type":"EDS"}]`, "+ cluster c (only in B)\n"},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, compare(t, c.a, c.b, xdsdiff.Options{})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestLongValues are cut around the place where they differ.
func TestLongValues(t *testing.T) {
	long := strings.Repeat("é", 300)
	out := compare(t, `[{"name":"c","type":"EDS","alt_stat_name":"`+long+`x"}]`, `[{"name":"c","type":"EDS","alt_stat_name":"`+long+`y"}]`, xdsdiff.Options{})
	for _, want := range []string{`éx" (603 bytes) → …`, `éy" (603 bytes)`} {
		if !strings.Contains(out, want) || strings.Contains(out, "\ufffd") {
			t.Errorf("no %q in %s", want, out)
		}
	}
}
