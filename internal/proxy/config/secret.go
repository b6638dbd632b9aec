// SPDX-License-Identifier: Apache-2.0

package config

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
)

// Secret is a certificate or a set of roots.
type Secret struct {
	Name        string
	Certificate *tls.Certificate
	Roots       *x509.CertPool
	// Redacted is the resource for people: the private key is replaced.
	Redacted *anypb.Any
}

// Expired says since when the certificate must not be presented any more; nil
// while it may be. An expired one is left of a control plane that was away for
// longer than its certificates live; Envoy goes on presenting it, and a peer that
// checks nothing would take it.
func (s *Secret) Expired(now time.Time) error {
	if s.Certificate == nil || s.Certificate.Leaf == nil || !now.After(s.Certificate.Leaf.NotAfter) {
		return nil
	}
	return fmt.Errorf("certificate %q expired at %s and was not renewed", s.Name, s.Certificate.Leaf.NotAfter.UTC().Format(time.RFC3339))
}

// Secret decodes a secret.
func (d *Decoder) Secret(body *anypb.Any) (*Secret, error) {
	var m tlsv3.Secret
	if err := d.unpack(body, &m); err != nil {
		return nil, err
	}
	s := &Secret{Name: m.GetName()}
	var err error
	switch t := m.GetType().(type) {
	case *tlsv3.Secret_TlsCertificate:
		if s.Certificate, err = certificate(t.TlsCertificate); err != nil {
			return nil, in(err, "tls_certificate")
		}
	case *tlsv3.Secret_ValidationContext:
		if s.Roots, err = roots(t.ValidationContext); err != nil {
			return nil, in(err, "validation_context")
		}
	default:
		return nil, errors.New("neither tls_certificate nor validation_context is set")
	}
	s.Redacted, err = redact(&m)
	return s, err
}

func certificate(m *tlsv3.TlsCertificate) (*tls.Certificate, error) {
	pair, err := tls.X509KeyPair(inline(m.GetCertificateChain()), inline(m.GetPrivateKey()))
	if err != nil {
		// The error of X509KeyPair names what does not fit, never the key.
		return nil, err
	}
	return &pair, nil
}

func roots(m *tlsv3.CertificateValidationContext) (*x509.CertPool, error) {
	if len(m.GetMatchSubjectAltNames())+len(m.GetMatchTypedSubjectAltNames()) > 0 {
		return nil, errors.New("subject alt names are only supported in the listener's own context")
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(inline(m.GetTrustedCa())) {
		return nil, fmt.Errorf("trusted_ca: holds no certificate")
	}
	return pool, nil
}

func inline(s *corev3.DataSource) []byte {
	if b := s.GetInlineBytes(); b != nil {
		return b
	}
	return []byte(s.GetInlineString())
}

func redact(m *tlsv3.Secret) (*anypb.Any, error) {
	if c := m.GetTlsCertificate(); c.GetPrivateKey() != nil {
		m = proto.CloneOf(m)
		m.GetTlsCertificate().PrivateKey = &corev3.DataSource{
			Specifier: &corev3.DataSource_InlineBytes{InlineBytes: []byte("[redacted]")},
		}
	}
	return anypb.New(m)
}
