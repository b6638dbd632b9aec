// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/ambient22/ambient22/internal/proxy/config"
	"github.com/ambient22/ambient22/internal/proxy/secret"
)

// secrets are the secrets of one cluster, by name.
type secrets struct {
	all    []*secret.Entry
	byName map[string]*secret.Entry
}

func acquire(store *secret.Store, refs []config.SecretRef) *secrets {
	s := &secrets{byName: make(map[string]*secret.Entry)}
	for _, ref := range refs {
		if s.byName[ref.Name] == nil {
			e := store.Acquire(ref)
			s.all, s.byName[ref.Name] = append(s.all, e), e
		}
	}
	return s
}

// tlsError marks errors of the TLS handshake.
type tlsError struct{ err error }

func (e *tlsError) Error() string { return "TLS handshake: " + e.err.Error() }
func (e *tlsError) Unwrap() error { return e.err }

// verifyError says that the peer is not who it should be. Its text begins with
// what people look for in an Envoy's log, which is all that Envoy says about it.
type verifyError struct{ err error }

func (e *verifyError) Error() string {
	return "268435581:SSL routines:OPENSSL_internal:CERTIFICATE_VERIFY_FAILED: " + e.err.Error()
}
func (e *verifyError) Unwrap() error { return e.err }

// errNoSecret is what Envoy says, too, while SDS has not answered.
var errNoSecret = errors.New("secret is not supplied by SDS")

// handshake speaks TLS over conn as a client, with the newest certificate,
// which is returned; nil where the cluster presents none.
func (s *secrets) handshake(ctx context.Context, conn net.Conn, t *config.UpstreamTLS) (*tls.Conn, *secret.Value, error) {
	var cert *secret.Value
	cfg := &tls.Config{
		MinVersion: tls.VersionTLS13,
		NextProtos: t.ALPN,
		ServerName: t.SNI,
		// Without a validation context Envoy takes any certificate, and with one
		// it looks at names of its own choice: both are up to VerifyConnection.
		InsecureSkipVerify: true,
	}
	if t.Certificate != nil {
		cert = s.byName[t.Certificate.Name].Get()
		if cert == nil || cert.Certificate == nil {
			return nil, nil, &tlsError{fmt.Errorf("%s: %w", t.Certificate.Name, errNoSecret)}
		}
		if err := cert.Expired(time.Now()); err != nil {
			return nil, nil, &tlsError{err}
		}
		cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return cert.Certificate, nil
		}
	}
	if t.Validation != nil {
		roots := s.byName[t.Validation.Roots.Name].Get()
		if roots == nil || roots.Roots == nil {
			return nil, nil, &tlsError{fmt.Errorf("%s: %w", t.Validation.Roots.Name, errNoSecret)}
		}
		cfg.VerifyConnection = func(cs tls.ConnectionState) error {
			if err := t.Validation.Verify(cs.PeerCertificates, roots.Roots, x509.ExtKeyUsageServerAuth); err != nil {
				return &verifyError{err}
			}
			return nil
		}
	}
	c := tls.Client(conn, cfg)
	if err := c.HandshakeContext(ctx); err != nil {
		return nil, nil, &tlsError{err}
	}
	return c, cert, nil
}
