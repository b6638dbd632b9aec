// SPDX-License-Identifier: Apache-2.0

package admin_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/ambient22/ambient22/internal/proxy/admin"
	"github.com/ambient22/ambient22/internal/proxy/state"
)

func do(t *testing.T, h http.Handler, method, target string) (code int, body string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, target, nil))
	return w.Code, w.Body.String()
}

func get(t *testing.T, h http.Handler, target string) string {
	t.Helper()
	code, body := do(t, h, http.MethodGet, target)
	if code != http.StatusOK {
		t.Fatalf("GET %s: %d %s", target, code, body)
	}
	return body
}

// dumped is a config_dump, its parts by the last word of their type.
type dumped map[string]map[string]any

func dump(t *testing.T, s *state.Snapshot, query string) dumped {
	t.Helper()
	body := get(t, admin.New(admin.Config{Source: &source{snapshot: s}}), "/config_dump"+query)
	var decoded struct{ Configs []map[string]any }
	if err := json.Unmarshal([]byte(body), &decoded); err != nil {
		t.Fatalf("config_dump is not JSON: %v\n%s", err, body)
	}
	parts := make(dumped)
	for _, c := range decoded.Configs {
		kind, _ := c["@type"].(string)
		parts[kind[strings.LastIndex(kind, ".")+1:]] = c
	}
	return parts
}

func pack(t *testing.T, m proto.Message) *anypb.Any {
	t.Helper()
	a, err := anypb.New(m)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestDumpHasEnvoysParts(t *testing.T) {
	parts := dump(t, articleState(t, nodeA), "")
	for _, want := range []string{
		"BootstrapConfigDump", "ClustersConfigDump", "EcdsConfigDump", "ListenersConfigDump", "RoutesConfigDump", "SecretsConfigDump",
	} {
		if parts[want] == nil {
			t.Errorf("there is no %s", want)
		}
	}
	if parts["EndpointsConfigDump"] != nil {
		t.Error("endpoints are dumped without include_eds")
	}
	static := parts["ClustersConfigDump"]["static_clusters"].([]any)
	if len(static) != 2 {
		t.Errorf("%d static clusters, want the bootstrap's 2", len(static))
	}
	if got := static[0].(map[string]any)["last_updated"]; got != "2022-11-11T07:33:10.485Z" {
		t.Errorf("last_updated is %v, want milliseconds", got)
	}
	ecds := parts["EcdsConfigDump"]["ecds_filters"].([]any)[0].(map[string]any)["ecds_filter"].(map[string]any)
	if ecds["typed_config"].(map[string]any)["proxy_id"] != "ztunnel.istio-system" {
		t.Errorf("workload metadata is printed as %v", ecds)
	}
}

func TestDumpIsIndentedBySingleSpacesAndStable(t *testing.T) {
	h := admin.New(admin.Config{Source: &source{snapshot: articleState(t, nodeB)}})
	first := get(t, h, "/config_dump?include_eds")
	if !strings.HasPrefix(first, "{\n \"configs\": [\n  {\n   \"@type\": \"type.googleapis.com/envoy.admin.v3.BootstrapConfigDump\",\n") {
		t.Errorf("begins %q", first[:120])
	}
	for range 3 {
		if again := get(t, h, "/config_dump?include_eds"); again != first {
			t.Fatal("the same state printed differently")
		}
	}
}

func TestListenerStates(t *testing.T) {
	body := func(name string) *anypb.Any { return pack(t, &listenerv3.Listener{Name: name}) }
	s := &state.Snapshot{Listeners: state.Kind{Version: "7", Resources: []state.Resource{{
		Name:     "l",
		Active:   &state.Accepted{Version: "1", Updated: updated(), Body: body("l")},
		Warming:  &state.Accepted{Version: "2", Updated: updated(), Body: body("l")},
		Draining: &state.Accepted{Version: "0", Updated: updated(), Body: body("l")},
		Error:    &state.Rejected{Version: "3", Attempt: updated(), Details: "listener l: field udp: not supported", Body: body("l")},
	}}}}
	got := dump(t, s, "")["ListenersConfigDump"]
	at := "2022-11-11T07:33:10.485Z"
	l := map[string]any{"@type": "type.googleapis.com/envoy.config.listener.v3.Listener", "name": "l"}
	want := map[string]any{
		"@type": "type.googleapis.com/envoy.admin.v3.ListenersConfigDump", "version_info": "7",
		"dynamic_listeners": []any{map[string]any{
			"name":           "l",
			"active_state":   map[string]any{"version_info": "1", "listener": l, "last_updated": at},
			"warming_state":  map[string]any{"version_info": "2", "listener": l, "last_updated": at},
			"draining_state": map[string]any{"version_info": "0", "listener": l, "last_updated": at},
			"error_state": map[string]any{
				"failed_configuration": l, "last_update_attempt": at, "version_info": "3",
				"details": "listener l: field udp: not supported",
			},
		}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestClusterThatWasOnlyRefusedIsNotActive(t *testing.T) {
	s := &state.Snapshot{Clusters: state.Kind{Resources: []state.Resource{{
		Name: "c", Error: &state.Rejected{Version: "3", Details: "no"},
	}}}}
	got := dump(t, s, "")["ClustersConfigDump"]
	if got["dynamic_active_clusters"] != nil {
		t.Error("a refused cluster is listed as active")
	}
	refused := got["dynamic_warming_clusters"].([]any)[0].(map[string]any)
	if refused["error_state"].(map[string]any)["details"] != "no" {
		t.Errorf("the refusal is printed as %v", refused)
	}
}

// A key may stand in a secret, inline in a listener's TLS context, or in what was
// refused; none may be printed, and the proxy's own messages must stay whole.
func TestPrivateKeysAreNeverPrinted(t *testing.T) {
	const key = "-----BEGIN PRIVATE KEY-----very secret"
	certificate := &tlsv3.TlsCertificate{
		CertificateChain: &corev3.DataSource{Specifier: &corev3.DataSource_InlineString{InlineString: "chain"}},
		PrivateKey:       &corev3.DataSource{Specifier: &corev3.DataSource_InlineBytes{InlineBytes: []byte(key)}},
		Password:         &corev3.DataSource{Specifier: &corev3.DataSource_InlineString{InlineString: key}},
	}
	secret := pack(t, &tlsv3.Secret{Name: "s", Type: &tlsv3.Secret_TlsCertificate{TlsCertificate: certificate}})
	context := &tlsv3.DownstreamTlsContext{CommonTlsContext: &tlsv3.CommonTlsContext{TlsCertificates: []*tlsv3.TlsCertificate{certificate}}}
	listener := pack(t, &listenerv3.Listener{Name: "l", FilterChains: []*listenerv3.FilterChain{{
		TransportSocket: &corev3.TransportSocket{Name: "tls", ConfigType: &corev3.TransportSocket_TypedConfig{TypedConfig: pack(t, context)}},
	}}})
	before := proto.Clone(secret)
	s := &state.Snapshot{
		Secrets:   state.Kind{Resources: []state.Resource{{Name: "s", Active: &state.Accepted{Version: "1", Body: secret}}}},
		Listeners: state.Kind{Resources: []state.Resource{{Name: "l", Error: &state.Rejected{Body: listener}}}},
	}
	h := admin.New(admin.Config{Source: &source{snapshot: s}})
	for _, target := range []string{"/config_dump", "/config_dump?resource=dynamic_active_secrets"} {
		body := get(t, h, target)
		if strings.Contains(body, "very secret") || strings.Contains(body, "LS0tLS1CRUdJTiBQUklWQVRFIEtFWS0tLS0t") {
			t.Errorf("%s prints a private key:\n%s", target, body)
		}
		if !strings.Contains(body, `"inline_bytes": "W3JlZGFjdGVkXQ=="`) || !strings.Contains(body, `"inline_string": "[redacted]"`) {
			t.Errorf("%s does not show that keys were left out:\n%s", target, body)
		}
		if !strings.Contains(body, `"inline_string": "chain"`) {
			t.Errorf("%s hides the public chain", target)
		}
	}
	if !proto.Equal(before, secret) {
		t.Error("dumping changed the proxy's own secret")
	}
}

func TestSecretThatHasNotCome(t *testing.T) {
	s := &state.Snapshot{Secrets: state.Kind{Resources: []state.Resource{{Name: "ROOTCA", Warming: &state.Accepted{Updated: updated()}}}}}
	got := dump(t, s, "")["SecretsConfigDump"]["dynamic_warming_secrets"].([]any)[0]
	want := map[string]any{
		"name": "ROOTCA", "version_info": "uninitialized", "last_updated": "2022-11-11T07:33:10.485Z",
		"secret": map[string]any{"@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret", "name": "ROOTCA"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// A refused resource may hold what nobody here can decode; the refusal must
// still be readable.
func TestUnknownExtensionDoesNotSpoilTheDump(t *testing.T) {
	unknown := &anypb.Any{TypeUrl: "type.googleapis.com/acme.filters.v9.Odd", Value: []byte{0x0a, 0x01, 'x'}}
	l := pack(t, &listenerv3.Listener{Name: "l", FilterChains: []*listenerv3.FilterChain{{
		Filters: []*listenerv3.Filter{{Name: "odd", ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: unknown}}},
	}}})
	s := &state.Snapshot{Listeners: state.Kind{Resources: []state.Resource{{Name: "l", Error: &state.Rejected{Details: "unknown filter odd", Body: l}}}}}
	body := get(t, admin.New(admin.Config{Source: &source{snapshot: s}}), "/config_dump")
	for _, want := range []string{"unknown filter odd", `"@type": "type.googleapis.com/acme.filters.v9.Odd"`} {
		if !strings.Contains(body, want) {
			t.Errorf("missing %s in\n%s", want, body)
		}
	}
}

func TestRoutesOfEveryInboundChain(t *testing.T) {
	got := dump(t, articleState(t, nodeB), "")["RoutesConfigDump"]["static_route_configs"].([]any)
	if len(got) != 1 {
		t.Fatalf("%d route tables, want 1: node B has one pod", len(got))
	}
	if name := got[0].(map[string]any)["route_config"].(map[string]any)["name"]; name != "local_route" {
		t.Errorf("route table %v", name)
	}
}

func TestQuery(t *testing.T) {
	h := admin.New(admin.Config{Source: &source{snapshot: articleState(t, nodeA)}})
	count := func(target, what string) int { return strings.Count(get(t, h, target), what) }

	if got := count("/config_dump?resource=dynamic_active_clusters", `"@type": "type.googleapis.com/envoy.admin.v3.ClustersConfigDump.DynamicCluster"`); got < 5 {
		t.Errorf("resource= gave %d clusters", got)
	}
	if got := count("/config_dump?resource=dynamic_endpoint_configs", "DynamicEndpointConfig"); got == 0 {
		t.Error("resource=dynamic_endpoint_configs gave none")
	}
	named := "/config_dump?resource=dynamic_listeners&name_regex=" + url.QueryEscape(`ztunnel_(out|in)bound`)
	if got := count(named, `"@type": "type.googleapis.com/envoy.admin.v3.ListenersConfigDump.DynamicListener"`); got != 2 {
		t.Errorf("name_regex gave %d listeners, want the 2 whose whole name matches", got)
	}
	if got := get(t, h, "/config_dump?resource=bootstrap"); !strings.Contains(got, "envoy.config.bootstrap.v3.Bootstrap") {
		t.Errorf("resource=bootstrap gave %s", got)
	}
	for target, want := range map[string]int{
		"/config_dump?resource=nonsense":   http.StatusNotFound,
		"/config_dump?resource=@type":      http.StatusNotFound,
		"/config_dump?mask=dynamic":        http.StatusBadRequest,
		"/config_dump?name_regex=%28":      http.StatusBadRequest,
		"/config_dump?resource=&mask=&a=b": http.StatusBadRequest,
	} {
		if code, body := do(t, h, http.MethodGet, target); code != want {
			t.Errorf("%s: %d, want %d: %s", target, code, want, body)
		}
	}
}

func TestEmptyProxyDumps(t *testing.T) {
	parts := dump(t, &state.Snapshot{}, "?include_eds")
	if len(parts) != 7 {
		t.Errorf("%d parts, want 7", len(parts))
	}
}
