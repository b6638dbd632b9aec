// SPDX-License-Identifier: Apache-2.0

package ca

import (
	"bytes"
	"crypto"
	"errors"
	"fmt"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

// ClockSkew is how far certificates begin in the past.
const ClockSkew = clockSkew

// Root is a self-signed certificate of one trust domain with its key. It doesn't
// change and is safe for use by many goroutines.
type Root struct{ signing root }

// NewRoot makes a root that is valid for life from now on.
func NewRoot(domain spiffeid.TrustDomain, now time.Time, life time.Duration) (*Root, error) {
	key, keyPEM, err := newKey()
	if err != nil {
		return nil, err
	}
	certPEM, err := signRoot(key, domain, now, life)
	if err != nil {
		return nil, err
	}
	return ParseRoot(domain, certPEM, keyPEM, now)
}

// ParseRoot reads a root from PEM: one certificate, and its PKCS #8 key, which is
// ECDSA P-256. It refuses one that can't sign for that trust domain now: expired,
// not self-signed, of another key or another trust domain.
func ParseRoot(domain spiffeid.TrustDomain, certPEM, keyPEM []byte, now time.Time) (*Root, error) {
	certs, bundle, err := parseBundle(certPEM)
	if err != nil {
		return nil, fmt.Errorf("reading a root's certificate: %w", err)
	}
	if len(certs) != 1 {
		return nil, fmt.Errorf("reading a root's certificate: there are %d, and only one can belong to the key", len(certs))
	}
	r := root{cert: certs[0], bundlePEM: bundle}
	if r.key, err = parseKey(keyPEM); err != nil {
		return nil, fmt.Errorf("reading a root's key: %w", err)
	}
	if err := r.check(domain, now); err != nil {
		return nil, fmt.Errorf("checking a root: %w", err)
	}
	return &Root{signing: r}, nil
}

// CertificatePEM is the root's certificate.
func (r *Root) CertificatePEM() []byte { return bytes.Clone(r.signing.bundlePEM) }

// KeyPEM is the root's key, PKCS #8.
func (r *Root) KeyPEM() ([]byte, error) { return encodeKey(r.signing.key) }

// NotBefore is when the root began to be valid, which is about when it was made.
func (r *Root) NotBefore() time.Time { return r.signing.cert.NotBefore }

// NotAfter is when the root stops being valid.
func (r *Root) NotAfter() time.Time { return r.signing.cert.NotAfter }

// Sign makes a certificate for a key that somebody else keeps: PEM, without the
// root. It is valid for ttl, but no longer than the root.
func (r *Root) Sign(id spiffeid.ID, key crypto.PublicKey, now time.Time, ttl time.Duration) (chainPEM []byte, err error) {
	if id.Path() == "" {
		return nil, errors.New("signing: a trust domain itself gets no certificate, a workload in it does")
	}
	chainPEM, _, err = r.signing.sign(id, key, now, ttl)
	return chainPEM, err
}

// ParseBundle reads a trust bundle: PEM, certificates only, at least one. It
// returns them in their plain form, without what may stand between them, and how
// many there are.
func ParseBundle(data []byte) (bundlePEM []byte, roots int, err error) {
	certs, bundle, err := parseBundle(data)
	if err != nil {
		return nil, 0, fmt.Errorf("reading a trust bundle: %w", err)
	}
	return bundle, len(certs), nil
}
