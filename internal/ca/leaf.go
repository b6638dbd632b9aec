// SPDX-License-Identifier: Apache-2.0

package ca

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	mathrand "math/rand/v2"
	"net/url"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

// leaf is one issued certificate and its key.
type leaf struct {
	chainPEM []byte
	keyPEM   []byte
	renewAt  time.Time
}

// issue makes a key and signs a certificate for it that is valid for ttl.
func (r *root) issue(id spiffeid.ID, now time.Time, ttl time.Duration) (*leaf, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	chainPEM, end, err := r.sign(id, &key.PublicKey, now, ttl)
	if err != nil {
		return nil, err
	}
	keyPEM, err := encodeKey(key)
	if err != nil {
		return nil, err
	}
	return &leaf{chainPEM: chainPEM, keyPEM: keyPEM, renewAt: now.Add(RenewAfter(end.Sub(now)))}, nil
}

// sign makes a certificate of somebody's key that is valid until end: for ttl, but
// no longer than the root itself.
func (r *root) sign(id spiffeid.ID, key crypto.PublicKey, now time.Time, ttl time.Duration) (chainPEM []byte, end time.Time, err error) {
	end = now.Add(ttl)
	if end.After(r.cert.NotAfter) {
		end = r.cert.NotAfter
	}
	if !end.After(now) {
		return nil, end, fmt.Errorf("signing: %w", r.expired())
	}
	serial, err := newSerial()
	if err != nil {
		return nil, end, err
	}
	usage := x509.KeyUsageDigitalSignature
	if _, ok := key.(*rsa.PublicKey); ok {
		usage |= x509.KeyUsageKeyEncipherment // what RFC 5280, section 4.2.1.3, has for RSA keys only
	}
	// No subject: RFC 5280, section 4.2.1.6, then wants the SAN critical, which
	// CreateCertificate sees to.
	template := &x509.Certificate{
		SerialNumber:          serial,
		URIs:                  []*url.URL{id.URL()},
		NotBefore:             now.Add(-clockSkew),
		NotAfter:              end,
		KeyUsage:              usage,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, r.cert, key, r.key)
	if err != nil {
		return nil, end, fmt.Errorf("signing: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: pemCertificate, Bytes: der}), end, nil
}

// RenewAfter is when, from its issue on, a leaf of that lifetime is replaced:
// half of it, give or take a tenth, so that nodes and pods which started
// together don't renew together for ever.
func RenewAfter(life time.Duration) time.Duration {
	life = max(life, 0) // the clock may have been stepped past its end
	jitter := time.Duration(mathrand.Int64N(int64(life)/5 + 1))
	return life/2 - life/10 + jitter
}

// newSerial is a random positive number of 127 bits (RFC 5280, section 4.1.2.2):
// several controllers sign with one root and must not need to agree.
func newSerial() (*big.Int, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("making a serial number: %w", err)
	}
	return serial.Add(serial, big.NewInt(1)), nil
}
