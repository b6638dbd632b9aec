// SPDX-License-Identifier: Apache-2.0

package ca

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"
	"time"
)

const (
	sleepID       = "spiffe://cluster.local/ns/default/sa/sleep"
	productpageID = "spiffe://cluster.local/ns/default/sa/bookinfo-productpage"
)

func open(t *testing.T, dir string, clock Clock, ttl time.Duration) *Authority {
	t.Helper()
	a, err := Open(dir, Options{TrustDomain: "cluster.local", TTL: ttl, Clock: clock})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// certificate asks for an identity's leaf and parses it.
func certificate(t *testing.T, a *Authority, identity string) (*x509.Certificate, tls.Certificate) {
	t.Helper()
	chain, key, err := a.Certificate(identity)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair(chain, key)
	if err != nil {
		t.Fatal(err)
	}
	return pair.Leaf, pair
}

func TestLeafProperties(t *testing.T) {
	clock := newFakeClock()
	a := open(t, t.TempDir()+"/ca", clock, 2*time.Hour)
	cert, pair := certificate(t, a, sleepID)

	if len(cert.URIs) != 1 || cert.URIs[0].String() != sleepID {
		t.Errorf("URI SANs = %v, want just %s", cert.URIs, sleepID)
	}
	if n := len(cert.DNSNames) + len(cert.IPAddresses) + len(cert.EmailAddresses); n != 0 {
		t.Errorf("%d SANs beside the SPIFFE ID", n)
	}
	if cert.Subject.String() != "" {
		t.Errorf("subject = %q, want none", cert.Subject)
	}
	if got, want := cert.NotAfter, clock.Now().Add(2*time.Hour); !got.Equal(want) {
		t.Errorf("not after %v, want %v", got, want)
	}
	if got, want := cert.NotBefore, clock.Now().Add(-clockSkew); !got.Equal(want) {
		t.Errorf("not before %v, want %v", got, want)
	}
	if cert.IsCA || cert.KeyUsage != x509.KeyUsageDigitalSignature {
		t.Errorf("IsCA %v, key usage %b", cert.IsCA, cert.KeyUsage)
	}
	usages := map[x509.ExtKeyUsage]bool{}
	for _, u := range cert.ExtKeyUsage {
		usages[u] = true
	}
	if len(usages) != 2 || !usages[x509.ExtKeyUsageServerAuth] || !usages[x509.ExtKeyUsageClientAuth] {
		t.Errorf("extended key usages = %v", cert.ExtKeyUsage)
	}
	if key, ok := pair.PrivateKey.(*ecdsa.PrivateKey); !ok || key.Curve != elliptic.P256() {
		t.Errorf("key is a %T, want ECDSA P-256", pair.PrivateKey)
	}
	if len(pair.Certificate) != 1 {
		t.Errorf("chain has %d certificates; the root is served apart", len(pair.Certificate))
	}

	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(a.Roots()) {
		t.Fatal("trust bundle holds no certificate")
	}
	opts := x509.VerifyOptions{Roots: roots, CurrentTime: clock.Now(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	if _, err := cert.Verify(opts); err != nil {
		t.Errorf("verifying the leaf: %v", err)
	}
}

func TestSameLeafUntilRenewal(t *testing.T) {
	clock := newFakeClock()
	a := open(t, t.TempDir(), clock, time.Hour)
	first, _ := certificate(t, a, sleepID)
	rotated := a.Rotated()

	clock.advance(23 * time.Minute) // the earliest renewal is at 0.4 of the TTL
	if again, _ := certificate(t, a, sleepID); !again.Equal(first) {
		t.Error("a fresh leaf before the old one was due")
	}
	clock.advance(14 * time.Minute) // 37 min: past the latest, 0.6 of the TTL
	second, _ := certificate(t, a, sleepID)
	if second.Equal(first) || second.SerialNumber.Cmp(first.SerialNumber) == 0 {
		t.Error("the leaf was not renewed when it was due")
	}
	if bytes.Equal(first.RawSubjectPublicKeyInfo, second.RawSubjectPublicKeyInfo) {
		t.Error("the renewed leaf has the old key")
	}
	select {
	case <-rotated:
	default:
		t.Error("a renewal on asking was not announced")
	}
}

func TestRunAnnouncesAndForgets(t *testing.T) {
	clock := newFakeClock()
	a := open(t, t.TempDir(), clock, time.Hour)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()

	first, _ := certificate(t, a, sleepID)
	certificate(t, a, productpageID)
	start := clock.Now()
	// Both go within a fifth of an hour; nobody asks for either again.
	for a.Held() > 0 {
		rotated := a.Rotated()
		advanceUntil(t, clock, rotated)
		if age := clock.Now().Sub(start); age < 24*time.Minute || age > 37*time.Minute {
			t.Errorf("renewal %v after the issue, want about half of an hour", age)
		}
	}
	if second, _ := certificate(t, a, sleepID); second.Equal(first) {
		t.Error("got the old leaf after its rotation")
	}
	if got := a.Held(); got != 1 {
		t.Errorf("%d leaves held, want the one asked for again", got)
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run returned %v", err)
	}
}

// advanceUntil lets time pass, a minute whenever the loop sleeps, until ch is closed.
func advanceUntil(t *testing.T, clock *fakeClock, ch <-chan struct{}) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	for {
		select {
		case <-ch:
			return
		case <-clock.armed:
			clock.advance(time.Minute)
		case <-deadline:
			t.Fatal("no rotation was announced")
		}
	}
}

func TestRetainForgetsKeys(t *testing.T) {
	a := open(t, t.TempDir(), newFakeClock(), time.Hour)
	kept, _ := certificate(t, a, sleepID)
	certificate(t, a, productpageID)
	a.Retain([]string{sleepID, "spiffe://cluster.local/ns/default/sa/never-asked"})
	if got := a.Held(); got != 1 {
		t.Errorf("%d leaves held, want 1", got)
	}
	if again, _ := certificate(t, a, sleepID); !again.Equal(kept) {
		t.Error("a retained leaf was replaced")
	}
}

func TestLeafNeverOutlivesRoot(t *testing.T) {
	clock := newFakeClock()
	a := open(t, t.TempDir(), clock, 24*time.Hour)
	clock.advance(a.root.cert.NotAfter.Sub(clock.Now()) - time.Hour)
	cert, _ := certificate(t, a, sleepID)
	if !cert.NotAfter.Equal(a.root.cert.NotAfter) {
		t.Errorf("leaf ends %v, root %v", cert.NotAfter, a.root.cert.NotAfter)
	}
	clock.advance(2 * time.Hour)
	if _, _, err := a.Certificate(productpageID); err == nil || !strings.Contains(err.Error(), "expired") {
		t.Errorf("issuing under an expired root: %v", err)
	}
}

func TestRefusedIdentities(t *testing.T) {
	a := open(t, t.TempDir(), newFakeClock(), time.Hour)
	for identity, want := range map[string]string{
		"spiffe://other.example/ns/default/sa/sleep": "trust domain cluster.local only",
		"spiffe://cluster.local":                     "gets no certificate",
		"sleep.default":                              "reading identity",
		"":                                           "reading identity",
		"spiffe://cluster.local/ns//sa/sleep":        "reading identity",
		"https://cluster.local/ns/default/sa/sleep": "reading identity",
	} {
		if _, _, err := a.Certificate(identity); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Certificate(%q) = %v, want an error with %q", identity, err, want)
		}
	}
	if a.Held() != 0 {
		t.Error("a refused identity left a leaf")
	}
}

func TestRefusedOptions(t *testing.T) {
	for name, o := range map[string]Options{
		"no trust domain":  {},
		"bad trust domain": {TrustDomain: "Cluster Local"},
		"TTL too short":    {TrustDomain: "cluster.local", TTL: 59 * time.Second},
		"TTL negative":     {TrustDomain: "cluster.local", TTL: -time.Hour},
		"TTL too long":     {TrustDomain: "cluster.local", TTL: RootLifetime + 1},
	} {
		dir := t.TempDir() + "/ca"
		if _, err := Open(dir, o); err == nil {
			t.Errorf("%s: no error", name)
		}
		if there, _ := exists(dir); there {
			t.Errorf("%s: the directory was made all the same", name)
		}
	}
}

func TestReturnedBytesAreCopies(t *testing.T) {
	a := open(t, t.TempDir(), newFakeClock(), time.Hour)
	chain, key, err := a.Certificate(sleepID)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range [][]byte{chain, key, a.Roots()} {
		clear(b)
	}
	chain, _, err = a.Certificate(sleepID)
	if err != nil {
		t.Fatal(err)
	}
	if block, _ := pem.Decode(chain); block == nil {
		t.Error("clearing what was handed out cleared the authority's own")
	}
	if block, _ := pem.Decode(a.Roots()); block == nil {
		t.Error("clearing the bundle cleared the authority's own")
	}
}

// TestRenewAfterTheEnd has the clock stepped past a certificate's end.
func TestRenewAfterTheEnd(t *testing.T) {
	for _, life := range []time.Duration{-24 * time.Hour, -1, 0, 1} {
		if after := RenewAfter(life); after < 0 || after > 1 {
			t.Errorf("of %v it is %v", life, after)
		}
	}
}
