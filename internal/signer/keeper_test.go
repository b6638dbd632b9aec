// SPDX-License-Identifier: Apache-2.0

package signer

import (
	"crypto/x509"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ambient22/ambient22/internal/ca"
	"github.com/ambient22/ambient22/internal/csr"
)

func (c *cluster) secret() *corev1.Secret {
	c.t.Helper()
	s, err := c.CoreV1().Secrets("istio-system").Get(c.ctx, DefaultSecret, metav1.GetOptions{})
	if err != nil {
		c.t.Fatal(err)
	}
	return s
}

func (c *cluster) bundle() *corev1.ConfigMap {
	c.t.Helper()
	b, err := c.CoreV1().ConfigMaps("istio-system").Get(c.ctx, csr.DefaultBundle, metav1.GetOptions{})
	if err != nil {
		c.t.Fatal(err)
	}
	return b
}

func (c *cluster) roots() int {
	c.t.Helper()
	_, n, err := ca.ParseBundle([]byte(c.bundle().Data[csr.BundleKey]))
	if err != nil {
		c.t.Fatal(err)
	}
	return n
}

// update changes an object as an administrator would.
func (c *cluster) update(o any) {
	c.t.Helper()
	var err error
	switch o := o.(type) {
	case *corev1.Secret:
		_, err = c.CoreV1().Secrets(o.Namespace).Update(c.ctx, o, metav1.UpdateOptions{})
	case *corev1.ConfigMap:
		_, err = c.CoreV1().ConfigMaps(o.Namespace).Update(c.ctx, o, metav1.UpdateOptions{})
	}
	if err != nil {
		c.t.Fatal(err)
	}
	c.pass(time.Second)
}

// TestRotation replaces the root as its time comes. At each moment every
// certificate that a node holds is trusted by what that node and the other trust.
func TestRotation(t *testing.T) {
	inCluster(t, func(t *testing.T, c *cluster) {
		c.pod("sleep-1", "sleep", nodeA, corev1.PodRunning)
		c.pod("productpage", "bookinfo-productpage", nodeB, corev1.PodRunning)
		c.sign(nil)
		a, b := c.source(nodeA), c.source(nodeB)
		a.Retain([]string{sleepURI})
		b.Retain([]string{otherURI})
		c.pass(time.Second)
		issuers, most := map[string]bool{}, 0
		for range 2 * 24 * 5 { // two days in steps of twelve minutes
			for _, cert := range []*x509.Certificate{c.certificate(a, sleepURI), c.certificate(b, otherURI)} {
				issuers[string(cert.AuthorityKeyId)] = true
				for _, trusted := range [][]byte{a.Roots(), b.Roots(), []byte(c.bundle().Data[csr.BundleKey])} {
					if err := c.verify(cert, trusted); err != nil {
						t.Fatal(err)
					}
				}
			}
			n := c.roots()
			most = max(most, n)
			if keys := len(c.secret().Data); n == 1 && keys != 2 {
				t.Fatalf("one root is trusted and the Secret has %d keys", keys)
			}
			c.pass(12 * time.Minute)
		}
		// A root of a day gets a successor after 16 hours.
		if len(issuers) != 3 || most != 2 {
			t.Errorf("%d roots signed, up to %d were trusted at a time", len(issuers), most)
		}
	})
}

func TestRotationOnDemand(t *testing.T) {
	inCluster(t, func(t *testing.T, c *cluster) {
		c.pod("sleep-1", "sleep", nodeA, corev1.PodRunning)
		c.sign(nil)
		source := c.source(nodeA)
		source.Retain([]string{sleepURI})
		c.pass(time.Second)
		first := c.secret()
		asked := first.DeepCopy()
		asked.Annotations = map[string]string{AnnotationRotate: "now"}
		c.update(asked)
		if n := c.roots(); n != 2 {
			t.Fatalf("%d roots are trusted, want the old and the next", n)
		}
		s := c.secret()
		if string(s.Data[keySigningKey]) != string(first.Data[keySigningKey]) || len(s.Annotations) != 0 {
			t.Error("the next root signs already, or is asked for still")
		}
		c.pass(11 * time.Minute)
		if s := c.secret(); string(s.Data[keySigningKey]) != string(asked.Data[keySigningKey]) && len(s.Data[keyNextKey]) == 0 && c.roots() == 2 {
			c.pass(2 * time.Hour)
			if n := c.roots(); n != 1 {
				t.Errorf("%d roots are trusted in the end", n)
			}
		} else {
			t.Errorf("after its time in the bundle the next root does not sign; the Secret has %d keys", len(s.Data))
		}
		if err := c.verify(c.certificate(source, sleepURI), source.Roots()); err != nil {
			t.Error(err)
		}
	})
}

// TestRotationAskedForAgain has somebody see that the next root is no secret either.
func TestRotationAskedForAgain(t *testing.T) {
	inCluster(t, func(t *testing.T, c *cluster) {
		c.sign(nil)
		for range 2 {
			asked := c.secret()
			asked.Annotations = map[string]string{AnnotationRotate: "now"}
			c.update(asked)
			c.pass(time.Minute)
		}
		leaked := string(c.secret().Data[keyNextKey])
		c.pass(10 * time.Minute)
		s := c.secret()
		if string(s.Data[keySigningKey]) != leaked || len(s.Data[keyNextKey]) == 0 || len(s.Annotations) != 0 {
			t.Fatalf("when the leaked root has begun to sign, its successor is not on its way; annotations %v", s.Annotations)
		}
		c.pass(11 * time.Minute)
		if s := c.secret(); string(s.Data[keySigningKey]) == leaked || len(s.Data[keyNextKey]) != 0 {
			t.Error("the leaked root signs still, or there is no end of successors")
		}
	})
}

func TestWhatSomebodyChangedIsPutBack(t *testing.T) {
	inCluster(t, func(t *testing.T, c *cluster) {
		c.pod("sleep-1", "sleep", nodeA, corev1.PodRunning)
		signer, _ := c.sign(nil)
		source := c.source(nodeA)
		secret, bundle := c.secret(), c.bundle()
		want := string(source.Roots())
		if secret.Labels[csr.LabelPartOf] != csr.PartOf || bundle.Labels[csr.LabelPartOf] != csr.PartOf {
			t.Error("an object lacks its label")
		}

		forged := bundle.DeepCopy()
		forged.Data[csr.BundleKey], forged.Data["mine"] = "nothing", "kept"
		c.update(forged)
		if b := c.bundle(); b.Data[csr.BundleKey] != want || b.Data["mine"] != "kept" {
			t.Errorf("the bundle is %q", b.Data)
		}
		if string(source.Roots()) != want {
			t.Error("the node took the unusable bundle")
		}
		if err := c.CoreV1().ConfigMaps("istio-system").Delete(c.ctx, csr.DefaultBundle, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		c.pass(time.Second)
		if c.bundle().Data[csr.BundleKey] != want || string(source.Roots()) != want {
			t.Error("the deleted bundle was not put back")
		}
		if err := c.CoreV1().Secrets("istio-system").Delete(c.ctx, DefaultSecret, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		c.pass(time.Second)
		if string(c.secret().Data[keySigningKey]) != string(secret.Data[keySigningKey]) {
			t.Error("the deleted Secret was not put back")
		}

		broken := c.secret()
		broken.Data[keySigningKey] = []byte("none")
		c.update(broken)
		if err := signer.Ready(); err == nil || !strings.Contains(err.Error(), "delete the Secret") {
			t.Errorf("with a broken Secret: %v", err)
		}
		source.Retain([]string{sleepURI})
		c.pass(time.Second)
		c.certificate(source, sleepURI) // signed all the same, with what is in memory
		broken.Data = secret.Data
		c.update(broken)
		c.pass(time.Minute)
		if err := signer.Ready(); err != nil {
			t.Error(err)
		}
	})
}

// TestOwnRoot brings an authority along, and one that can't be used.
func TestOwnRoot(t *testing.T) {
	for name, test := range map[string]struct {
		domain string
		fault  string
	}{
		"of the mesh":             {"cluster.local", ""},
		"of another trust domain": {"other.example", "wrong trust domain"},
	} {
		t.Run(name, func(t *testing.T) {
			inCluster(t, func(t *testing.T, c *cluster) {
				p := policy()
				if test.domain != "cluster.local" {
					p.Domain = mustDomain(t, test.domain)
				}
				found, err := schedule{domain: p.Domain, life: 24 * time.Hour}.found(time.Now())
				if err != nil {
					t.Fatal(err)
				}
				data, err := found.encode()
				if err != nil {
					t.Fatal(err)
				}
				c.add(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "istio-system", Name: DefaultSecret}, Data: data})
				signer, _ := c.sign(nil)
				switch err := signer.Ready(); {
				case test.fault == "" && err != nil:
					t.Error(err)
				case test.fault == "":
					if c.bundle().Data[csr.BundleKey] != string(data[keySigningCert]) {
						t.Error("the bundle is not the root that was brought")
					}
				case err == nil || !strings.Contains(err.Error(), test.fault):
					t.Errorf("ready: %v", err)
				}
			})
		})
	}
}

// TestShortRoots has the shortest times that are allowed: roots must still be used
// for a while.
func TestShortRoots(t *testing.T) {
	inCluster(t, func(t *testing.T, c *cluster) {
		signer, _ := c.sign(func(config *Config) {
			config.TTL, config.BundleFirst, config.RootTTL = time.Minute, 0, 3*time.Minute
		})
		c.pass(30 * time.Minute)
		if n := metric(t, signer, "bundle_writes_total"); n < 20 || n > 60 {
			t.Errorf("the bundle was written %v times in half an hour", n)
		}
		if err := signer.Ready(); err != nil {
			t.Error(err)
		}
	})
}
