// SPDX-License-Identifier: Apache-2.0

package signer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	certificateslisters "k8s.io/client-go/listers/certificates/v1"
)

// approved is the reason of the condition on what is signed.
const approved = "PodOnNode"

// answerer answers requests one by one. Several goroutines may, each for another.
type answerer struct {
	client     kubernetes.Interface
	list       certificateslisters.CertificateSigningRequestLister
	policy     Policy
	keeper     *keeper
	keepIssued time.Duration // how long an answered request stays for its requester to read
	keepDenied time.Duration // and one that was refused, for people
	log        *slog.Logger
	metrics    *metrics

	mu       sync.Mutex
	seen     map[types.UID]time.Time // when an open request was first looked at
	answered map[types.UID]bool      // the watch may show them open for a moment longer
}

// answer brings one request forward. It returns how long to wait until there is
// something to do about it again, 0 for nothing.
func (a *answerer) answer(ctx context.Context, name string) (again time.Duration, err error) {
	c, err := a.list.Get(name)
	if apierrors.IsNotFound(err) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	if at, keep, over := a.over(c); over {
		return a.sweep(ctx, c, at.Add(keep))
	}
	if !a.open(c.UID) {
		return 0, nil
	}
	asked, refusal := a.policy.Check(c)
	pod := ""
	if refusal == nil {
		if pod, refusal, err = place(ctx, a.client, asked); err != nil {
			return 0, err
		}
	}
	if refusal != nil {
		err = a.refuse(ctx, c, asked, refusal)
	} else {
		err = a.sign(ctx, c, asked, pod)
	}
	if apierrors.IsNotFound(err) {
		return 0, nil
	}
	return 0, err
}

// over reports whether a request needs no answer any more, and since when.
func (a *answerer) over(c *certificatesv1.CertificateSigningRequest) (at time.Time, keep time.Duration, over bool) {
	at = c.CreationTimestamp.Time
	for _, condition := range c.Status.Conditions {
		if condition.LastUpdateTime.After(at) {
			at = condition.LastUpdateTime.Time
		}
		if condition.Type != certificatesv1.CertificateApproved {
			keep, over = a.keepDenied, true
		}
	}
	if !over && len(c.Status.Certificate) > 0 {
		keep, over = a.keepIssued, true
	}
	return at, keep, over
}

// sweep deletes a request whose time has come.
func (a *answerer) sweep(ctx context.Context, c *certificatesv1.CertificateSigningRequest, due time.Time) (time.Duration, error) {
	if left := time.Until(due); left > 0 {
		return left, nil
	}
	err := a.client.CertificatesV1().CertificateSigningRequests().Delete(ctx, c.Name,
		metav1.DeleteOptions{Preconditions: metav1.NewUIDPreconditions(string(c.UID))})
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		return 0, fmt.Errorf("deleting the answered request %s: %w", c.Name, err)
	}
	if err == nil {
		a.metrics.deleted.Inc()
	}
	return 0, nil
}

// open notes when a request was first looked at, and reports whether it still needs
// an answer.
func (a *answerer) open(uid types.UID) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, there := a.seen[uid]; !there {
		a.seen[uid] = time.Now()
	}
	return !a.answered[uid]
}

// done notes an answer, and returns how long it took.
func (a *answerer) done(uid types.UID) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.answered[uid] = true
	return time.Since(a.seen[uid])
}

// forget drops what was noted of a request that has been deleted.
func (a *answerer) forget(uid types.UID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.seen, uid)
	delete(a.answered, uid)
}

// refuse says no: by the condition Denied, or, where somebody has approved the
// request by hand, Failed, because nothing can be both. asked is nil where the
// request can't even be read.
func (a *answerer) refuse(ctx context.Context, c *certificatesv1.CertificateSigningRequest, asked *Asked, why *Refusal) error {
	requests := a.client.CertificatesV1().CertificateSigningRequests()
	changed := c.DeepCopy()
	var err error
	if isApproved(c) {
		addCondition(changed, certificatesv1.CertificateFailed, why.Reason, why.Message)
		_, err = requests.UpdateStatus(ctx, changed, metav1.UpdateOptions{})
	} else {
		addCondition(changed, certificatesv1.CertificateDenied, why.Reason, why.Message)
		_, err = requests.UpdateApproval(ctx, c.Name, changed, metav1.UpdateOptions{})
	}
	if err != nil {
		return fmt.Errorf("refusing the request %s: %w", c.Name, err)
	}
	took := a.done(c.UID)
	a.metrics.refusals.WithLabelValues(why.Reason).Inc()
	identity := "none that could be given"
	if asked != nil {
		identity = asked.ID.String()
	}
	a.log.Warn("refused a certificate", "request", c.Name, "identity", identity, "requester", c.Spec.Username, "node", claim(c, claimNode),
		"reason", why.Reason, "why", why.Message, "took", took)
	return nil
}

// sign approves a request and puts the certificate into it.
func (a *answerer) sign(ctx context.Context, c *certificatesv1.CertificateSigningRequest, asked *Asked, pod string) error {
	root := a.keeper.signing.Load()
	if root == nil {
		return errors.New("signing: there is no certificate authority yet")
	}
	requests := a.client.CertificatesV1().CertificateSigningRequests()
	changed := c.DeepCopy()
	if !isApproved(c) {
		addCondition(changed, certificatesv1.CertificateApproved, approved,
			fmt.Sprintf("the pod %s/%s of this service account is on the node %s, which asks", asked.Namespace, pod, asked.Node))
		var err error
		if changed, err = requests.UpdateApproval(ctx, c.Name, changed, metav1.UpdateOptions{}); err != nil {
			return fmt.Errorf("approving the request %s: %w", c.Name, err)
		}
	}
	chainPEM, err := root.Sign(asked.ID, asked.Key, time.Now().Round(0), asked.TTL)
	if err != nil {
		return fmt.Errorf("answering the request %s: %w", c.Name, err)
	}
	changed.Status.Certificate = chainPEM
	if _, err := requests.UpdateStatus(ctx, changed, metav1.UpdateOptions{}); err != nil {
		return fmt.Errorf("answering the request %s: %w", c.Name, err)
	}
	took := a.done(c.UID)
	a.metrics.signed.Inc()
	a.metrics.seconds.Observe(took.Seconds())
	a.log.Info("signed a certificate", "request", c.Name, "identity", asked.ID.String(), "node", asked.Node, "pod", pod,
		"ttl", asked.TTL, "took", took)
	return nil
}

func isApproved(c *certificatesv1.CertificateSigningRequest) bool {
	for _, condition := range c.Status.Conditions {
		if condition.Type == certificatesv1.CertificateApproved {
			return true
		}
	}
	return false
}

func addCondition(c *certificatesv1.CertificateSigningRequest, kind certificatesv1.RequestConditionType, reason, message string) {
	now := metav1.Now()
	c.Status.Conditions = append(c.Status.Conditions, certificatesv1.CertificateSigningRequestCondition{
		Type: kind, Status: corev1.ConditionTrue, Reason: reason, Message: message, LastUpdateTime: now, LastTransitionTime: now,
	})
}

// claim is a claim of the requester's token, for logs.
func claim(c *certificatesv1.CertificateSigningRequest, name string) string {
	if values := c.Spec.Extra[name]; len(values) > 0 {
		return values[0]
	}
	return ""
}
