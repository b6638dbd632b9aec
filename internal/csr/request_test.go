// SPDX-License-Identifier: Apache-2.0

package csr

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
	certificatesv1 "k8s.io/api/certificates/v1"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/ambient22/ambient22/internal/ca"
)

const sleepURI = "spiffe://cluster.local/ns/default/sa/sleep"

func TestRequestSaysNoMoreThanItMust(t *testing.T) {
	r, err := newRequest(sleepURI, "node-a", 24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	spec := r.object.Spec
	if spec.SignerName != SignerName || *spec.ExpirationSeconds != 24*3600 || len(spec.Username)+len(spec.Extra) > 0 {
		t.Errorf("spec %+v", spec)
	}
	block, rest := pem.Decode(spec.Request)
	message, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil || len(rest) > 0 {
		t.Fatal(err)
	}
	if len(message.URIs) != 1 || message.URIs[0].String() != sleepURI || len(message.Extensions) != 1 || message.Subject.String() != "" {
		t.Errorf("the message names %v, %q, in %d extensions", message.URIs, message.Subject, len(message.Extensions))
	}
	text, err := r.object.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	if key, _ := pem.Decode(r.keyPEM); strings.Contains(string(text), "PRIVATE") || strings.Contains(string(text), string(key.Bytes[40:72])) {
		t.Error("the key is in the object")
	}
	if faults := validation.IsDNS1123Subdomain(r.object.Name); len(faults) > 0 {
		t.Errorf("the name %s: %v", r.object.Name, faults)
	}
	if again, _ := newRequest(sleepURI, "node-a", 0); again.object.Name == r.object.Name || string(again.keyPEM) == string(r.keyPEM) || again.object.Spec.ExpirationSeconds != nil {
		t.Error("a second request is the first one again")
	}
	if _, err := newRequest("sleep.default", "node-a", 0); err == nil {
		t.Error("a request for what is no identity")
	}
}

// TestAnswersThatDoNotFit signs what was not asked for.
func TestAnswersThatDoNotFit(t *testing.T) {
	now := time.Now()
	root, err := ca.NewRoot(spiffeid.RequireTrustDomainFromString("cluster.local"), now, 24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	r, err := newRequest(sleepURI, "node-a", 0)
	if err != nil {
		t.Fatal(err)
	}
	other, err := newRequest(sleepURI, "node-a", 0)
	if err != nil {
		t.Fatal(err)
	}
	sign := func(r *request, uri string, ttl time.Duration) []byte {
		t.Helper()
		block, _ := pem.Decode(r.object.Spec.Request)
		message, err := x509.ParseCertificateRequest(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		chainPEM, err := root.Sign(spiffeid.RequireFromString(uri), message.PublicKey, now, ttl)
		if err != nil {
			t.Fatal(err)
		}
		return chainPEM
	}
	for name, test := range map[string]struct {
		chainPEM []byte
		at       time.Time
		fault    string
	}{
		"as asked":         {sign(r, sleepURI, time.Hour), now, ""},
		"another key":      {sign(other, sleepURI, time.Hour), now, "does not match"},
		"another identity": {sign(r, sleepURI+"er", time.Hour), now, "asked for was " + sleepURI},
		"over":             {sign(r, sleepURI, time.Minute), now.Add(2 * time.Minute), "it ended at"},
		"none":             {[]byte("no"), now, "reading the certificate"},
	} {
		c, err := r.accept(test.chainPEM, test.at)
		switch {
		case test.fault == "" && (err != nil || c.end.IsZero()):
			t.Errorf("%s: %v", name, err)
		case test.fault != "" && (err == nil || !strings.Contains(err.Error(), test.fault)):
			t.Errorf("%s: %v, want %q", name, err, test.fault)
		}
	}
}

func TestAnswerOf(t *testing.T) {
	c := &certificatesv1.CertificateSigningRequest{}
	if chainPEM, err := answerOf(c); chainPEM != nil || err != nil {
		t.Errorf("an open request: %q, %v", chainPEM, err)
	}
	c.Status.Certificate = []byte("chain")
	if chainPEM, err := answerOf(c); string(chainPEM) != "chain" || err != nil {
		t.Errorf("a signed one: %q, %v", chainPEM, err)
	}
	c.Status.Conditions = []certificatesv1.CertificateSigningRequestCondition{
		{Type: certificatesv1.CertificateApproved}, {Type: certificatesv1.CertificateFailed, Reason: "No", Message: " because\n"},
	}
	_, err := answerOf(c)
	if d, ok := errors.AsType[*denial](err); !ok || d.reason != "No" || d.message != "because" {
		t.Errorf("a failed one: %v", err)
	}
}

func TestNodeLabels(t *testing.T) {
	long := strings.Repeat("node.", 40) + "example"
	for _, name := range []string{"node-a", "ip-10-0-0-1.eu-west-1.compute.internal", long} {
		if label := NodeLabel(name); len(validation.IsValidLabelValue(label)) > 0 || len(name) < 64 && label != name {
			t.Errorf("%s becomes %s", name, label)
		}
	}
	if NodeLabel(long) == NodeLabel(long+"s") {
		t.Error("two nodes have one label")
	}
}

func TestPausesGrowAndEnd(t *testing.T) {
	p := pause{first: time.Second, last: 10 * time.Second}
	for i, want := range []time.Duration{1, 2, 4, 8, 10, 10} {
		want *= time.Second
		if got := p.next(); got < want*7/8 || got > want*9/8+1 {
			t.Errorf("pause %d is %v, want about %v", i, got, want)
		}
	}
	p.reset()
	if got := p.next(); got > 2*time.Second {
		t.Errorf("after a success the pause is %v", got)
	}
}
