// SPDX-License-Identifier: Apache-2.0

package pki

import (
	"crypto/tls"
	"crypto/x509"
	"slices"
	"testing"
)

func TestCertificatesServeOnlyTheirUse(t *testing.T) {
	ca, err := NewAuthority("test")
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca.Pair.Cert) {
		t.Fatal("the root is not read")
	}
	client, err := ca.Client("system:node:a", "system:nodes")
	if err != nil {
		t.Fatal(err)
	}
	server, err := ca.Server("api", "10.0.0.1", "kubernetes")
	if err != nil {
		t.Fatal(err)
	}
	leaf := read(t, client)
	if leaf.Subject.CommonName != "system:node:a" || !slices.Equal(leaf.Subject.Organization, []string{"system:nodes"}) {
		t.Errorf("the client is %v", leaf.Subject)
	}
	for _, c := range []struct {
		pair  Pair
		name  string
		usage x509.ExtKeyUsage
		ok    bool
	}{
		{client, "", x509.ExtKeyUsageClientAuth, true},
		{client, "", x509.ExtKeyUsageServerAuth, false},
		{server, "10.0.0.1", x509.ExtKeyUsageServerAuth, true},
		{server, "kubernetes", x509.ExtKeyUsageServerAuth, true},
		{server, "elsewhere", x509.ExtKeyUsageServerAuth, false},
		{server, "", x509.ExtKeyUsageClientAuth, false},
	} {
		_, err := read(t, c.pair).Verify(x509.VerifyOptions{Roots: roots, DNSName: c.name, KeyUsages: []x509.ExtKeyUsage{c.usage}})
		if (err == nil) != c.ok {
			t.Errorf("as %q for %v: %v", c.name, c.usage, err)
		}
	}
}

// read also checks that the key belongs to the certificate.
func read(t *testing.T, p Pair) *x509.Certificate {
	t.Helper()
	pair, err := tls.X509KeyPair(p.Cert, p.Key)
	if err != nil {
		t.Fatal(err)
	}
	return pair.Leaf
}
