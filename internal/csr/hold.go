// SPDX-License-Identifier: Apache-2.0

package csr

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/ambient22/ambient22/internal/ca"
)

const (
	// Pauses after an attempt that failed, doubled from the first to the last.
	firstRetry = 500 * time.Millisecond
	lastRetry  = time.Minute
	// The same after a denial, which has a reason that seldom goes away by itself.
	firstDenied = 30 * time.Second
	lastDenied  = 30 * time.Minute

	// unanswered is when somebody should know that no signer answers, and again
	// after each silence.
	unanswered = 10 * time.Second
	silence    = 5 * time.Minute

	// createTimeout bounds one call of the API server.
	createTimeout = 30 * time.Second
	// longestSleep bounds how late a renewal can come when the wall clock was
	// stepped forward, or the machine slept, while nobody looked.
	longestSleep = time.Minute
)

// hold keeps a certificate for an identity until ctx ends.
func (s *Source) hold(ctx context.Context, i *identity, seen cache.Store) {
	failures, denials := pause{first: firstRetry, last: lastRetry}, pause{first: firstDenied, last: lastDenied}
	for {
		begun := time.Now()
		c, err := s.obtain(ctx, i.uri, seen)
		if ctx.Err() != nil {
			return
		}
		var again time.Time
		var denied *denial
		switch {
		case err == nil:
			s.took(i, c)
			s.metrics.issued(time.Since(begun))
			failures.reset()
			denials.reset()
			now := wall()
			again = now.Add(ca.RenewAfter(c.end.Sub(now)))
			s.Log.Debug("got a certificate", "identity", i.uri, "took", time.Since(begun), "until", c.end, "renewed_at", again)
		case errors.As(err, &denied):
			s.missed(i, err)
			s.metrics.requests.WithLabelValues(resultDenied).Inc()
			again = wall().Add(denials.next())
			s.Log.Error("the signer denies a certificate; pods of the identity can't be called or call through the mesh until it agrees",
				"identity", i.uri, "reason", denied.reason, "message", denied.message, "again_in", again.Sub(wall()).Round(time.Millisecond))
		default:
			s.missed(i, err)
			s.metrics.requests.WithLabelValues(resultFailed).Inc()
			again = wall().Add(failures.next())
			s.Log.Warn("asking for a certificate failed; what is held stays in use", "identity", i.uri, "err", err,
				"again_in", again.Sub(wall()).Round(time.Millisecond))
		}
		if !sleepUntil(ctx, again) {
			return
		}
	}
}

// obtain makes one request and waits for its answer, however long that takes.
func (s *Source) obtain(ctx context.Context, uri string, seen cache.Store) (*issued, error) {
	r, err := newRequest(uri, s.Node, s.TTL)
	if err != nil {
		return nil, err
	}
	answer, forget := s.answers.expect(r.object.Name)
	defer forget()
	if err := s.create(ctx, r); err != nil {
		return nil, err
	}
	begun, patience := time.Now(), unanswered
	for {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case a := <-answer:
			if a.err != nil {
				return nil, a.err
			}
			return r.accept(a.chainPEM, wall())
		case <-time.After(patience):
		}
		// The request is not in the watch's memory: it was deleted while the watch
		// was interrupted, and no event will ever say so.
		if _, there, _ := seen.GetByKey(r.object.Name); !there && time.Since(begun) > longestSleep {
			return nil, errGone
		}
		s.Log.Warn("nobody answers a request for a certificate; is ambient-signer running?",
			"identity", uri, "request", r.object.Name, "for", time.Since(begun).Round(time.Second))
		patience = silence
	}
}

func (s *Source) create(ctx context.Context, r *request) error {
	ctx, cancel := context.WithTimeout(ctx, createTimeout)
	defer cancel()
	_, err := s.Kubernetes.CertificatesV1().CertificateSigningRequests().Create(ctx, r.object, metav1.CreateOptions{})
	if err != nil {
		return fmt.Errorf("creating the request: %w", err)
	}
	return nil
}

// pause grows from first to last, with a quarter of chance so that nodes which
// lost the same API server don't come back all at once.
type pause struct{ first, last, now time.Duration }

func (p *pause) next() time.Duration {
	p.now = min(max(2*p.now, p.first), p.last)
	return p.now - p.now/8 + rand.N(p.now/4+1)
}

func (p *pause) reset() { p.now = 0 }

// wall is the time of the clock on the wall, by which certificates end.
func wall() time.Time { return time.Now().Round(0) }

// sleepUntil returns false when ctx ended first.
func sleepUntil(ctx context.Context, t time.Time) bool {
	for {
		left := t.Sub(wall())
		if left <= 0 {
			return ctx.Err() == nil
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(min(left, longestSleep)):
		}
	}
}
