// SPDX-License-Identifier: Apache-2.0

package listener

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	"github.com/ambient22/ambient22/internal/proxy/config"
	"github.com/ambient22/ambient22/internal/proxy/netio"
)

// handshakeTimeout bounds how long a peer may take to get through TLS; Envoy
// has no bound by default, and then anybody can hold connections open.
const handshakeTimeout = 15 * time.Second

// secure makes the connection a TLS one, with the newest certificate. A
// client's certificate is asked for where there is a validation context, and is
// checked where one is given; only where the context requires one must it be.
func (c *connection) secure(t *config.DownstreamTLS) error {
	below, ok := c.Conn.(netio.TCP)
	if !ok {
		return errors.New("TLS needs a TCP connection")
	}
	cert := c.config.secrets[t.Certificate.Name].Get()
	if cert == nil || cert.Certificate == nil {
		return fmt.Errorf("secret %q is not supplied by SDS", t.Certificate.Name)
	}
	if err := cert.Expired(time.Now()); err != nil {
		return err
	}
	cfg := &tls.Config{
		MinVersion:             tls.VersionTLS13,
		Certificates:           []tls.Certificate{*cert.Certificate},
		NextProtos:             t.ALPN,
		SessionTicketsDisabled: true, // a resumed session would outlive a rotated root
	}
	if t.Validation != nil {
		roots := c.config.secrets[t.Validation.Roots.Name].Get()
		if roots == nil || roots.Roots == nil {
			return fmt.Errorf("secret %q is not supplied by SDS", t.Validation.Roots.Name)
		}
		cfg.ClientAuth = tls.RequestClientCert
		cfg.VerifyConnection = func(cs tls.ConnectionState) error {
			if len(cs.PeerCertificates) == 0 && !t.RequireClientCert {
				return nil
			}
			return t.Validation.Verify(cs.PeerCertificates, roots.Roots, x509.ExtKeyUsageClientAuth)
		}
	}
	conn := tls.Server(below, cfg)
	ctx, cancel := context.WithTimeout(c.listener.set.ctx, handshakeTimeout)
	defer cancel()
	if err := conn.HandshakeContext(ctx); err != nil {
		return fmt.Errorf("TLS handshake: %w", err)
	}
	state := conn.ConnectionState()
	c.tls = &state
	c.Conn = netio.NewTLS(conn, below.TCPConn)
	c.listener.stats.tlsHandshakes.Inc()
	return nil
}
