// SPDX-License-Identifier: Apache-2.0

package signer

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"

	"github.com/ambient22/ambient22/internal/csr"
)

const (
	requester = "system:serviceaccount:istio-system:ambient-node"
	nodeA     = "node-a"
	nodeB     = "node-b"
	sleepURI  = "spiffe://cluster.local/ns/default/sa/sleep"
	otherURI  = "spiffe://cluster.local/ns/default/sa/bookinfo-productpage"
)

// cluster is client-go's fake of an API server with what a real one adds to
// requests for certificates, and a log. It lives in a synctest bubble, so its time
// passes only when everybody waits.
type cluster struct {
	*fake.Clientset
	t   *testing.T
	ctx context.Context
	log *safeBuffer

	mu      sync.Mutex
	made    int
	forge   func(*certificatesv1.CertificateSigningRequest) // what the requester's token says instead
	down    error                                           // what every call ends with, nil for none
	created []string                                        // identities of requests, in order
}

type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// inCluster runs a test in a bubble, with nodes node-a and node-b.
func inCluster(t *testing.T, test func(t *testing.T, c *cluster)) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer synctest.Wait() // until all that the test started is over
		defer cancel()
		c := &cluster{Clientset: fake.NewClientset(), t: t, ctx: ctx, log: &safeBuffer{}}
		c.PrependReactor("*", "*", func(clienttesting.Action) (bool, runtime.Object, error) {
			c.mu.Lock()
			defer c.mu.Unlock()
			return c.down != nil, nil, c.down
		})
		c.PrependReactor("create", "certificatesigningrequests", c.admit)
		for _, name := range []string{nodeA, nodeB} {
			c.add(&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID("uid of " + name)}})
		}
		test(t, c)
		if t.Failed() {
			t.Log(c.log.String())
		}
	})
}

// admit writes into a request who made it.
func (c *cluster) admit(action clienttesting.Action) (bool, runtime.Object, error) {
	r := action.(clienttesting.CreateAction).GetObject().(*certificatesv1.CertificateSigningRequest)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.made++
	c.created = append(c.created, r.Annotations[csr.AnnotationIdentity])
	r.UID, r.CreationTimestamp = types.UID(fmt.Sprint("request ", c.made)), metav1.Now()
	r.Spec.Username = requester
	r.Spec.Extra = map[string]certificatesv1.ExtraValue{claimNode: {r.Labels[csr.LabelNode]}}
	if c.forge != nil {
		c.forge(r)
	}
	return c.down != nil, nil, c.down
}

func (c *cluster) setDown(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.down = err
}

func (c *cluster) setForge(forge func(*certificatesv1.CertificateSigningRequest)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forge = forge
}

func (c *cluster) requests() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]string(nil), c.created...)
}

func (c *cluster) add(objects ...runtime.Object) {
	c.t.Helper()
	for _, o := range objects {
		if err := c.Tracker().Add(o); err != nil {
			c.t.Fatal(err)
		}
	}
}

// pod puts a pod of a service account on a node.
func (c *cluster) pod(name, account, node string, phase corev1.PodPhase) {
	c.t.Helper()
	c.add(&corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name},
		Spec:       corev1.PodSpec{ServiceAccountName: account, NodeName: node},
		Status:     corev1.PodStatus{Phase: phase},
	})
}

func (c *cluster) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(c.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// config is a signer's with short times.
func (c *cluster) config() Config {
	return Config{
		Kubernetes: c, Namespace: "istio-system", Secret: DefaultSecret, Bundle: csr.DefaultBundle, Lease: DefaultLease, Identity: "first",
		TrustDomain: "cluster.local", Requester: requester,
		TTL: time.Hour, RootTTL: 24 * time.Hour, BundleFirst: 10 * time.Minute, KeepIssued: time.Minute, KeepDenied: time.Hour,
		// Seldom, because each look costs the test time although none passes.
		Election: Election{Lease: 12 * time.Hour, Renew: 10 * time.Hour, Retry: 4 * time.Hour}, Log: c.logger(), Registerer: prometheus.NewRegistry(),
	}
}

// sign runs a signer and waits until it leads or stands by.
func (c *cluster) sign(change func(*Config)) (*Signer, context.CancelFunc) {
	c.t.Helper()
	config := c.config()
	if change != nil {
		change(&config)
	}
	s, err := New(config)
	if err != nil {
		c.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(c.ctx)
	go func() {
		if err := s.Run(ctx); err != nil {
			c.t.Error(err)
		}
	}()
	c.pass(3 * time.Second)
	return s, cancel
}

// source runs a node's source of certificates.
func (c *cluster) source(node string) *csr.Source {
	s := csr.New(csr.Config{
		Kubernetes: c, Node: node, Log: c.logger(), TTL: time.Hour,
		Bundle: types.NamespacedName{Namespace: "istio-system", Name: csr.DefaultBundle},
	})
	go func() {
		if err := s.Run(c.ctx); err != nil {
			c.t.Error(err)
		}
	}()
	c.pass(time.Second)
	return s
}

// pass lets time go by.
func (c *cluster) pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// certificate is the leaf that a source holds.
func (c *cluster) certificate(s *csr.Source, uri string) *x509.Certificate {
	c.t.Helper()
	chainPEM, _, err := s.Certificate(uri)
	if err != nil {
		c.t.Fatal(err)
	}
	block, _ := pem.Decode(chainPEM)
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		c.t.Fatal(err)
	}
	return cert
}

// verify checks a leaf against a trust bundle.
func (c *cluster) verify(cert *x509.Certificate, bundle []byte) error {
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(bundle) {
		c.t.Fatalf("the trust bundle holds no certificate: %q", bundle)
	}
	_, err := cert.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: time.Now(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	return err
}

// logged reports whether one line of the log has all parts.
func (c *cluster) logged(parts ...string) bool {
next:
	for line := range strings.Lines(c.log.String()) {
		for _, part := range parts {
			if !strings.Contains(line, part) {
				continue next
			}
		}
		return true
	}
	return false
}

// list are the requests that are there now.
func (c *cluster) list() []certificatesv1.CertificateSigningRequest {
	c.t.Helper()
	l, err := c.CertificatesV1().CertificateSigningRequests().List(c.ctx, metav1.ListOptions{})
	if err != nil {
		c.t.Fatal(err)
	}
	return l.Items
}

// metric is the value of one of a signer's metrics, with that value of its label.
func metric(t *testing.T, s *Signer, name string, label ...string) float64 {
	t.Helper()
	families, err := s.Registerer.(*prometheus.Registry).Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "ambient_signer_"+name {
			continue
		}
		for _, m := range f.GetMetric() {
			if len(label) == 0 || m.GetLabel()[0].GetValue() == label[0] {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	t.Fatalf("there is no metric %s %v", name, label)
	return 0
}
