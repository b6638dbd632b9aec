// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	httprbacv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/rbac/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	networkrbacv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/rbac/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/ambient22/ambient22/internal/proxy/proxytest"
)

const (
	webID  = "spiffe://cluster.local/ns/default/sa/web"
	evilID = "spiffe://cluster.local/ns/default/sa/evil"
)

// packJSON is a filter's configuration, as JSON, in an Any.
func packJSON(t *testing.T, m proto.Message, text string) *anypb.Any {
	t.Helper()
	if err := protojson.Unmarshal([]byte(text), m); err != nil {
		t.Fatal(err)
	}
	a, err := anypb.New(m)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// guard puts network RBAC filters before the pod's chain of a listener.
func (p *testProxy) guard(t *testing.T, listener string, filters ...string) {
	t.Helper()
	chain := p.podChain(listener)
	for i, text := range filters {
		f := &listenerv3.Filter{Name: "envoy.filters.network.rbac", ConfigType: &listenerv3.Filter_TypedConfig{
			TypedConfig: packJSON(t, &networkrbacv3.RBAC{}, text)}}
		chain.Filters = append(chain.Filters[:i:i], append([]*listenerv3.Filter{f}, chain.Filters[i:]...)...)
	}
	p.push()
}

func (p *testProxy) podChain(listener string) *listenerv3.FilterChain {
	p.t.Helper()
	for _, c := range p.listener(listener).FilterChains {
		if c.GetFilterChainMatch() != nil {
			return c
		}
	}
	p.t.Fatalf("no pod in %s", listener)
	return nil
}

// policy is a filter's rules with one policy.
func policy(action, name, permission, principal string) string {
	return `{"action": "` + action + `", "policies": {"` + name + `": {"permissions": [` + permission + `], "principals": [` + principal + `]}}}`
}

func networkFilter(rules string) string {
	return `{"stat_prefix": "tcp.", "shadow_rules_stat_prefix": "istio_dry_run_allow_", "rules": ` + rules + `}`
}

func principal(id string) string {
	return `{"authenticated": {"principal_name": {"exact": "` + id + `"}}}`
}

// inbound is node b's ztunnel alone, with the productpage behind it.
func inbound(t *testing.T, change func(b *testProxy)) (*path, *testProxy, <-chan string) {
	t.Helper()
	ca, err := proxytest.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	p := newPath(t)
	b := newProxy(t, "b", p.ztunnelB, ca, true)
	change(b)
	b.start()
	return p, b, serve(t, p.productpage, "10.4.3.20:9080", echo)
}

// askTunnel sends a request as identity and returns the status and the body.
func askTunnel(t *testing.T, p *path, b *testProxy, identity string, req *http.Request) (int, string, error) {
	t.Helper()
	res, err := hboneClient(t, p.ztunnelA, b.ca, identity, "10.4.3.20:15008").Do(req)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return res.StatusCode, string(body), err
}

func (p *testProxy) logged(text string) {
	p.t.Helper()
	wait(p.t, "the access log has "+text, func() bool { return strings.Contains(p.access.String(), text) })
}

func TestNetworkRBACOfTunnels(t *testing.T) {
	p, b, pod := inbound(t, func(b *testProxy) {
		b.guard(t, "ztunnel_inbound",
			networkFilter(policy("DENY", "ns[default]-policy[no-evil]-rule[0]", `{"any": true}`, principal(evilID))),
			networkFilter(policy("ALLOW", "ns[default]-policy[in]-rule[0]", `{"destination_port": 15008}`, `{"or_ids": {"ids": [`+principal(sleepID)+`,`+principal(evilID)+`]}}`)),
		)
	})
	hello := func() *http.Request { return tunnelRequest("10.4.3.20:9080", strings.NewReader("hello")) }
	if status, body, err := askTunnel(t, p, b, sleepID, hello()); status != 200 || body != "hello" || err != nil {
		t.Errorf("the allowed caller got %d %q, %v", status, body, err)
	}
	<-pod
	for id, details := range map[string]string{
		webID:  ` 0 - - rbac_access_denied_matched_policy[none] "-" 0 0 `,
		evilID: ` 0 - - rbac_access_denied_matched_policy[ns[default]-policy[no-evil]-rule[0]] "-" 0 0 `,
		"":     ` 0 - - rbac_access_denied_matched_policy[none] "-" 0 0 `,
	} {
		if status, body, err := askTunnel(t, p, b, id, hello()); err == nil {
			t.Errorf("%q got %d %q", id, status, body)
		}
		b.logged(details)
	}
	b.untilStat("tcp.rbac.allowed", 1+1+2) // of the first filter, all but evil; of the second, sleep
	b.untilStat("tcp.rbac.denied", 3)
	b.untilStat("http.inbound_hcm.downstream_rq_total", 1)
	select {
	case from := <-pod:
		t.Errorf("the pod was called from %s", from)
	default:
	}
}

func TestNetworkRBACOfPlainConnections(t *testing.T) {
	p, b, pod := inbound(t, func(b *testProxy) {
		b.guard(t, "ztunnel_inbound_plaintext",
			`{"stat_prefix": "tcp.", "shadow_rules_stat_prefix": "istio_dry_run_allow_",
			  "shadow_rules": `+policy("ALLOW", "dry", `{"any": true}`, principal(sleepID))+`,
			  "rules": `+policy("DENY", "no 81", `{"and_rules": {"rules": [{"or_rules": {"rules": [{"destination_port": 81}]}}]}}`, `{"any": true}`)+`}`,
			networkFilter(policy("ALLOW", "in", `{"any": true}`, `{"direct_remote_ip": {"address_prefix": "10.4.4.18", "prefix_len": 32}}`)))
	})
	other := serve(t, p.productpage, "10.4.3.20:81", echo)
	mustAsk(t, p.ztunnelA, "10.4.3.20:9080", "hello")
	<-pod
	// Silent, as a client is whose server speaks first: it is turned away all the
	// same, and the pod sees nothing of it.
	c, err := p.ztunnelA.dial("10.4.3.20:81")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	deadline(t, c)
	if n, err := c.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("read %d bytes, %v", n, err)
	}
	b.logged("rbac_access_denied_matched_policy[no_81]")
	b.logged(`0 0 0 - "-" "-" "-" "-" "-" virtual_inbound - 10.4.3.20:81 10.4.4.18:`)
	b.untilStat("tcp.rbac.denied", 1)
	b.untilStat("tcp.rbac.allowed", 2)
	b.untilStat("tcp.rbac.istio_dry_run_allow_shadow_denied", 2)
	select {
	case from := <-other:
		t.Errorf("the pod was called from %s", from)
	default:
	}
}

// guardRequests makes node b's tunnels as careful as they can be: a route for the
// pod's own address only, and HTTP RBAC filters.
func (p *testProxy) guardRequests(t *testing.T, target string, filters ...string) {
	t.Helper()
	chain := p.podChain("ztunnel_inbound")
	repack(t, chain.Filters[len(chain.Filters)-1].GetTypedConfig(), func(m proto.Message) {
		hcm := m.(*hcmv3.HttpConnectionManager)
		if err := protojson.Unmarshal([]byte(`{"connect_matcher": {}, "headers": [{"name": "`+target+`", "string_match": {"prefix": "10.4.3.20:"}}]}`),
			hcm.GetRouteConfig().VirtualHosts[0].Routes[0].Match); err != nil {
			t.Fatal(err)
		}
		for i, text := range filters {
			f := &hcmv3.HttpFilter{Name: "envoy.filters.http.rbac", ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: packJSON(t, &httprbacv3.RBAC{}, text)}}
			hcm.HttpFilters = append(hcm.HttpFilters[:i:i], append([]*hcmv3.HttpFilter{f}, hcm.HttpFilters[i:]...)...)
		}
	})
	p.push()
}

func TestHTTPRBAC(t *testing.T) {
	const denied = "RBAC: access denied"
	target := func(port string) string {
		return `{"header": {"name": "x-envoy-original-dst-host", "string_match": {"exact": "10.4.3.20:` + port + `"}}}`
	}
	p, b, pod := inbound(t, func(b *testProxy) {
		b.guardRequests(t, "x-envoy-original-dst-host",
			`{"shadow_rules_stat_prefix": "dry_", "shadow_rules": `+policy("DENY", "dry", target("9080"), `{"any": true}`)+`,
			  "rules": `+policy("DENY", "ns[a]-policy[no-81]-rule[0]", target("81"), `{"any": true}`)+`}`,
			`{"rules": `+policy("ALLOW", "in", `{"any": true}`, principal(sleepID))+`}`)
	})
	other := serve(t, p.productpage, "10.4.3.20:81", echo)
	for name, tc := range map[string]struct {
		identity string
		target   []string
		status   int
		body     string
	}{
		"allowed":                 {sleepID, []string{"10.4.3.20:9080"}, 200, "hello"},
		"denied by port":          {sleepID, []string{"10.4.3.20:81"}, 403, denied},
		"not allowed":             {webID, []string{"10.4.3.20:9080"}, 403, denied},
		"without a certificate":   {"", []string{"10.4.3.20:9080"}, 403, denied},
		"another pod":             {sleepID, []string{"10.4.3.201:81"}, 404, ""},
		"no target":               {sleepID, nil, 404, ""},
		"the pod behind another":  {sleepID, []string{"10.9.9.9:80", "10.4.3.20:9080"}, 404, ""},
		"the port written oddly":  {sleepID, []string{"10.4.3.20:081"}, 503, ""},
		"the port with a sign":    {sleepID, []string{"10.4.3.20:+81"}, 503, ""},
		"the port behind another": {sleepID, []string{"10.4.3.20:81", "10.4.3.20:9080"}, 503, ""},
	} {
		t.Run(name, func(t *testing.T) {
			req := tunnelRequest("10.4.3.20:9080", strings.NewReader("hello"))
			req.Header["X-Envoy-Original-Dst-Host"] = tc.target
			status, body, err := askTunnel(t, p, b, tc.identity, req)
			if status != tc.status || body != tc.body || err != nil {
				t.Errorf("got %d %q, %v", status, body, err)
			}
		})
	}
	<-pod
	for _, peers := range []<-chan string{pod, other} {
		select {
		case from := <-peers:
			t.Errorf("the pod was called from %s", from)
		default:
		}
	}
	b.logged(` 403 - rbac_access_denied_matched_policy[ns[a]-policy[no-81]-rule[0]] - `)
	b.logged(` 403 - rbac_access_denied_matched_policy[none] - `)
	b.logged(` 404 NR route_not_found - `)
	b.untilStat("http.inbound_hcm.rbac.denied", 3)
	b.untilStat("http.inbound_hcm.rbac.dry_shadow_denied", 3)
	b.untilStat("http.inbound_hcm.downstream_rq_4xx", 6)
}

// The target in :authority, as an unchanged Envoy can have it.
func TestTargetInAuthority(t *testing.T) {
	p, b, pod := inbound(t, func(b *testProxy) {
		b.guardRequests(t, ":authority")
		for _, c := range b.res.Clusters {
			if c.GetName() == "virtual_inbound" {
				c.GetOriginalDstLbConfig().HttpHeaderName = ":authority"
			}
		}
		b.push()
	})
	req := tunnelRequest("10.4.3.20:9080", strings.NewReader("hello"))
	req.Header["X-Envoy-Original-Dst-Host"] = []string{"10.9.9.9:80"} // is not looked at
	if status, body, err := askTunnel(t, p, b, sleepID, req); status != 200 || body != "hello" || err != nil {
		t.Errorf("got %d %q, %v", status, body, err)
	}
	<-pod
	if status, _, err := askTunnel(t, p, b, sleepID, tunnelRequest("10.9.9.9:80", strings.NewReader("hello"))); status != 404 || err != nil {
		t.Errorf("got %d, %v", status, err)
	}
}

// Who is denied leaves nothing behind, however many they are.
func TestFloodOfDenied(t *testing.T) {
	p, b, _ := inbound(t, func(b *testProxy) {
		b.guard(t, "ztunnel_inbound_plaintext", networkFilter(policy("ALLOW", "none", `{"not_rule": {"any": true}}`, `{"any": true}`)))
		b.guardRequests(t, ":authority", `{"rules": {}}`)
	})
	before := descriptors(t, b)
	client := hboneClient(t, p.ztunnelA, b.ca, sleepID, "10.4.3.20:15008")
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			for range 20 {
				if got, _ := ask(t, p.ztunnelA, "10.4.3.20:9080", "x"); got != "" {
					t.Errorf("answered %q", got)
				}
				res, err := client.Do(tunnelRequest("10.4.3.20:9080", strings.NewReader("x")))
				if err != nil || res.StatusCode != 403 {
					t.Errorf("%v, %v", res, err)
					continue
				}
				res.Body.Close()
			}
		})
	}
	wg.Wait()
	b.untilStat("tcp.rbac.denied", 400)
	b.untilStat("http.inbound_hcm.rbac.denied", 400)
	b.untilStat("listener.0.0.0.0_15006.downstream_cx_active", 0)
	b.untilStat("http.inbound_hcm.downstream_rq_active", 0)
	client.CloseIdleConnections()
	b.untilStat("listener.0.0.0.0_15008.downstream_cx_active", 0)
	wait(t, "the descriptors are closed", func() bool { return descriptors(t, b) < before+20 })
}
