// SPDX-License-Identifier: Apache-2.0

package story

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/ambient22/ambient22/internal/dump/dumptest"
)

// A tunnel that passes its ztunnel by ends at the pod. Whether the pod takes it, only
// the mesh's configuration tells.
func TestTunnelPastItsZtunnel(t *testing.T) {
	for _, c := range []struct {
		name, in string
		do       damage
		to       string
		native   bool // as the pod's chain in its ztunnel has it
		want     string
	}{
		{
			name: "nothing turns port 15088 into 15008", in: "ztunnel-a", do: without("nat", "OUTPUT", "15088"), to: "httpbin",
			want: "The tunnel reaches the pod default/httpbin-847f64cc8d-x2v9q itself, at port 15088. No ztunnel has ended it on the way, and default/httpbin-847f64cc8d-x2v9q does not speak HBONE itself: the call is refused there.",
		},
		{
			name: "the node of the called pod has no route to its ztunnel", in: "host-b", do: withoutRoute("10.4.3.20 via"), to: "productpage:9080",
			want: "itself, at port 15008. No ztunnel has ended it on the way, and default/productpage-v1-5586c4d4ff-qxz9f does not speak HBONE itself: the call is refused there.",
		},
		{
			name: "the called pod ends tunnels itself", to: "productpage:9080", native: true,
			want: "goes through an HBONE tunnel from default/sleep, which the pod ends itself, arrives at productpage-v1-5586c4d4ff-qxz9f",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			nodes := dumptest.Open(t, dumptest.Geneve)
			if c.native {
				text := string(nodes[1].Ztunnel.ConfigDump)
				nodes[1].Ztunnel.ConfigDump = []byte(withNativeChain(t, text, "10.4.3.20"))
			}
			switch c.in {
			case "ztunnel-a":
				c.do(t, nodes[0].Ztunnel)
			case "host-b":
				c.do(t, nodes[1].Host)
			}
			s := told(t, meshOf(t, nodes), Query{From: "sleep", To: c.to, Answer: true})
			if s.Outcome.Delivered != c.native || s.Outcome.Unknown || !strings.Contains(s.Outcome.Sentence, c.want) {
				t.Errorf("%+v\nwant ...%s...", s.Outcome, c.want)
			}
		})
	}
}

// withNativeChain is a ztunnel's configuration as it is where the pod with that
// address speaks HBONE itself.
func withNativeChain(t *testing.T, dump, ip string) string {
	t.Helper()
	var file map[string]any
	if err := json.Unmarshal([]byte(dump), &file); err != nil {
		t.Fatal(err)
	}
	changed := false
	var visit func(any)
	visit = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, e := range v {
				visit(e)
			}
		case map[string]any:
			if v["name"] == "inbound_"+ip {
				delete(v, "transport_socket")
				v["filters"] = []any{map[string]any{
					"name": "envoy.filters.network.tcp_proxy",
					"typed_config": map[string]any{
						"@type":       "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
						"stat_prefix": "virtual_inbound_hbone", "cluster": "virtual_inbound_hbone",
					},
				}}
				changed = true
			}
			for _, e := range v {
				visit(e)
			}
		}
	}
	visit(file)
	if !changed {
		t.Fatalf("no chain is for %s", ip)
	}
	out, err := json.Marshal(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}
