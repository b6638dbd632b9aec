// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"golang.org/x/net/http2"

	"github.com/ambient22/ambient22/internal/proxy/proxytest"
)

// hboneClient is a foreign HTTP/2 client in ns that presents identity, or no
// certificate where that is empty.
func hboneClient(t *testing.T, ns *netns, ca *proxytest.CA, identity, to string) *http.Client {
	t.Helper()
	cfg := &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13, NextProtos: []string{"h2"}}
	if identity != "" {
		chain, key, err := ca.Leaf(identity)
		if err != nil {
			t.Fatal(err)
		}
		pair, err := tls.X509KeyPair(chain, key)
		if err != nil {
			t.Fatal(err)
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	return tunnelClient(t, ns, cfg, to)
}

// tunnelClient is the same with a TLS configuration of the caller's.
func tunnelClient(t *testing.T, ns *netns, cfg *tls.Config, to string) *http.Client {
	t.Helper()
	tr := &http2.Transport{DialTLSContext: func(ctx context.Context, _, _ string, _ *tls.Config) (net.Conn, error) {
		c, err := ns.dial(to)
		if err != nil {
			return nil, err
		}
		deadline(t, c)
		conn := tls.Client(c, cfg)
		return conn, conn.HandshakeContext(ctx)
	}}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

func tunnelRequest(target string, body io.Reader) *http.Request {
	return &http.Request{
		Method: http.MethodConnect, URL: &url.URL{Scheme: "https", Host: target}, Host: target,
		Header: http.Header{"X-Envoy-Original-Dst-Host": {target}}, Body: io.NopCloser(body),
	}
}

func TestForeignClient(t *testing.T) {
	ca, err := proxytest.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	p := newPath(t)
	b := newProxy(t, "b", p.ztunnelB, ca, true)
	b.start()
	serve(t, p.productpage, "10.4.3.20:9080", echo)
	const inbound = "10.4.3.20:15008"

	t.Run("tunnel", func(t *testing.T) {
		res, err := hboneClient(t, p.ztunnelA, ca, sleepID, inbound).Do(tunnelRequest("10.4.3.20:9080", strings.NewReader("hello")))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(res.Body); res.StatusCode != 200 || string(got) != "hello" || err != nil {
			t.Errorf("status %d, %q, %v", res.StatusCode, got, err)
		}
	})
	t.Run("no certificate is admitted", func(t *testing.T) {
		res, err := hboneClient(t, p.ztunnelA, ca, "", inbound).Do(tunnelRequest("10.4.3.20:9080", bytes.NewReader(nil)))
		if err != nil || res.StatusCode != 200 {
			t.Errorf("%v, %v", res, err)
		}
	})
	t.Run("identity of another trust domain", func(t *testing.T) {
		client := hboneClient(t, p.ztunnelA, ca, "spiffe://other.domain/ns/default/sa/sleep", inbound)
		if res, err := client.Do(tunnelRequest("10.4.3.20:9080", bytes.NewReader(nil))); err == nil {
			t.Errorf("was admitted: %v", res)
		}
		b.untilStatIs("listener.0.0.0.0_15008.ssl.connection_error", "at least 1", func(n int64) bool { return n >= 1 })
	})
	t.Run("nobody listens", func(t *testing.T) {
		res, err := hboneClient(t, p.ztunnelA, ca, sleepID, inbound).Do(tunnelRequest("10.4.3.20:1", bytes.NewReader(nil)))
		if err != nil || res.StatusCode != 503 {
			t.Errorf("%v, %v", res, err)
		}
	})
	t.Run("not CONNECT", func(t *testing.T) {
		res, err := hboneClient(t, p.ztunnelA, ca, sleepID, inbound).Get("https://10.4.3.20:9080/index")
		if err != nil || res.StatusCode != 404 {
			t.Errorf("%v, %v", res, err)
		}
		wait(t, "the access log has it", func() bool {
			return strings.Contains(b.access.String(), `"GET /index HTTP/2" 404 NR route_not_found`)
		})
	})
	t.Run("not TLS", func(t *testing.T) {
		if got, err := ask(t, p.ztunnelA, inbound, "GET / HTTP/1.1\r\n\r\n"); strings.Contains(got, "HTTP") {
			t.Errorf("%q, %v", got, err)
		}
	})
	if strings.Count(b.log.String(), "peer_identity=\"\"") != 1 {
		t.Error("the client without a certificate is not in the log")
	}
}
