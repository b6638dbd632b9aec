// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/ambient22/ambient22/internal/proxy/config"
	"github.com/ambient22/ambient22/internal/proxy/netio"
	"github.com/ambient22/ambient22/internal/proxy/secret"
)

// valid is a certificate, as far as its end goes.
func valid(until time.Time) *secret.Value {
	return &secret.Value{Secret: &config.Secret{Name: "leaf", Certificate: &tls.Certificate{Leaf: &x509.Certificate{NotAfter: until}}}}
}

func TestExpiredCertificateIsNotPresented(t *testing.T) {
	l := listen(t)
	m, _ := newManager(t)
	c := m.New(&config.Cluster{Name: "c", Type: config.ToOriginDst, HTTP2: &config.HTTP2{}, ConnectTimeout: 5 * time.Second,
		Socket: config.TransportSocket{TLS: &config.UpstreamTLS{ALPN: []string{"h2"}, Certificate: &config.SecretRef{Name: "leaf"}}}})
	entry := c.secrets.byName["leaf"]
	entry.Set(valid(time.Now().Add(-time.Second)))
	_, err := c.Connect(context.Background(), &Request{OriginalDst: netio.AddrPort(l.Addr()), Tunnel: &Tunnel{Authority: "x:1"}})
	var f *Failure
	if !errors.As(err, &f) || !f.TLS || !strings.Contains(err.Error(), `certificate "leaf" expired at`) {
		t.Errorf("error %v", err)
	}

	conn := &tunnelConn{cert: valid(time.Now().Add(time.Hour))}
	entry.Set(conn.cert)
	if c.pool.outdated(conn) {
		t.Error("a connection with the newest certificate is out of date")
	}
	conn.cert = valid(time.Now().Add(-time.Second))
	entry.Set(conn.cert)
	if !c.pool.outdated(conn) {
		t.Error("a connection with an expired certificate is used")
	}
}

// What was meant for a tunnel or for TLS must not go in the clear.
func TestInternalAddressTakesPlainBytesOnly(t *testing.T) {
	m, _ := newManager(t)
	internal := []config.Host{{Listener: "in"}}
	c := m.New(&config.Cluster{Name: "c", Hosts: internal, HTTP2: &config.HTTP2{}})
	if _, err := c.Connect(context.Background(), &Request{Tunnel: &Tunnel{Authority: "x:1"}}); err == nil {
		t.Error("a tunnel's bytes were passed on without a tunnel")
	}
	c = m.New(&config.Cluster{Name: "c", Hosts: internal, Socket: config.TransportSocket{TLS: &config.UpstreamTLS{}}})
	if _, err := c.Connect(context.Background(), &Request{}); err == nil {
		t.Error("bytes were passed on without TLS")
	}
}
