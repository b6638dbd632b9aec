// SPDX-License-Identifier: Apache-2.0

package ca

import (
	"crypto/tls"
	"net"
	"testing"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/spiffetls/tlsconfig"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
)

// TestHandshake lets SPIFFE's own library judge the leaves: it parses them as
// X.509-SVIDs and verifies both ends of a TLS 1.3 connection.
func TestHandshake(t *testing.T) {
	a := open(t, t.TempDir(), nil, 0)
	domain := spiffeid.RequireTrustDomainFromString("cluster.local")
	bundle, err := x509bundle.Parse(domain, a.Roots())
	if err != nil {
		t.Fatal(err)
	}
	client, server := svid(t, a, sleepID), svid(t, a, productpageID)

	clientConfig := tlsconfig.MTLSClientConfig(client, bundle, tlsconfig.AuthorizeID(server.ID))
	serverConfig := tlsconfig.MTLSServerConfig(server, bundle, tlsconfig.AuthorizeID(client.ID))
	for _, c := range []*tls.Config{clientConfig, serverConfig} {
		c.MinVersion = tls.VersionTLS13
		c.NextProtos = []string{"h2"}
	}
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	serverSide := tls.Server(far, serverConfig)
	failed := make(chan error, 1)
	go func() { failed <- serverSide.Handshake() }()
	clientSide := tls.Client(near, clientConfig)
	if err := clientSide.Handshake(); err != nil {
		t.Fatalf("client: %v", err)
	}
	if err := <-failed; err != nil {
		t.Fatalf("server: %v", err)
	}
	if got := clientSide.ConnectionState(); got.Version != tls.VersionTLS13 || got.NegotiatedProtocol != "h2" {
		t.Errorf("version %x, protocol %q", got.Version, got.NegotiatedProtocol)
	}
}

// svid is an identity's leaf as SPIFFE's library reads it.
func svid(t *testing.T, a *Authority, identity string) *x509svid.SVID {
	t.Helper()
	chain, key, err := a.Certificate(identity)
	if err != nil {
		t.Fatal(err)
	}
	s, err := x509svid.Parse(chain, key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestOtherRootIsNotTrusted(t *testing.T) {
	a, b := open(t, t.TempDir(), nil, 0), open(t, t.TempDir(), nil, 0)
	bundle, err := x509bundle.Parse(spiffeid.RequireTrustDomainFromString("cluster.local"), a.Roots())
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := x509svid.Verify(svid(t, b, sleepID).Certificates, bundle); err == nil {
		t.Error("a leaf of another root was verified")
	}
}
