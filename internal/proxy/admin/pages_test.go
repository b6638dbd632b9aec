// SPDX-License-Identifier: Apache-2.0

package admin_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"github.com/google/go-cmp/cmp"

	"github.com/ambient22/ambient22/internal/proxy/admin"
	"github.com/ambient22/ambient22/internal/proxy/state"
	"github.com/ambient22/ambient22/internal/proxy/stats"
)

func TestReady(t *testing.T) {
	s := &source{snapshot: &state.Snapshot{}}
	draining := false
	h := admin.New(admin.Config{Source: s, Draining: func() bool { return draining }})
	if code, body := do(t, h, http.MethodGet, "/ready"); code != http.StatusServiceUnavailable || body != "INITIALIZING\n" {
		t.Errorf("before: %d %q", code, body)
	}
	s.ready = true
	if code, body := do(t, h, http.MethodGet, "/ready"); code != http.StatusOK || body != "LIVE\n" {
		t.Errorf("after: %d %q", code, body)
	}
	draining = true
	if code, body := do(t, h, http.MethodGet, "/ready"); code != http.StatusServiceUnavailable || body != "DRAINING\n" {
		t.Errorf("at the end: %d %q", code, body)
	}
}

func TestHelpNamesEveryPage(t *testing.T) {
	h := admin.New(admin.Config{Source: &source{snapshot: articleState(t, nodeA)}})
	help := get(t, h, "/help")
	for _, page := range []string{
		"/certs", "/clusters", "/config_dump", "/help", "/listeners", "/logging", "/ready", "/server_info", "/stats", "/stats/prometheus",
	} {
		if !strings.Contains(help, "  "+page+": ") {
			t.Errorf("help does not name %s", page)
		}
		if code, _ := do(t, h, http.MethodGet, page); code != http.StatusOK && page != "/ready" {
			t.Errorf("%s answers %d", page, code)
		}
	}
	if get(t, h, "/") != help {
		t.Error("/ is not the help")
	}
	if code, body := do(t, h, http.MethodGet, "/nonsense"); code != http.StatusNotFound || !strings.Contains(body, "/config_dump") {
		t.Errorf("unknown path: %d %s", code, body)
	}
}

func TestQuitOnlyByPost(t *testing.T) {
	quits := 0
	h := admin.New(admin.Config{Source: &source{}, Quit: func() { quits++ }})
	if code, body := do(t, h, http.MethodGet, "/quitquitquit"); code != http.StatusMethodNotAllowed || body != "Method GET not allowed, POST required.\n" {
		t.Errorf("GET: %d %q", code, body)
	}
	if code, body := do(t, h, http.MethodPost, "/quitquitquit"); code != http.StatusOK || body != "OK\n" {
		t.Errorf("POST: %d %q", code, body)
	}
	if quits != 1 {
		t.Errorf("quit %d times, want once, by the POST", quits)
	}
	if code, _ := do(t, admin.New(admin.Config{Source: &source{}}), http.MethodPost, "/quitquitquit"); code != http.StatusNotImplemented {
		t.Errorf("without Quit: %d", code)
	}
}

func TestLogging(t *testing.T) {
	var proxy, xds slog.LevelVar
	h := admin.New(admin.Config{Source: &source{}, Loggers: []admin.Logger{{Name: "proxy", Level: &proxy}, {Name: "xds", Level: &xds}}})
	if got := get(t, h, "/logging"); got != "active loggers:\n  proxy: info\n  xds: info\n" {
		t.Errorf("at first: %q", got)
	}
	for _, step := range []struct {
		method, target string
		code           int
		proxy, xds     slog.Level
	}{
		{http.MethodGet, "/logging?level=debug", http.StatusMethodNotAllowed, slog.LevelInfo, slog.LevelInfo},
		{http.MethodPost, "/logging?level=debug", http.StatusOK, slog.LevelDebug, slog.LevelDebug},
		{http.MethodPost, "/logging?xds=warning", http.StatusOK, slog.LevelDebug, slog.LevelWarn},
		{http.MethodPost, "/logging?proxy=error&xds=loud", http.StatusBadRequest, slog.LevelDebug, slog.LevelWarn},
		{http.MethodPost, "/logging?dns=error", http.StatusBadRequest, slog.LevelDebug, slog.LevelWarn},
		{http.MethodPost, "/logging?level=OFF", http.StatusOK, slog.LevelError + 100, slog.LevelError + 100},
	} {
		code, body := do(t, h, step.method, step.target)
		if code != step.code || proxy.Level() != step.proxy || xds.Level() != step.xds {
			t.Errorf("%s %s: %d, proxy %s, xds %s\n%s", step.method, step.target, code, proxy.Level(), xds.Level(), body)
		}
	}
	if got := get(t, h, "/logging"); got != "active loggers:\n  proxy: off\n  xds: off\n" {
		t.Errorf("at last: %q", got)
	}
}

func registry() *stats.Registry {
	r := &stats.Registry{}
	r.Counter("cluster.outbound_pod_tunnel_clus_spiffe://cluster.local/ns/default/sa/sleep.upstream_cx_total").Add(3)
	r.Gauge("cluster.xds-grpc.upstream_cx_active").Add(1)
	r.Counter("cluster.a.b.svc.cluster.local.ssl.handshake").Add(2)
	r.Counter("listener.0.0.0.0_15001.downstream_cx_total").Add(4)
	r.Counter(`tcp.a"b\c.downstream_cx_total`).Add(5)
	r.Counter("control_plane.rate-limit")
	r.Gauge("server.live").Set(1)
	return r
}

func TestStatsText(t *testing.T) {
	h := admin.New(admin.Config{Source: &source{snapshot: &state.Snapshot{}}, Stats: registry()})
	all := get(t, h, "/stats")
	if !strings.HasPrefix(all, "cluster.a.b.svc.cluster.local.ssl.handshake: 2\n") || strings.Count(all, "\n") != 8 {
		t.Errorf("/stats:\n%s", all)
	}
	if got := get(t, h, "/stats?usedonly"); strings.Contains(got, "control_plane") || strings.Count(got, "\n") != 7 {
		t.Errorf("usedonly:\n%s", got)
	}
	if got := get(t, h, "/stats?filter="+url.QueryEscape(`^listener\.`)); got != "listener.0.0.0.0_15001.downstream_cx_total: 4\n" {
		t.Errorf("filter: %q", got)
	}
	var decoded struct {
		Stats []struct {
			Name  string
			Value int64
		}
	}
	if err := json.Unmarshal([]byte(get(t, h, "/stats?format=json&filter=server.live")), &decoded); err != nil || len(decoded.Stats) != 1 || decoded.Stats[0].Value != 1 {
		t.Errorf("json: %v %+v", err, decoded)
	}
	for _, target := range []string{"/stats?filter=%28", "/stats?format=xml", "/stats/prometheus?filter=%28"} {
		if code, _ := do(t, h, http.MethodGet, target); code != http.StatusBadRequest {
			t.Errorf("%s: %d", target, code)
		}
	}
}

func TestStatsPrometheus(t *testing.T) {
	want := `# TYPE envoy_cluster_ssl_handshake counter
envoy_cluster_ssl_handshake{envoy_cluster_name="a.b.svc.cluster.local"} 2
# TYPE envoy_cluster_upstream_cx_active gauge
envoy_cluster_upstream_cx_active{envoy_cluster_name="xds-grpc"} 1
# TYPE envoy_cluster_upstream_cx_total counter
envoy_cluster_upstream_cx_total{envoy_cluster_name="outbound_pod_tunnel_clus_spiffe://cluster.local/ns/default/sa/sleep"} 3
# TYPE envoy_control_plane_rate_limit counter
envoy_control_plane_rate_limit{} 0
# TYPE envoy_listener_downstream_cx_total counter
envoy_listener_downstream_cx_total{envoy_listener_address="0.0.0.0_15001"} 4
# TYPE envoy_server_live gauge
envoy_server_live{} 1
# TYPE envoy_server_uptime gauge
envoy_server_uptime{} 90
# TYPE envoy_tcp_downstream_cx_total counter
envoy_tcp_downstream_cx_total{envoy_tcp_prefix="a\"b\\c"} 5
`
	config := admin.Config{
		Source: &source{snapshot: &state.Snapshot{Started: updated()}}, Stats: registry(),
		Now: func() time.Time { return updated().Add(90 * time.Second) },
	}
	h := admin.New(config)
	memory := regexp.MustCompile(`(?m)^# TYPE envoy_server_memory_allocated gauge\nenvoy_server_memory_allocated\{\} [1-9]\d+\n`)
	for _, handler := range []struct {
		h      http.Handler
		target string
	}{
		{h, "/stats/prometheus"},
		{h, "/stats?format=prometheus"},
		{admin.Metrics(config), admin.MetricsPath},
	} {
		got := get(t, handler.h, handler.target)
		if !memory.MatchString(got) {
			t.Errorf("%s does not tell how much memory is in use", handler.target)
		}
		if diff := cmp.Diff(want, memory.ReplaceAllString(got, "")); diff != "" {
			t.Errorf("%s: %s", handler.target, diff)
		}
	}
}

func TestServerInfo(t *testing.T) {
	h := admin.New(admin.Config{
		Source: &source{snapshot: articleState(t, nodeA), ready: true}, Version: "v1",
		Now: func() time.Time { return updated().Add(90*time.Second + time.Millisecond) },
	})
	body := get(t, h, "/server_info")
	for _, want := range []string{`"version": "v1"`, `"uptime_current_epoch": "90s"`, `"id": "ztunnel~10.4.4.18~ztunnel-rts54.istio-system~istio-system.svc.cluster.local"`} {
		if !strings.Contains(body, want) {
			t.Errorf("missing %s in\n%s", want, body)
		}
	}
	// LIVE is the zero value of Envoy's state, and zero values are not printed.
	if strings.Contains(body, "INITIALIZING") {
		t.Error("a ready proxy is called initializing")
	}
}

func TestClustersAndListeners(t *testing.T) {
	h := admin.New(admin.Config{Source: &source{snapshot: articleState(t, nodeA)}})
	clusters := get(t, h, "/clusters")
	for _, want := range []string{
		"xds-grpc::added_via_api::false\n",
		"xds-grpc::/run/ambient22/xds.sock::health_flags::healthy\n",
		"PassthroughCluster::added_via_api::true\n",
		"spiffe://cluster.local/ns/default/sa/sleep_to_http_productpage.default.svc.cluster.local_outbound_internal::" +
			"envoy://outbound_tunnel_lis_spiffe://cluster.local/ns/default/sa/sleep/10.4.3.20:9080::weight::1\n",
	} {
		if !strings.Contains(clusters, want) {
			t.Errorf("/clusters misses %s", want)
		}
	}
	listeners := get(t, h, "/listeners")
	for _, want := range []string{
		"ztunnel_outbound::0.0.0.0:15001\n",
		"outbound_tunnel_lis_spiffe://cluster.local/ns/default/sa/sleep::envoy://outbound_tunnel_lis_spiffe://cluster.local/ns/default/sa/sleep/\n",
	} {
		if !strings.Contains(listeners, want) {
			t.Errorf("/listeners misses %s", want)
		}
	}
	for _, target := range []string{"/clusters?format=json", "/listeners?format=json"} {
		if body := get(t, h, target); !json.Valid([]byte(body)) || !strings.Contains(body, "_statuses") {
			t.Errorf("%s: %s", target, body)
		}
	}
}

func TestCerts(t *testing.T) {
	leaf := certificate(t, "spiffe://cluster.local/ns/default/sa/sleep")
	secret := &tlsv3.Secret{Name: "s", Type: &tlsv3.Secret_TlsCertificate{TlsCertificate: &tlsv3.TlsCertificate{
		CertificateChain: &corev3.DataSource{Specifier: &corev3.DataSource_InlineBytes{InlineBytes: leaf}},
	}}}
	roots := &tlsv3.Secret{Name: "ROOTCA", Type: &tlsv3.Secret_ValidationContext{ValidationContext: &tlsv3.CertificateValidationContext{
		TrustedCa: &corev3.DataSource{Specifier: &corev3.DataSource_InlineString{InlineString: string(leaf) + string(leaf)}},
	}}}
	s := &state.Snapshot{Secrets: state.Kind{Resources: []state.Resource{
		{Name: "ROOTCA", Active: &state.Accepted{Body: pack(t, roots)}},
		{Name: "s", Active: &state.Accepted{Body: pack(t, secret)}},
	}}}
	h := admin.New(admin.Config{Source: &source{snapshot: s}, Now: updated})
	var decoded struct {
		Certificates []struct {
			CACert    []any `json:"ca_cert"`
			CertChain []struct {
				SerialNumber string `json:"serial_number"`
				Days         string `json:"days_until_expiration"`
				SANs         []any  `json:"subject_alt_names"`
			} `json:"cert_chain"`
		}
	}
	if err := json.Unmarshal([]byte(get(t, h, "/certs")), &decoded); err != nil {
		t.Fatal(err)
	}
	if len(decoded.Certificates) != 2 || len(decoded.Certificates[0].CACert) != 2 || len(decoded.Certificates[1].CertChain) != 1 {
		t.Fatalf("got %+v", decoded)
	}
	if got := get(t, h, "/stats?filter=cert_expiring"); got != "server.days_until_first_cert_expiring: 1\nserver.seconds_until_first_cert_expiring: 169199\n" {
		t.Errorf("expiry in the statistics: %q", got)
	}
	chain := decoded.Certificates[1].CertChain[0]
	want := []any{map[string]any{"uri": "spiffe://cluster.local/ns/default/sa/sleep"}}
	if chain.SerialNumber != "beef" || chain.Days != "1" || !cmp.Equal(want, chain.SANs) {
		t.Errorf("leaf is %+v", chain)
	}
}

// certificate is a self-signed one with that URI, valid for 47 hours from updated.
func certificate(t *testing.T, uri string) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	san, err := url.Parse(uri)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(0xbeef), URIs: []*url.URL{san},
		NotBefore: updated(), NotAfter: updated().Add(47 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func TestReadinessPort(t *testing.T) {
	ready := false
	h := admin.Readiness(func(*http.Request) bool { return ready })
	if code, _ := do(t, h, http.MethodGet, admin.ReadinessPath); code != http.StatusServiceUnavailable {
		t.Errorf("before: %d", code)
	}
	ready = true
	if code, _ := do(t, h, http.MethodGet, admin.ReadinessPath); code != http.StatusOK {
		t.Errorf("after: %d", code)
	}
	// The port is open to the whole cluster and must not show the configuration.
	if code, _ := do(t, h, http.MethodGet, "/config_dump"); code != http.StatusNotFound {
		t.Errorf("/config_dump on the readiness port: %d", code)
	}
}

func TestListenTakesLoopbackOnly(t *testing.T) {
	_, err := admin.Listen(t.Context(), netip.MustParseAddrPort("0.0.0.0:0"), false)
	if !errors.Is(err, admin.ErrNotLoopback) {
		t.Errorf("0.0.0.0 gave %v", err)
	}
	l, err := admin.Listen(t.Context(), netip.MustParseAddrPort("127.0.0.1:0"), false)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
}

func TestServeEndsWithItsContext(t *testing.T) {
	l, err := admin.Listen(t.Context(), netip.MustParseAddrPort("127.0.0.1:0"), false)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- admin.Serve(ctx, l, admin.New(admin.Config{Source: &source{ready: true}})) }()
	response, err := http.Get("http://" + l.Addr().String() + "/ready")
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(response.Body)
	if err != nil || !bytes.Equal(body, []byte("LIVE\n")) {
		t.Errorf("%v %q", err, body)
	}
	response.Body.Close()
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("ended with %v", err)
	}
}
