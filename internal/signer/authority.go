// SPDX-License-Identifier: Apache-2.0

package signer

import (
	"bytes"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"

	"github.com/ambient22/ambient22/internal/ca"
)

// authority is the certificate authority in one stage of its life. Values of it
// are not changed; step makes the next one.
//
// A root is replaced in three stages, so that at no time a certificate is in use
// whose root somebody doesn't trust: the next root stands in the bundle for a
// while before it signs, and the one before stays in it until the last certificate
// that it signed has ended.
type authority struct {
	signing *ca.Root
	next    *ca.Root  // in the bundle, and not signing yet; nil for most of the time
	since   time.Time // when the bundle with next was seen in place; zero before that
	retired []retired // no longer signing, oldest first
}

// retired is a root whose key is gone.
type retired struct {
	certPEM []byte
	until   time.Time // when nothing that it signed is valid any more
}

// schedule says when roots are replaced.
type schedule struct {
	domain      spiffeid.TrustDomain
	life        time.Duration // of a root
	bundleFirst time.Duration // how long the next root stands in the bundle before it signs
	leaf        time.Duration // the longest lifetime of what is signed
}

// bundle is what is to be trusted, the signing root first.
func (a *authority) bundle() []byte {
	all := [][]byte{a.signing.CertificatePEM()}
	if a.next != nil {
		all = append(all, a.next.CertificatePEM())
	}
	for _, r := range a.retired {
		all = append(all, r.certPEM)
	}
	return bytes.Join(all, nil)
}

// renewAt is when the signing root gets a successor by itself: when a third of its
// life is left. One that somebody brought may have a shorter life than those made
// here, which begin a while in the past.
func (s schedule) renewAt(a *authority) time.Time {
	life := a.signing.NotAfter().Sub(a.signing.NotBefore())
	return a.signing.NotAfter().Add(-min(life, s.life) / 3)
}

// found is a new authority.
func (s schedule) found(now time.Time) (*authority, error) {
	root, err := ca.NewRoot(s.domain, now, s.life)
	if err != nil {
		return nil, err
	}
	return &authority{signing: root}, nil
}

// step is the authority as it should be at now; a itself where that is what it is.
// With rotate, a successor is made although none is due. published says that the
// bundle of a is in place for everybody to read.
func (s schedule) step(a *authority, now time.Time, rotate, published bool) (*authority, error) {
	next := *a
	next.retired = nil
	for _, r := range a.retired {
		if now.Before(r.until) {
			next.retired = append(next.retired, r)
		}
	}
	changed := len(next.retired) != len(a.retired)
	switch {
	case a.next == nil && (rotate || !now.Before(s.renewAt(a))):
		root, err := ca.NewRoot(s.domain, now, s.life)
		if err != nil {
			return nil, err
		}
		next.next, next.since, changed = root, time.Time{}, true
	case a.next != nil && a.since.IsZero() && published:
		next.since, changed = now, true
	case a.next != nil && !a.since.IsZero() && published && !now.Before(a.since.Add(s.bundleFirst)):
		next.retired = append(next.retired, retired{certPEM: a.signing.CertificatePEM(), until: s.lastOf(a.signing, now)})
		next.signing, next.next, next.since, changed = a.next, nil, time.Time{}, true
	}
	if !changed {
		return a, nil
	}
	return &next, nil
}

// lastOf is when the last certificate has ended that a root can have signed by now.
func (s schedule) lastOf(r *ca.Root, now time.Time) time.Time {
	last := now.Add(s.leaf + ca.ClockSkew)
	if last.After(r.NotAfter()) {
		return r.NotAfter()
	}
	return last
}

// due is when step has something to do next by itself.
func (s schedule) due(a *authority) time.Time {
	due := s.renewAt(a)
	if a.next != nil {
		due = a.since.Add(s.bundleFirst)
	}
	for _, r := range a.retired {
		if r.until.Before(due) {
			due = r.until
		}
	}
	return due
}
