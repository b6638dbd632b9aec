// SPDX-License-Identifier: Apache-2.0

package csr

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	certificatesv1 "k8s.io/api/certificates/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// request is one request and the key that must not leave this process.
type request struct {
	object *certificatesv1.CertificateSigningRequest
	keyPEM []byte
}

// Usages are those of every request.
func Usages() []certificatesv1.KeyUsage {
	return []certificatesv1.KeyUsage{
		certificatesv1.UsageDigitalSignature, certificatesv1.UsageKeyEncipherment,
		certificatesv1.UsageServerAuth, certificatesv1.UsageClientAuth,
	}
}

// newRequest makes a key and the request for its certificate. Without a ttl the
// signer chooses.
func newRequest(identity, node string, ttl time.Duration) (*request, error) {
	id, err := spiffeid.FromString(identity)
	if err != nil {
		return nil, fmt.Errorf("reading the identity: %w", err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{URIs: []*url.URL{id.URL()}}, key)
	if err != nil {
		return nil, fmt.Errorf("signing the request: %w", err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encoding the key: %w", err)
	}
	var suffix [8]byte
	rand.Read(suffix[:]) // never fails
	object := &certificatesv1.CertificateSigningRequest{
		ObjectMeta: metav1.ObjectMeta{
			Name:        "ambient22-" + hex.EncodeToString(suffix[:]),
			Labels:      map[string]string{LabelPartOf: PartOf, LabelNode: NodeLabel(node)},
			Annotations: map[string]string{AnnotationIdentity: identity},
		},
		Spec: certificatesv1.CertificateSigningRequestSpec{
			Request:    pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}),
			SignerName: SignerName,
			Usages:     Usages(),
		},
	}
	if ttl > 0 {
		seconds := int32(ttl.Seconds())
		object.Spec.ExpirationSeconds = &seconds
	}
	return &request{object: object, keyPEM: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})}, nil
}

// issued is a certificate with its key.
type issued struct {
	chainPEM, keyPEM []byte
	end              time.Time
}

// accept reads the certificate that answers the request. One that is for another
// key or another identity, or over already, would only make the proxy fail later.
func (r *request) accept(chainPEM []byte, now time.Time) (*issued, error) {
	pair, err := tls.X509KeyPair(chainPEM, r.keyPEM)
	if err != nil {
		return nil, fmt.Errorf("reading the certificate: %w", err)
	}
	want := r.object.Annotations[AnnotationIdentity]
	if uris := pair.Leaf.URIs; len(uris) != 1 || uris[0].String() != want {
		return nil, fmt.Errorf("reading the certificate: it names %v, asked for was %s", uris, want)
	}
	if !now.Before(pair.Leaf.NotAfter) {
		return nil, fmt.Errorf("reading the certificate: it ended at %s", pair.Leaf.NotAfter.UTC().Format(time.RFC3339))
	}
	return &issued{chainPEM: bytes.Clone(chainPEM), keyPEM: r.keyPEM, end: pair.Leaf.NotAfter}, nil
}

// denial is a refusal that asking again soon won't change.
type denial struct{ reason, message string }

func (d *denial) Error() string { return fmt.Sprintf("denied (%s): %s", d.reason, d.message) }

// errGone says that a request was deleted, or never seen again, before it was
// answered.
var errGone = errors.New("the request is gone without an answer")

// answerOf is what a request says of its outcome: a certificate, an error, or
// neither while it is open.
func answerOf(c *certificatesv1.CertificateSigningRequest) (chainPEM []byte, err error) {
	for _, condition := range c.Status.Conditions {
		switch condition.Type {
		case certificatesv1.CertificateDenied, certificatesv1.CertificateFailed:
			return nil, &denial{reason: condition.Reason, message: strings.TrimSpace(condition.Message)}
		}
	}
	if len(c.Status.Certificate) > 0 {
		return c.Status.Certificate, nil
	}
	return nil, nil
}
