// SPDX-License-Identifier: Apache-2.0

package ca

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

// PEM block types.
const (
	pemCertificate = "CERTIFICATE"
	pemKey         = "PRIVATE KEY"
)

// errOtherDomain: the files are whole, and somebody else's.
var errOtherDomain = errors.New("wrong trust domain")

// root signs the leaves.
type root struct {
	cert      *x509.Certificate
	key       *ecdsa.PrivateKey
	bundlePEM []byte // every certificate of ca.crt, the signing one first
}

// signRoot makes the self-signed certificate of a root key, as PEM.
func signRoot(key *ecdsa.PrivateKey, domain spiffeid.TrustDomain, now time.Time, life time.Duration) ([]byte, error) {
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{Organization: []string{domain.Name()}, CommonName: "ambient22 root"},
		// X.509-SVID: the signing certificate carries the trust domain itself.
		URIs:                  []*url.URL{domain.ID().URL()},
		NotBefore:             now.Add(-time.Hour), // before any leaf begins
		NotAfter:              now.Add(life),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true, // it signs workloads and no further authorities
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, fmt.Errorf("signing the root: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: pemCertificate, Bytes: der}), nil
}

// newKey makes a root key, as PEM too.
func newKey() (*ecdsa.PrivateKey, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("making the root key: %w", err)
	}
	keyPEM, err := encodeKey(key)
	return key, keyPEM, err
}

// encodeKey is the key's PKCS #8 form, PEM.
func encodeKey(key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encoding a key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: pemKey, Bytes: der}), nil
}

// parseKey reads ca.key.
func parseKey(data []byte) (*ecdsa.PrivateKey, error) {
	block, _ := pem.Decode(data)
	if block == nil || block.Type != pemKey {
		return nil, fmt.Errorf("no PEM block %q", pemKey)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	ec, ok := key.(*ecdsa.PrivateKey)
	if !ok || ec.Curve != elliptic.P256() {
		return nil, errors.New("not an ECDSA P-256 key")
	}
	return ec, nil
}

// parseBundle reads ca.crt: the root that signs, then any further roots that are
// to be trusted beside it.
func parseBundle(data []byte) ([]*x509.Certificate, []byte, error) {
	var certs []*x509.Certificate
	var bundle bytes.Buffer
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != pemCertificate {
			return nil, nil, fmt.Errorf("unexpected PEM block %q", block.Type)
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, nil, fmt.Errorf("certificate %d: %w", len(certs)+1, err)
		}
		certs = append(certs, cert)
		bundle.Write(pem.EncodeToMemory(&pem.Block{Type: pemCertificate, Bytes: block.Bytes}))
	}
	if len(certs) == 0 {
		return nil, nil, fmt.Errorf("no PEM block %q", pemCertificate)
	}
	return certs, bundle.Bytes(), nil
}

// check says why the root can't sign for that trust domain now.
func (r *root) check(domain spiffeid.TrustDomain, now time.Time) error {
	c := r.cert
	switch {
	case !c.IsCA || c.KeyUsage&x509.KeyUsageCertSign == 0:
		return errors.New("it is not a certificate authority's")
	case c.CheckSignatureFrom(c) != nil:
		return errors.New("it is not self-signed, and proxies verify up to a root")
	case !r.key.PublicKey.Equal(c.PublicKey):
		return errors.New("it does not belong to the key in " + keyFile)
	case now.After(c.NotAfter):
		return r.expired()
	case now.Before(c.NotBefore):
		return fmt.Errorf("it is not valid before %s, and it is %s here", c.NotBefore.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	}
	// A root made by other hands may carry no SPIFFE ID; one that does names the
	// only trust domain it is good for.
	for _, uri := range c.URIs {
		if id, err := spiffeid.FromURI(uri); err == nil && id.TrustDomain() != domain {
			return fmt.Errorf("%w: it is the root of %s, and %s is configured", errOtherDomain, id.TrustDomain(), domain)
		}
	}
	return nil
}

func (r *root) expired() error {
	return fmt.Errorf("the root expired at %s", r.cert.NotAfter.UTC().Format(time.RFC3339))
}
