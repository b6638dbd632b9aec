// SPDX-License-Identifier: Apache-2.0

package proxyview

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"strings"
	"testing"

	"github.com/ambient22/ambient22/internal/dump/dumptest"
)

// proxies are those of a fixture's two nodes.
func proxies(t testing.TB, fixture string) (a, b *Proxy) {
	t.Helper()
	var list []*Proxy
	for _, n := range dumptest.Open(t, fixture) {
		p, err := Read(n.Ztunnel.ConfigDump)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, p)
	}
	return list[0], list[1]
}

var (
	outbound  = netip.MustParseAddrPort("127.0.0.1:15001")
	tunnels   = netip.MustParseAddrPort("127.0.0.1:15008")
	plaintext = netip.MustParseAddrPort("127.0.0.1:15006")
)

func conn(socket netip.AddrPort, from, to string) Conn {
	return Conn{Socket: socket, Remote: netip.MustParseAddrPort(from), Local: netip.MustParseAddrPort(to)}
}

// The outbound side of node A, by where a connection goes.
func TestOutbound(t *testing.T) {
	a, _ := proxies(t, dumptest.Geneve)
	const (
		sleep = "spiffe://cluster.local/ns/default/sa/sleep"
		out   = "_outbound_internal"
	)
	for _, c := range []struct {
		name, from, to     string
		chain, addr        string // chosen, and connected to
		authority, source  string
		miss               string
		end                End
		passthrough, inTLS bool
	}{
		{name: "a service on the other node", from: "10.4.4.19:1", to: "10.8.14.226:9080", chain: sleep + "_to_http_productpage.default.svc.cluster.local" + out, addr: "10.4.3.20:15008", authority: "10.4.3.20:9080", inTLS: true},
		{name: "a service on the same node", from: "10.4.4.19:1", to: "10.8.1.204:8000", chain: sleep + "_to_http_httpbin.default.svc.cluster.local" + out, addr: "10.4.4.11:15088", authority: "10.4.4.11:80", inTLS: true},
		{name: "a pod's address", from: "10.4.4.19:1", to: "10.4.3.20:9080", chain: sleep + "_to_10.4.3.20", addr: "10.4.3.20:15008", authority: "10.4.3.20:9080", inTLS: true},
		{name: "a pod's address on the same node", from: "10.4.4.19:1", to: "10.4.4.11:80", chain: sleep + "_to_10.4.4.11", addr: "10.4.4.11:15088", authority: "10.4.4.11:80", inTLS: true},
		{name: "an unknown address", from: "10.4.4.19:1", to: "1.2.3.4:443", addr: "1.2.3.4:443", source: "10.4.4.19", miss: "destination", passthrough: true, chain: "*"},
		{name: "an unknown port", from: "10.4.4.19:1", to: "10.8.14.226:81", addr: "10.8.14.226:81", source: "10.4.4.19", miss: "port", passthrough: true, chain: "*"},
		{name: "an unknown source", from: "10.4.4.30:1", to: "10.8.14.226:9080", addr: "10.8.14.226:9080", source: "10.4.4.30", miss: "source", passthrough: true, chain: "PassthroughFilterChain"},
		{name: "the listener's own port", from: "10.4.4.19:1", to: "1.2.3.4:15001", chain: "BlackHoleCluster", end: BlackHole},
		{name: "another listener's port", from: "10.4.4.19:1", to: "1.2.3.4:15008", chain: "blackhole inbound", end: NoCluster, miss: "destination"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := a.Accept(conn(outbound, c.from, c.to))
			if c.chain != "*" && r.Chain != c.chain || r.End != c.end || r.Miss != c.miss || r.Passthrough != c.passthrough || r.AnswerMark != 0x401 {
				t.Errorf("%+v", r)
			}
			if (r.Up == nil) != (c.end != "") {
				t.Fatalf("upstream %+v, end %q", r.Up, r.End)
			}
			if r.Up == nil {
				return
			}
			source, mark := "", uint32(0)
			if c.source != "" {
				source, mark = c.source, 0x4d2
			}
			if r.Up.Addr.String() != c.addr || r.Up.Mark != mark || source != "" && r.Up.Source.String() != source || source == "" && r.Up.Source.IsValid() {
				t.Errorf("connects to %+v", r.Up)
			}
			if (r.Up.Tunnel != nil) != c.inTLS || (r.Up.Hello != nil) != c.inTLS {
				t.Fatalf("tunnel %+v, TLS %+v", r.Up.Tunnel, r.Up.Hello)
			}
			if c.inTLS && (r.Up.Tunnel.Authority != c.authority || r.Up.Hello.Identity != sleep || len(r.Up.Tunnel.Headers) != 1 || r.Up.Tunnel.Headers[0] != [2]string{"x-envoy-original-dst-host", c.authority}) {
				t.Errorf("%+v, %+v", r.Up.Tunnel, r.Up.Hello)
			}
		})
	}
}

// The inbound side of node B: who gets in, and where to.
func TestInbound(t *testing.T) {
	for _, fixture := range []string{dumptest.Geneve, dumptest.Hardened} {
		t.Run(fixture, func(t *testing.T) {
			a, b := proxies(t, fixture)
			hardened := fixture == dumptest.Hardened
			up := a.Accept(conn(outbound, "10.4.4.19:1", "10.8.14.226:9080")).Up
			in := conn(tunnels, "10.4.4.18:2", up.Addr.String())
			in.Hello, in.Tunnel = up.Hello, up.Tunnel
			r := b.Accept(in)
			if r.Up == nil || r.Up.Addr.String() != "10.4.3.20:9080" || r.Up.Source.String() != "10.4.4.18" || r.Up.Mark != 0x4d2 || r.AnswerMark != 0x402 || !strings.Contains(r.Policy, "productpage-viewer") {
				t.Fatalf("%+v: %s", r.Up, r.Reason)
			}

			stranger := in
			stranger.Hello = &Hello{Identity: "spiffe://cluster.local/ns/default/sa/notsleep"}
			if r := b.Accept(stranger); r.End != Refused {
				t.Errorf("a stranger: %q %s", r.End, r.Reason)
			}
			nobody := in
			nobody.Hello = &Hello{}
			if r, want := b.Accept(nobody), map[bool]End{true: BadTLS, false: Refused}[hardened]; r.End != want {
				t.Errorf("without a certificate: %q %s", r.End, r.Reason)
			}
			plain := conn(tunnels, "10.4.4.30:2", "10.4.3.20:15008")
			if r := b.Accept(plain); r.End != BadTLS {
				t.Errorf("without TLS: %q %s", r.End, r.Reason)
			}
			elsewhere := in
			elsewhere.Tunnel = &Tunnel{Authority: "10.4.3.15:9080", Headers: [][2]string{{"x-envoy-original-dst-host", "10.4.3.15:9080"}}}
			if r := b.Accept(elsewhere); (r.Up == nil) != hardened {
				t.Errorf("past the pod's policies: %+v %s", r.Up, r.Reason)
			}
			wrong := in
			wrong.Hello = &Hello{Identity: "spiffe://cluster.local/ns/default/sa/sleep", admits: func([]string) bool { return false }}
			if r := b.Accept(wrong); r.End != BadTLS {
				t.Errorf("a client that does not take the server: %q", r.End)
			}
			if r := b.Accept(conn(plaintext, "10.4.4.30:2", "10.4.3.15:9080")); r.Up == nil || r.Up.Source.String() != "10.4.4.30" || r.Up.Tunnel != nil {
				t.Errorf("plainly to details: %+v %s", r.Up, r.Reason)
			}
			if r := b.Accept(conn(plaintext, "10.4.4.30:2", "10.4.3.20:9080")); r.End != Refused {
				t.Errorf("plainly to productpage: %q", r.End)
			}
			if r := b.Accept(conn(netip.MustParseAddrPort("127.0.0.1:99"), "10.4.4.30:2", "10.4.3.20:99")); r.End != NoListener {
				t.Errorf("a port without a listener: %q", r.End)
			}
		})
	}
}

// A dump that lacks something, or has what nobody knows, is told from one where it
// is not there.
func TestWhatIsMissing(t *testing.T) {
	dump := dumptest.Open(t, dumptest.Geneve)[0].Ztunnel.ConfigDump
	call := conn(outbound, "10.4.4.19:1", "10.8.14.226:9080")
	edited := func(edit func(section map[string]any)) *Proxy {
		var file struct {
			Configs []map[string]any `json:"configs"`
		}
		if err := json.Unmarshal(dump, &file); err != nil {
			t.Fatal(err)
		}
		for _, c := range file.Configs {
			edit(c)
		}
		text, err := json.Marshal(file)
		if err != nil {
			t.Fatal(err)
		}
		p, err := Read(text)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	for _, c := range []struct {
		name string
		edit func(map[string]any)
		end  End
	}{
		{"no endpoints in the dump", func(s map[string]any) {
			if _, ok := s["dynamic_endpoint_configs"]; ok {
				s["@type"] = "type.googleapis.com/envoy.admin.v3.Other"
				delete(s, "dynamic_endpoint_configs")
			}
		}, NotModelled},
		{"no endpoints at all", func(s map[string]any) {
			delete(s, "dynamic_endpoint_configs")
		}, NoHost},
		{"no clusters", func(s map[string]any) { delete(s, "dynamic_active_clusters") }, NoCluster},
		{"clusters that are warming", func(s map[string]any) {
			if c, ok := s["dynamic_active_clusters"]; ok {
				s["dynamic_warming_clusters"] = c
				delete(s, "dynamic_active_clusters")
			}
		}, NoCluster},
		{"no workload metadata", func(s map[string]any) { delete(s, "ecds_filters") }, NoMetadata},
		{"no listeners", func(s map[string]any) { delete(s, "dynamic_listeners") }, NoListener},
		{"a certificate that has not come", func(s map[string]any) {
			if strings.HasSuffix(s["@type"].(string), "SecretsConfigDump") {
				s["dynamic_active_secrets"] = []any{}
			}
		}, BadTLS},
	} {
		t.Run(c.name, func(t *testing.T) {
			if r := edited(c.edit).Accept(call); r.End != c.end || r.Reason == "" {
				t.Errorf("%q: %s, want %q", r.End, r.Reason, c.end)
			}
		})
	}
	unknown := bytes.Replace(dump, []byte(`"lb_policy": "CLUSTER_PROVIDED"`), []byte(`"lb_policy": "RING_HASH"`), -1)
	p, err := Read(unknown)
	if err != nil {
		t.Fatal(err)
	}
	if r := p.Accept(call); r.End != NotModelled || !strings.Contains(r.Reason, "outbound_tunnel_clus_") {
		t.Errorf("a cluster that nobody executes: %q %s", r.End, r.Reason)
	}
}

func TestReadRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"":                          "reading config_dump: ",
		"{\n\"configs\": [\n}":      "line 3",
		"{}":                        `it has no list "configs"`,
		`{"configs": [{"a": }]}`:    "line 1",
		`{"configs": ["a", "b"]}`:   "reading config_dump: ",
		`{"configs": [[1], {}, 3]}`: "reading config_dump: ",
	} {
		if _, err := Read([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func TestNames(t *testing.T) {
	a, _ := proxies(t, dumptest.Geneve)
	n := a.Names()
	pods, services := map[string]Pod{}, map[string]Service{}
	for _, p := range n.Pods {
		if old, known := pods[p.IP.String()]; !known || old.Name == "" {
			pods[p.IP.String()] = p
		}
	}
	for _, s := range n.Services {
		services[s.Name] = s
	}
	if p := pods["10.4.4.19"]; p.Name != "sleep-5644bdc767-2dfg7" || p.Namespace != "default" || !p.Local {
		t.Errorf("%+v", p)
	}
	if p, known := pods["10.4.3.20"]; !known || p.Local || p.Name != "" {
		t.Errorf("%+v", p)
	}
	if s := services["productpage"]; s.IP.String() != "10.8.14.226" || len(s.Ports) != 1 || s.Ports[0] != 9080 || s.Namespace != "default" {
		t.Errorf("%+v", s)
	}
	if a.Node.Pod != "ztunnel-rts54" || a.Node.Namespace != "istio-system" || len(a.Sockets()) != 3 {
		t.Errorf("%+v, %+v", a.Node, a.Sockets())
	}
}

// Whatever a dump holds, reading it and asking it ends with an answer.
func FuzzRead(f *testing.F) {
	f.Add([]byte(`{"configs": [{"@type": "x/envoy.admin.v3.ListenersConfigDump", "dynamic_listeners": [{"name": "a 15001", "active_state": {"listener": {"@type": "type.googleapis.com/envoy.config.listener.v3.Listener", "name": "a"}}}]}]}`))
	f.Add([]byte(`{"configs": [{"dynamic_active_clusters": [{"cluster": {"name": "c"}}]}]}`))
	f.Fuzz(func(t *testing.T, dump []byte) {
		p, err := Read(dump)
		if err != nil {
			return
		}
		p.Names()
		p.Sockets()
		if r := p.Accept(conn(outbound, "10.4.4.19:1", "10.8.14.226:9080")); r.Up == nil && r.Reason == "" {
			t.Error("no upstream, and no reason")
		}
	})
}
