// SPDX-License-Identifier: Apache-2.0

package signer

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	certificatesv1 "k8s.io/api/certificates/v1"

	"github.com/ambient22/ambient22/internal/ca"
	"github.com/ambient22/ambient22/internal/csr"
)

func policy() Policy {
	return Policy{Domain: spiffeid.RequireTrustDomainFromString("cluster.local"), Requester: requester, TTL: 24 * time.Hour}
}

// message is a PKCS #10 message for a key, PEM.
func message(t testing.TB, key crypto.Signer, template *x509.CertificateRequest) []byte {
	t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, template, key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
}

func uris(t testing.TB, list ...string) []*url.URL {
	t.Helper()
	var all []*url.URL
	for _, s := range list {
		u, err := url.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, u)
	}
	return all
}

func ecKey(t testing.TB, curve elliptic.Curve) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func rsaKey(t testing.TB, bits int) crypto.Signer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// good is a request that passes.
func good(t testing.TB) *certificatesv1.CertificateSigningRequest {
	return asking(message(t, ecKey(t, elliptic.P256()), &x509.CertificateRequest{URIs: uris(t, sleepURI)}))
}

func asking(request []byte) *certificatesv1.CertificateSigningRequest {
	return &certificatesv1.CertificateSigningRequest{Spec: certificatesv1.CertificateSigningRequestSpec{
		SignerName: csr.SignerName, Username: requester, Usages: csr.Usages(), Request: request,
		Extra: map[string]certificatesv1.ExtraValue{claimNode: {nodeA}},
	}}
}

func TestGoodRequests(t *testing.T) {
	for name, request := range map[string]*certificatesv1.CertificateSigningRequest{
		"ECDSA P-256": good(t),
		"RSA 2048":    asking(message(t, rsaKey(t, 2048), &x509.CertificateRequest{URIs: uris(t, sleepURI)})),
	} {
		asked, refusal := policy().Check(request)
		if refusal != nil {
			t.Errorf("%s: %v", name, refusal)
			continue
		}
		if asked.ID.String() != sleepURI || asked.Namespace != "default" || asked.ServiceAccount != "sleep" || asked.Node != nodeA || asked.TTL != 24*time.Hour {
			t.Errorf("%s: asked for %+v", name, asked)
		}
	}
}

func TestLifetimeIsCut(t *testing.T) {
	for seconds, want := range map[int32]time.Duration{600: 10 * time.Minute, 60: time.Minute, 1 << 30: 24 * time.Hour} {
		request := good(t)
		request.Spec.ExpirationSeconds = &seconds
		if asked, refusal := policy().Check(request); refusal != nil || asked.TTL != want {
			t.Errorf("%d s: %+v, %v", seconds, asked, refusal)
		}
	}
}

// TestRefusedRequests changes one thing at a time in a request that passes.
func TestRefusedRequests(t *testing.T) {
	key := ecKey(t, elliptic.P256())
	content := func(change func(*x509.CertificateRequest)) func(*certificatesv1.CertificateSigningRequest) {
		template := &x509.CertificateRequest{URIs: uris(t, sleepURI)}
		change(template)
		text := message(t, key, template)
		return func(r *certificatesv1.CertificateSigningRequest) { r.Spec.Request = text }
	}
	identity := func(list ...string) func(*certificatesv1.CertificateSigningRequest) {
		return content(func(r *x509.CertificateRequest) { r.URIs = uris(t, list...) })
	}
	withKey := func(k crypto.Signer) func(*certificatesv1.CertificateSigningRequest) {
		return func(r *certificatesv1.CertificateSigningRequest) {
			r.Spec.Request = message(t, k, &x509.CertificateRequest{URIs: uris(t, sleepURI)})
		}
	}
	spec := func(change func(*certificatesv1.CertificateSigningRequestSpec)) func(*certificatesv1.CertificateSigningRequest) {
		return func(r *certificatesv1.CertificateSigningRequest) { change(&r.Spec) }
	}
	type spc = certificatesv1.CertificateSigningRequestSpec
	_, edKey, _ := ed25519.GenerateKey(rand.Reader)
	// A name that Go's reader passes over in silence: a directory name beside the URI.
	hidden, err := asn1.Marshal([]asn1.RawValue{
		{Class: asn1.ClassContextSpecific, Tag: 6, Bytes: []byte(sleepURI)},
		{Class: asn1.ClassContextSpecific, Tag: 4, IsCompound: true, Bytes: []byte{0x30, 0x00}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(*certificatesv1.CertificateSigningRequest)
		reason string
		says   string
	}{
		"another signer's":   {spec(func(s *spc) { s.SignerName = "kubernetes.io/kubelet-serving" }), ReasonRequester, "is for the signer"},
		"a workload":         {spec(func(s *spc) { s.Username = "system:serviceaccount:default:sleep" }), ReasonRequester, "only " + requester},
		"namesake elsewhere": {spec(func(s *spc) { s.Username = "system:serviceaccount:default:ambient-node" }), ReasonRequester, "only " + requester},
		"nobody":             {spec(func(s *spc) { s.Username = "" }), ReasonRequester, "only " + requester},
		"no node":            {spec(func(s *spc) { s.Extra = nil }), ReasonNoNode, "names 0 nodes"},
		"empty node":         {spec(func(s *spc) { s.Extra[claimNode] = certificatesv1.ExtraValue{""} }), ReasonNoNode, "must name one"},
		"two nodes":          {spec(func(s *spc) { s.Extra[claimNode] = certificatesv1.ExtraValue{nodeA, nodeB} }), ReasonNoNode, "names 2 nodes"},
		"two node UIDs":      {spec(func(s *spc) { s.Extra[claimNodeUID] = certificatesv1.ExtraValue{"1", "2"} }), ReasonNoNode, "2 node UIDs"},
		"signing usage":      {spec(func(s *spc) { s.Usages = append(s.Usages, certificatesv1.UsageCertSign) }), ReasonUsages, `"cert sign" is not given`},
		"no client":          {spec(func(s *spc) { s.Usages = s.Usages[:3] }), ReasonUsages, `"client auth" is missing`},
		"no usages":          {spec(func(s *spc) { s.Usages = nil }), ReasonUsages, "missing"},
		"a moment":           {spec(func(s *spc) { n := int32(59); s.ExpirationSeconds = &n }), ReasonLifetime, "at least 60"},
		"negative":           {spec(func(s *spc) { n := int32(-1); s.ExpirationSeconds = &n }), ReasonLifetime, "is -1"},
		"no PEM":             {spec(func(s *spc) { s.Request = []byte("please") }), ReasonMalformed, "one PEM block"},
		"nothing":            {spec(func(s *spc) { s.Request = nil }), ReasonMalformed, "one PEM block"},
		"another block":      {spec(func(s *spc) { s.Request = bytes.ReplaceAll(s.Request, []byte("REQUEST"), []byte("WISHES")) }), ReasonMalformed, "one PEM block"},
		"two blocks":         {spec(func(s *spc) { s.Request = append(s.Request, s.Request...) }), ReasonMalformed, "nothing else"},
		"cut off": {spec(func(s *spc) {
			s.Request = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: []byte{0x30}})
		}), ReasonMalformed, "can't be read"},
		"another's signature": {func(r *certificatesv1.CertificateSigningRequest) { r.Spec.Request = flipLast(r.Spec.Request) }, ReasonMalformed, ""},
		"common name":         {content(func(r *x509.CertificateRequest) { r.Subject = pkix.Name{CommonName: "sleep"} }), ReasonNames, "must be empty"},
		"organization":        {content(func(r *x509.CertificateRequest) { r.Subject = pkix.Name{Organization: []string{"system:masters"}} }), ReasonNames, "must be empty"},
		"DNS name":            {content(func(r *x509.CertificateRequest) { r.DNSNames = []string{"sleep"} }), ReasonNames, "1 DNS names"},
		"address":             {content(func(r *x509.CertificateRequest) { r.IPAddresses = []net.IP{{10, 0, 0, 1}} }), ReasonNames, "1 addresses"},
		"e-mail":              {content(func(r *x509.CertificateRequest) { r.EmailAddresses = []string{"a@b.c"} }), ReasonNames, "1 e-mail"},
		"hidden name": {content(func(r *x509.CertificateRequest) {
			r.URIs, r.ExtraExtensions = nil, []pkix.Extension{{Id: subjectAltName(), Value: hidden}}
		}), ReasonNames, "more in it"},
		"another extension": {content(func(r *x509.CertificateRequest) {
			r.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 19}, Value: []byte{0x30, 0x03, 0x01, 0x01, 0xff}}}
		}), ReasonNames, "there are 2"},
		"no name":         {identity(), ReasonNames, "there are 0"},
		"two identities":  {identity(sleepURI, otherURI), ReasonNames, "has 2"},
		"no SPIFFE ID":    {identity("https://cluster.local/ns/default/sa/sleep"), ReasonNames, "no SPIFFE ID"},
		"only the domain": {identity("spiffe://cluster.local"), ReasonNames, "does not name a service account"},
		"a part too many": {identity(sleepURI + "/x"), ReasonNames, "does not name a service account"},
		"upper case":      {identity("spiffe://cluster.local/ns/Default/sa/sleep"), ReasonNames, "does not name a service account"},
		"escape":          {identity("spiffe://cluster.local/ns/default/sa/sl%65ep"), ReasonNames, "no SPIFFE ID"},
		"climbing":        {identity("spiffe://cluster.local/ns/../sa/sleep"), ReasonNames, "no SPIFFE ID"},
		"query":           {identity(sleepURI + "?x"), ReasonNames, "no SPIFFE ID"},
		"another domain":  {identity("spiffe://other.example/ns/default/sa/sleep"), ReasonTrustDomain, "the same --trust-domain"},
		"P-384":           {withKey(ecKey(t, elliptic.P384())), ReasonKey, "P-384"},
		"Ed25519":         {withKey(edKey), ReasonKey, "ed25519"},
		"RSA 1024":        {withKey(rsaKey(t, 1024)), ReasonKey, "1024 bits"},
	} {
		t.Run(name, func(t *testing.T) {
			request := good(t)
			c.change(request)
			asked, refusal := policy().Check(request)
			if refusal == nil {
				t.Fatalf("passes, asking for %+v", asked)
			}
			if refusal.Reason != c.reason || !strings.Contains(refusal.Message, c.says) {
				t.Errorf("refused with %v, want %s and %q", refusal, c.reason, c.says)
			}
		})
	}
}

// flipLast changes a bit of the message's signature.
func flipLast(text []byte) []byte {
	block, _ := pem.Decode(text)
	block.Bytes[len(block.Bytes)-1] ^= 1
	return pem.EncodeToMemory(block)
}

// FuzzCheck feeds the reader of requests. Whatever passes must be signed as exactly
// the one identity that the message itself has, and nothing else.
func FuzzCheck(f *testing.F) {
	domain := spiffeid.RequireTrustDomainFromString("cluster.local")
	root, err := ca.NewRoot(domain, time.Now(), 24*time.Hour)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good(f).Spec.Request, requester, nodeA, "server auth", int32(600))
	f.Add(flipLast(good(f).Spec.Request), requester, nodeA, "client auth", int32(0))
	f.Add(message(f, ecKey(f, elliptic.P256()), &x509.CertificateRequest{URIs: uris(f, sleepURI, otherURI), DNSNames: []string{"a"}}), requester, "", "cert sign", int32(-5))
	f.Add([]byte("-----BEGIN CERTIFICATE REQUEST-----\n-----END CERTIFICATE REQUEST-----"), "system:admin", nodeB, "", int32(1<<30))
	f.Fuzz(func(t *testing.T, text []byte, username, node, usage string, seconds int32) {
		request := asking(text)
		request.Spec.Username, request.Spec.ExpirationSeconds = username, &seconds
		request.Spec.Extra[claimNode] = certificatesv1.ExtraValue{node}
		request.Spec.Usages = append(request.Spec.Usages, certificatesv1.KeyUsage(usage))
		asked, refusal := policy().Check(request)
		if (asked == nil) == (refusal == nil) {
			t.Fatalf("asked %+v, refusal %v", asked, refusal)
		}
		if refusal != nil {
			if refusal.Message == "" {
				t.Fatalf("a refusal without a reason: %+v", refusal)
			}
			return
		}
		if username != requester || node == "" || asked.Node != node || asked.TTL < MinTTL || asked.TTL > 24*time.Hour {
			t.Fatalf("passes: %q on %q, %+v", username, node, asked)
		}
		chainPEM, err := root.Sign(asked.ID, asked.Key, time.Now(), asked.TTL)
		if err != nil {
			t.Fatal(err)
		}
		block, _ := pem.Decode(chainPEM)
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		own, _ := pem.Decode(text)
		inside, err := x509.ParseCertificateRequest(own.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		want := "spiffe://cluster.local/ns/" + asked.Namespace + "/sa/" + asked.ServiceAccount
		if len(cert.URIs) != 1 || cert.URIs[0].String() != want || inside.URIs[0].String() != want ||
			len(cert.DNSNames)+len(cert.IPAddresses)+len(cert.EmailAddresses) > 0 || cert.IsCA || len(cert.Subject.Names) > 0 ||
			!bytes.Equal(cert.RawSubjectPublicKeyInfo, inside.RawSubjectPublicKeyInfo) {
			t.Fatalf("the certificate is for %v, %v", cert.URIs, cert.Subject)
		}
	})
}

func mustDomain(t *testing.T, name string) spiffeid.TrustDomain {
	t.Helper()
	d, err := spiffeid.TrustDomainFromString(name)
	if err != nil {
		t.Fatal(err)
	}
	return d
}
