// SPDX-License-Identifier: Apache-2.0

package config

import (
	"crypto/x509"
	"errors"
	"fmt"
	"slices"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	rawbufferv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/raw_buffer/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"

	"github.com/ambient22/ambient22/internal/proxy/match"
)

// DownstreamTLS is TLS 1.3 as a server.
type DownstreamTLS struct {
	Certificate       SecretRef
	Validation        *Validation // nil: no client certificate is asked for
	RequireClientCert bool
	ALPN              []string
}

// UpstreamTLS is TLS 1.3 as a client.
type UpstreamTLS struct {
	Certificate *SecretRef  // nil: none is presented
	Validation  *Validation // nil: the server's certificate is not checked, as Envoy does
	ALPN        []string
	SNI         string
}

// Validation is what a peer's certificate must fulfil.
type Validation struct {
	Roots SecretRef
	SANs  []match.Text // of URI names; none: any identity that the roots vouch for
}

// Match reports whether one of the names fulfils one of the matches.
func (v *Validation) Match(names []string) bool {
	for _, fits := range v.SANs {
		if slices.ContainsFunc(names, fits) {
			return true
		}
	}
	return len(v.SANs) == 0
}

func (t *DownstreamTLS) secrets() []SecretRef {
	refs := []SecretRef{t.Certificate}
	if t.Validation != nil {
		refs = append(refs, t.Validation.Roots)
	}
	return refs
}

func (t *UpstreamTLS) secrets() []SecretRef {
	var refs []SecretRef
	if t.Certificate != nil {
		refs = append(refs, *t.Certificate)
	}
	if t.Validation != nil {
		refs = append(refs, t.Validation.Roots)
	}
	return refs
}

func (d *Decoder) downstreamTLS(m *tlsv3.DownstreamTlsContext) (*DownstreamTLS, error) {
	certs, validation, err := d.commonTLS(m.GetCommonTlsContext())
	if err != nil {
		return nil, in(err, "common_tls_context")
	}
	if len(certs) != 1 {
		return nil, errors.New("common_tls_context.tls_certificate_sds_secret_configs: exactly one is supported")
	}
	t := &DownstreamTLS{
		Certificate:       certs[0],
		Validation:        validation,
		RequireClientCert: m.GetRequireClientCertificate().GetValue(),
		ALPN:              m.GetCommonTlsContext().GetAlpnProtocols(),
	}
	if t.RequireClientCert && validation == nil {
		return nil, errors.New("require_client_certificate: needs a validation context")
	}
	return t, nil
}

func (d *Decoder) upstreamTLS(m *tlsv3.UpstreamTlsContext) (*UpstreamTLS, error) {
	certs, validation, err := d.commonTLS(m.GetCommonTlsContext())
	if err != nil {
		return nil, in(err, "common_tls_context")
	}
	if len(certs) > 1 {
		return nil, errors.New("common_tls_context.tls_certificate_sds_secret_configs: at most one is supported")
	}
	t := &UpstreamTLS{Validation: validation, ALPN: m.GetCommonTlsContext().GetAlpnProtocols(), SNI: m.GetSni()}
	if len(certs) == 1 {
		t.Certificate = &certs[0]
	}
	return t, nil
}

func (d *Decoder) commonTLS(m *tlsv3.CommonTlsContext) (certs []SecretRef, v *Validation, err error) {
	if p := m.GetTlsParams(); p.GetTlsMinimumProtocolVersion() != tlsv3.TlsParameters_TLSv1_3 {
		return nil, nil, errors.New("tls_params.tls_minimum_protocol_version: only TLSv1_3 is supported")
	}
	for i, c := range m.GetTlsCertificateSdsSecretConfigs() {
		ref, err := d.secret(c)
		if err != nil {
			return nil, nil, in(err, "tls_certificate_sds_secret_configs[%d]", i)
		}
		certs = append(certs, ref)
	}
	if combined := m.GetCombinedValidationContext(); combined != nil {
		v, err = d.combined(combined)
		if err != nil {
			return nil, nil, in(err, "combined_validation_context")
		}
	}
	if c := m.GetValidationContextSdsSecretConfig(); c != nil {
		ref, err := d.secret(c)
		if err != nil {
			return nil, nil, in(err, "validation_context_sds_secret_config")
		}
		v = &Validation{Roots: ref}
	}
	return certs, v, nil
}

func (d *Decoder) combined(m *tlsv3.CommonTlsContext_CombinedCertificateValidationContext) (*Validation, error) {
	def := m.GetDefaultValidationContext()
	if def.GetTrustedCa() != nil {
		return nil, errors.New("default_validation_context.trusted_ca: is not supported, roots come over SDS")
	}
	ref, err := d.secret(m.GetValidationContextSdsSecretConfig())
	if err != nil {
		return nil, in(err, "validation_context_sds_secret_config")
	}
	sans, err := sanMatches(def)
	if err != nil {
		return nil, in(err, "default_validation_context")
	}
	return &Validation{Roots: ref, SANs: sans}, nil
}

func sanMatches(m *tlsv3.CertificateValidationContext) ([]match.Text, error) {
	var out []match.Text
	for i, s := range m.GetMatchSubjectAltNames() {
		t, err := text(s)
		if err != nil {
			return nil, in(err, "match_subject_alt_names[%d]", i)
		}
		out = append(out, t)
	}
	for i, s := range m.GetMatchTypedSubjectAltNames() {
		t, err := text(s.GetMatcher())
		if err != nil {
			return nil, in(err, "match_typed_subject_alt_names[%d].matcher", i)
		}
		out = append(out, t)
	}
	return out, nil
}

func isRawBuffer(ts *corev3.TransportSocket) bool {
	return ts.GetTypedConfig().MessageIs((*rawbufferv3.RawBuffer)(nil))
}

// Verify checks a peer's certificate chain: it must lead to roots and carry one
// of the names.
func (v *Validation) Verify(chain []*x509.Certificate, roots *x509.CertPool, usage x509.ExtKeyUsage) error {
	if len(chain) == 0 {
		return errors.New("peer presented no certificate")
	}
	intermediates := x509.NewCertPool()
	for _, c := range chain[1:] {
		intermediates.AddCert(c)
	}
	_, err := chain[0].Verify(x509.VerifyOptions{
		Roots:         roots,
		Intermediates: intermediates,
		KeyUsages:     []x509.ExtKeyUsage{usage},
	})
	if err != nil {
		return err
	}
	if names := URINames(chain[0]); !v.Match(names) {
		return fmt.Errorf("peer's names %q are not admitted", names)
	}
	return nil
}

// PeerNames are a certificate's names in the order in which RBAC asks for them:
// URIs, DNS names, and the subject in the form of RFC 2253.
func PeerNames(c *x509.Certificate) []string {
	return append(append(URINames(c), c.DNSNames...), c.Subject.String())
}

// URINames are a certificate's URI subject alternative names; a SPIFFE identity
// is one.
func URINames(c *x509.Certificate) []string {
	var names []string
	for _, u := range c.URIs {
		names = append(names, u.String())
	}
	return names
}
