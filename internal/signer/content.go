// SPDX-License-Identifier: Apache-2.0

package signer

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"fmt"
	"strings"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	certificatesv1 "k8s.io/api/certificates/v1"
	"k8s.io/apimachinery/pkg/util/validation"
)

// Sizes of RSA keys. Longer ones would cost every handshake dearly.
const (
	minRSA = 2048
	maxRSA = 4096
)

// content reads the request inside the request: the PKCS #10 message (RFC 2986).
func (p Policy) content(c *certificatesv1.CertificateSigningRequest, asked *Asked) *Refusal {
	block, rest := pem.Decode(c.Spec.Request)
	if block == nil || block.Type != "CERTIFICATE REQUEST" || len(bytes.TrimSpace(rest)) > 0 {
		return refuse(ReasonMalformed, "spec.request must be one PEM block CERTIFICATE REQUEST and nothing else")
	}
	r, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return refuse(ReasonMalformed, "spec.request can't be read: %v", err)
	}
	if refusal := key(r); refusal != nil {
		return refusal
	}
	if err := r.CheckSignature(); err != nil {
		return refuse(ReasonMalformed, "spec.request is not signed with the key it is for: %v", err)
	}
	asked.Key = r.PublicKey
	return p.names(r, asked)
}

func key(r *x509.CertificateRequest) *Refusal {
	switch k := r.PublicKey.(type) {
	case *ecdsa.PublicKey:
		if k.Curve == elliptic.P256() {
			return nil
		}
		return refuse(ReasonKey, "the key is ECDSA %s; make an ECDSA P-256 key", k.Params().Name)
	case *rsa.PublicKey:
		if n := k.N.BitLen(); n < minRSA || n > maxRSA {
			return refuse(ReasonKey, "the key is RSA of %d bits; make an ECDSA P-256 key, or RSA of %d to %d bits", n, minRSA, maxRSA)
		}
		return nil
	}
	return refuse(ReasonKey, "the key is a %T; make an ECDSA P-256 key", r.PublicKey)
}

// emptyName is the DER form of a name without parts.
func emptyName() []byte { return []byte{0x30, 0x00} }

// subjectAltName is RFC 5280's extension of that name.
func subjectAltName() asn1.ObjectIdentifier { return asn1.ObjectIdentifier{2, 5, 29, 17} }

// names wants exactly one identity and nothing beside it. It compares the extension
// byte by byte with the one that the identity's only spelling makes, so that nothing
// can be in it that some reader of certificates takes for another name.
func (p Policy) names(r *x509.CertificateRequest, asked *Asked) *Refusal {
	if !bytes.Equal(r.RawSubject, emptyName()) {
		return refuse(ReasonNames, "the subject %q must be empty: an identity stands in the subjectAltName alone", r.Subject)
	}
	if len(r.Extensions) != 1 || !r.Extensions[0].Id.Equal(subjectAltName()) {
		return refuse(ReasonNames, "there must be one extension, the subjectAltName; there are %d", len(r.Extensions))
	}
	if len(r.URIs) != 1 || len(r.DNSNames)+len(r.IPAddresses)+len(r.EmailAddresses) > 0 {
		return refuse(ReasonNames, "the subjectAltName must be one URI; it has %d, and %d DNS names, %d addresses, %d e-mail addresses",
			len(r.URIs), len(r.DNSNames), len(r.IPAddresses), len(r.EmailAddresses))
	}
	uri := r.URIs[0].String()
	id, err := spiffeid.FromString(uri)
	if err != nil {
		return refuse(ReasonNames, "%q is no SPIFFE ID: %v", uri, err)
	}
	parts := strings.Split(id.Path(), "/")
	if len(parts) != 5 || parts[1] != "ns" || parts[3] != "sa" ||
		len(validation.IsDNS1123Label(parts[2])) > 0 || len(validation.IsDNS1123Subdomain(parts[4])) > 0 {
		return refuse(ReasonNames, "%q does not name a service account: %s", uri, p.form())
	}
	if !id.MemberOf(p.Domain) {
		return refuse(ReasonTrustDomain, "%q is of another trust domain than the signer's, %s: give ambient-node and ambient-signer the same --trust-domain",
			uri, p.Domain)
	}
	only, err := asn1.Marshal([]asn1.RawValue{{Class: asn1.ClassContextSpecific, Tag: 6, Bytes: []byte(id.String())}})
	if err != nil || !bytes.Equal(r.Extensions[0].Value, only) {
		return refuse(ReasonNames, "the subjectAltName has more in it than %s", id)
	}
	asked.ID, asked.Namespace, asked.ServiceAccount = id, parts[2], parts[4]
	return nil
}

func (p Policy) form() string {
	return fmt.Sprintf("it must be spiffe://%s/ns/NAMESPACE/sa/SERVICE-ACCOUNT", p.Domain)
}
