// SPDX-License-Identifier: Apache-2.0

package signer

import (
	"errors"
	"strings"
	"testing"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func TestNodeGetsCertificatesOfItsPods(t *testing.T) {
	inCluster(t, func(t *testing.T, c *cluster) {
		c.pod("sleep-1", "sleep", nodeA, corev1.PodRunning)
		signer, _ := c.sign(nil)
		source := c.source(nodeA)
		rotated := source.Rotated()
		source.Retain([]string{sleepURI})
		c.pass(time.Second)
		select {
		case <-rotated:
		default:
			t.Error("nothing was announced")
		}
		cert := c.certificate(source, sleepURI)
		if err := c.verify(cert, source.Roots()); err != nil {
			t.Error(err)
		}
		if len(cert.URIs) != 1 || cert.URIs[0].String() != sleepURI || cert.Subject.String() != "" {
			t.Errorf("the certificate names %v, %q", cert.URIs, cert.Subject)
		}
		if left := time.Until(cert.NotAfter); left < 59*time.Minute || left > time.Hour {
			t.Errorf("valid for %v", left)
		}
		requests := c.list()
		if len(requests) != 1 || requests[0].Status.Conditions[0].Reason != approved {
			t.Fatalf("requests: %+v", requests)
		}
		if !c.logged("signed a certificate", sleepURI, "node=node-a", "pod=sleep-1") {
			t.Error("the log does not tell of the signature")
		}
		c.pass(2 * time.Minute)
		if left := c.list(); len(left) != 0 {
			t.Errorf("%d answered requests are left", len(left))
		}
		if n := metric(t, signer, "signed_total"); n != 1 {
			t.Errorf("%v signatures counted", n)
		}
	})
}

// TestForeignNodeIsRefused has a node ask for what runs elsewhere, has run, or
// never did, and with tokens that are not its own.
// TestMirrorPodsEntitleToNothing has a kubelet make mirrors of static pods for itself,
// which it may do in any namespace.
func TestMirrorPodsEntitleToNothing(t *testing.T) {
	inCluster(t, func(t *testing.T, c *cluster) {
		c.pod("mirror-node-a", "", nodeA, corev1.PodRunning)
		c.add(&corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "named-node-a", Annotations: map[string]string{corev1.MirrorPodAnnotationKey: "5d2a"}},
			Spec:       corev1.PodSpec{ServiceAccountName: "sleep", NodeName: nodeA},
			Status:     corev1.PodStatus{Phase: corev1.PodRunning},
		})
		c.sign(nil)
		source := c.source(nodeA)
		identities := []string{"spiffe://cluster.local/ns/default/sa/default", sleepURI}
		source.Retain(identities)
		c.pass(time.Second)
		for _, identity := range identities {
			if _, _, err := source.Certificate(identity); err == nil || !strings.Contains(err.Error(), ReasonNoPod) {
				t.Errorf("%s: %v", identity, err)
			}
		}
	})
}

func TestForeignNodeIsRefused(t *testing.T) {
	for name, test := range map[string]struct {
		forge  func(*certificatesv1.CertificateSigningRequest)
		reason string
		says   string
	}{
		"pod on another node": {nil, ReasonNoPod, "default/bookinfo-productpage has no unfinished pod on the node node-a"},
		"token of a node that has gone": {func(r *certificatesv1.CertificateSigningRequest) {
			r.Spec.Extra[claimNode] = certificatesv1.ExtraValue{"node-c"}
		}, ReasonNoSuchNode, "node-c"},
		"token of an earlier node of the name": {func(r *certificatesv1.CertificateSigningRequest) {
			r.Spec.Extra[claimNode], r.Spec.Extra[claimNodeUID] = certificatesv1.ExtraValue{nodeB}, certificatesv1.ExtraValue{"earlier"}
		}, ReasonNoSuchNode, "earlier node"},
		"workload's own token": {func(r *certificatesv1.CertificateSigningRequest) {
			r.Spec.Username = "system:serviceaccount:default:bookinfo-productpage"
		}, ReasonRequester, "workloads get their certificates from the controller of their node"},
		"token without a node": {func(r *certificatesv1.CertificateSigningRequest) { delete(r.Spec.Extra, claimNode) }, ReasonNoNode, "names 0 nodes"},
	} {
		t.Run(name, func(t *testing.T) {
			inCluster(t, func(t *testing.T, c *cluster) {
				c.pod("productpage", "bookinfo-productpage", nodeB, corev1.PodRunning)
				c.pod("job", "bookinfo-productpage", nodeA, corev1.PodSucceeded)
				c.pod("failed", "bookinfo-productpage", nodeA, corev1.PodFailed)
				c.pod("neighbour", "sleep", nodeA, corev1.PodRunning)
				c.setForge(test.forge)
				signer, _ := c.sign(nil)
				source := c.source(nodeA)
				source.Retain([]string{otherURI})
				c.pass(time.Second)

				_, _, err := source.Certificate(otherURI)
				if err == nil || !strings.Contains(err.Error(), test.reason) || !strings.Contains(err.Error(), otherURI) {
					t.Errorf("the node is told %v", err)
				}
				if conditions := c.list()[0].Status.Conditions; len(conditions) != 1 || conditions[0].Type != certificatesv1.CertificateDenied ||
					conditions[0].Reason != test.reason || !strings.Contains(conditions[0].Message, test.says) {
					t.Errorf("conditions %+v", conditions)
				}
				if n := metric(t, signer, "refused_total", test.reason); n != 1 {
					t.Errorf("%v refusals counted", n)
				}
				named := otherURI
				if test.reason == ReasonRequester || test.reason == ReasonNoNode {
					named = "" // refused before anybody looks at what is asked for
				}
				if !c.logged("level=WARN", "refused a certificate", test.reason, named) || !c.logged("level=ERROR", "denies a certificate", otherURI, test.reason) {
					t.Error("the log does not tell of the refusal on both sides")
				}
				c.pass(10 * time.Minute)
				if n := len(c.requests()); n > 6 {
					t.Errorf("%d requests in ten minutes", n)
				}
				if n := metric(t, signer, "signed_total"); n != 0 {
					t.Errorf("%v signatures", n)
				}
			})
		})
	}
}

func TestDenialEndsWhenThePodComes(t *testing.T) {
	inCluster(t, func(t *testing.T, c *cluster) {
		c.sign(nil)
		source := c.source(nodeA)
		source.Retain([]string{sleepURI})
		c.pass(time.Second)
		c.pod("sleep-1", "sleep", nodeA, corev1.PodPending)
		c.pass(time.Minute)
		c.certificate(source, sleepURI)
	})
}

func TestApprovalByHandIsNotEnough(t *testing.T) {
	inCluster(t, func(t *testing.T, c *cluster) {
		c.setForge(func(r *certificatesv1.CertificateSigningRequest) {
			addCondition(r, certificatesv1.CertificateApproved, "KubectlApprove", "an administrator")
		})
		c.sign(nil)
		source := c.source(nodeA)
		source.Retain([]string{sleepURI})
		c.pass(time.Second)
		conditions := c.list()[0].Status.Conditions
		if len(conditions) != 2 || conditions[1].Type != certificatesv1.CertificateFailed || conditions[1].Reason != ReasonNoPod {
			t.Errorf("conditions %+v", conditions)
		}
		if missing := source.Missing(); missing[sleepURI] == nil {
			t.Errorf("missing: %v", missing)
		}
		c.pod("sleep-1", "sleep", nodeA, corev1.PodRunning)
		c.pass(time.Minute)
		c.certificate(source, sleepURI) // approved by hand and rightly so
	})
}

func TestOthersRequestsAreLeftAlone(t *testing.T) {
	inCluster(t, func(t *testing.T, c *cluster) {
		c.pod("sleep-1", "sleep", nodeA, corev1.PodRunning)
		c.setForge(func(r *certificatesv1.CertificateSigningRequest) {
			r.Spec.SignerName = certificatesv1.KubeletServingSignerName
		})
		c.sign(nil)
		source := c.source(nodeA)
		source.Retain([]string{sleepURI})
		c.pass(time.Hour)
		if r := c.list(); len(r) != 1 || len(r[0].Status.Conditions) != 0 || len(r[0].Status.Certificate) != 0 {
			t.Errorf("requests: %+v", r)
		}
		if !c.logged("nobody answers", sleepURI) {
			t.Error("the node does not say that nobody answers")
		}
	})
}

// TestRenewal follows a source for a day: it always holds a certificate that is
// valid for some time, each with a new key.
func TestRenewal(t *testing.T) {
	inCluster(t, func(t *testing.T, c *cluster) {
		c.pod("sleep-1", "sleep", nodeA, corev1.PodRunning)
		c.sign(nil)
		source := c.source(nodeA)
		source.Retain([]string{sleepURI})
		c.pass(time.Second)
		keys := map[string]bool{}
		for range 12 * 6 {
			cert := c.certificate(source, sleepURI)
			keys[string(cert.RawSubjectPublicKeyInfo)] = true
			if left := time.Until(cert.NotAfter); left < 23*time.Minute {
				t.Fatalf("only %v are left", left)
			}
			if err := c.verify(cert, source.Roots()); err != nil {
				t.Fatal(err)
			}
			c.pass(10 * time.Minute)
		}
		if n := len(keys); n < 18 || n > 33 {
			t.Errorf("%d keys in twelve hours of certificates of one hour", n)
		}
	})
}

// TestAPIServerAway takes the API server away for longer than a renewal waits.
func TestAPIServerAway(t *testing.T) {
	inCluster(t, func(t *testing.T, c *cluster) {
		c.pod("sleep-1", "sleep", nodeA, corev1.PodRunning)
		c.pod("other", "bookinfo-productpage", nodeA, corev1.PodRunning)
		c.sign(nil)
		source := c.source(nodeA)
		source.Retain([]string{sleepURI})
		c.pass(time.Second)
		before := c.certificate(source, sleepURI)

		c.setDown(errors.New("connection refused"))
		source.Retain([]string{sleepURI, otherURI})
		c.pass(45 * time.Minute)
		if !c.certificate(source, sleepURI).Equal(before) || len(source.Roots()) == 0 {
			t.Error("what was held is not held any more")
		}
		if _, _, err := source.Certificate(otherURI); err == nil || !strings.Contains(err.Error(), "connection refused") {
			t.Errorf("a new identity: %v", err)
		}
		if !c.logged("asking for a certificate failed", otherURI, "connection refused") {
			t.Error("the log does not tell of it")
		}
		c.setDown(nil)
		c.pass(2 * time.Minute)
		if c.certificate(source, sleepURI).Equal(before) {
			t.Error("the renewal was not caught up with")
		}
		c.certificate(source, otherURI)
	})
}

func TestForgottenIdentity(t *testing.T) {
	inCluster(t, func(t *testing.T, c *cluster) {
		c.pod("sleep-1", "sleep", nodeA, corev1.PodRunning)
		c.sign(nil)
		source := c.source(nodeA)
		if _, _, err := source.Certificate(sleepURI); err == nil {
			t.Error("a certificate without Retain")
		}
		source.Retain([]string{sleepURI})
		c.pass(time.Second)
		c.certificate(source, sleepURI)
		source.Retain(nil)
		if _, _, err := source.Certificate(sleepURI); err == nil {
			t.Error("the certificate is still held")
		}
		c.pass(2 * time.Hour)
		if n := len(c.requests()); n != 1 {
			t.Errorf("%d requests", n)
		}
	})
}

func TestStandbyTakesOver(t *testing.T) {
	inCluster(t, func(t *testing.T, c *cluster) {
		c.pod("sleep-1", "sleep", nodeA, corev1.PodRunning)
		first, stop := c.sign(func(config *Config) { config.Election = DefaultElection() })
		second, _ := c.sign(func(config *Config) { config.Identity, config.Election = "second", DefaultElection() })
		if first.Ready() != nil || second.Ready() != nil {
			t.Errorf("ready: %v, %v", first.Ready(), second.Ready())
		}
		if metric(t, first, "leader") != 1 || metric(t, second, "leader") != 0 {
			t.Error("not exactly the first leads")
		}
		source := c.source(nodeA)
		stop()
		source.Retain([]string{sleepURI})
		c.pass(10 * time.Second) // given up, not timed out
		if metric(t, first, "leader") != 0 || metric(t, second, "leader") != 1 {
			t.Error("the second does not lead")
		}
		cert := c.certificate(source, sleepURI)
		if err := c.verify(cert, source.Roots()); err != nil {
			t.Error(err)
		}
		if n := metric(t, second, "bundle_writes_total"); n != 0 {
			t.Errorf("the second wrote the bundle %v times", n)
		}
	})
}
