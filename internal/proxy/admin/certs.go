// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http"
	"time"

	adminv3 "github.com/envoyproxy/go-control-plane/envoy/admin/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/ambient22/ambient22/internal/proxy/state"
)

// certs answers /certs: the certificates that came over SDS and are in use.
func (s *server) certs(w http.ResponseWriter, _ *http.Request) {
	out, err := certificates(s.Source.State(), s.Now())
	if err != nil {
		text(w, http.StatusInternalServerError, err.Error()+"\n")
		return
	}
	replyJSON(w, out)
}

func certificates(s *state.Snapshot, now time.Time) (*adminv3.Certificates, error) {
	out := &adminv3.Certificates{}
	for _, r := range s.Secrets.Resources {
		if r.Active == nil || r.Active.Body == nil {
			continue
		}
		var secret tlsv3.Secret
		if err := r.Active.Body.UnmarshalTo(&secret); err != nil {
			return nil, fmt.Errorf("reading secret %s: %w", r.Name, err)
		}
		roots, err := details(secret.GetValidationContext().GetTrustedCa(), now)
		if err != nil {
			return nil, fmt.Errorf("reading the roots in secret %s: %w", r.Name, err)
		}
		chain, err := details(secret.GetTlsCertificate().GetCertificateChain(), now)
		if err != nil {
			return nil, fmt.Errorf("reading the chain in secret %s: %w", r.Name, err)
		}
		if len(roots)+len(chain) > 0 {
			out.Certificates = append(out.Certificates, &adminv3.Certificate{CaCert: roots, CertChain: chain})
		}
	}
	return out, nil
}

// details describes every certificate of a PEM bundle.
func details(source *corev3.DataSource, now time.Time) ([]*adminv3.CertificateDetails, error) {
	certs, err := parse(source)
	if err != nil {
		return nil, err
	}
	var out []*adminv3.CertificateDetails
	for _, cert := range certs {
		out = append(out, describe(cert, now))
	}
	return out, nil
}

func parse(source *corev3.DataSource) ([]*x509.Certificate, error) {
	rest := source.GetInlineBytes()
	if text := source.GetInlineString(); text != "" {
		rest = []byte(text)
	}
	var out []*x509.Certificate
	for {
		var block *pem.Block
		block, rest = pem.Decode(rest)
		if block == nil {
			return out, nil
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("parsing certificate %d: %w", len(out)+1, err)
		}
		out = append(out, cert)
	}
}

// firstExpiry is when the first of the certificates in use ends; the zero time
// where there is none. What can't be read is left to /certs to report.
func firstExpiry(s *state.Snapshot) time.Time {
	var first time.Time
	for _, r := range s.Secrets.Resources {
		var secret tlsv3.Secret
		if r.Active == nil || r.Active.Body == nil || r.Active.Body.UnmarshalTo(&secret) != nil {
			continue
		}
		certs, err := parse(secret.GetTlsCertificate().GetCertificateChain())
		if err != nil {
			continue
		}
		for _, cert := range certs {
			if first.IsZero() || cert.NotAfter.Before(first) {
				first = cert.NotAfter
			}
		}
	}
	return first
}

func describe(cert *x509.Certificate, now time.Time) *adminv3.CertificateDetails {
	out := &adminv3.CertificateDetails{
		Path:         "<inline>",
		SerialNumber: cert.SerialNumber.Text(16),
		// A day that has begun is not left any more.
		DaysUntilExpiration: uint64(max(0, cert.NotAfter.Sub(now)/(24*time.Hour))),
		ValidFrom:           timestamppb.New(cert.NotBefore),
		ExpirationTime:      timestamppb.New(cert.NotAfter),
	}
	for _, uri := range cert.URIs {
		out.SubjectAltNames = append(out.SubjectAltNames, &adminv3.SubjectAlternateName{
			Name: &adminv3.SubjectAlternateName_Uri{Uri: uri.String()},
		})
	}
	for _, name := range cert.DNSNames {
		out.SubjectAltNames = append(out.SubjectAltNames, &adminv3.SubjectAlternateName{
			Name: &adminv3.SubjectAlternateName_Dns{Dns: name},
		})
	}
	return out
}
