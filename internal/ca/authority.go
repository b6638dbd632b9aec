// SPDX-License-Identifier: Apache-2.0

package ca

import (
	"bytes"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

// Authority issues and renews the certificates of one trust domain. It is safe
// for use by many goroutines.
type Authority struct {
	domain spiffeid.TrustDomain
	ttl    time.Duration
	clock  Clock
	root   *root

	mu      sync.Mutex
	leaves  map[string]*leaf // by SPIFFE URI
	rotated chan struct{}    // closed, and replaced, whenever leaves were dropped for renewal
	woken   chan struct{}    // tells Run that a leaf may be due earlier than it knows
}

// Open loads the root from dir, or creates dir and a root in it when it holds
// none. Any number of processes may open the same directory at once.
//
// An error about what lies in dir names the file and what to do about it; Open
// never replaces a file that it doesn't understand.
func Open(dir string, o Options) (*Authority, error) {
	o, domain, err := o.check()
	if err != nil {
		return nil, err
	}
	r, err := openRoot(dir, domain, o.Clock.Now())
	if err != nil {
		return nil, err
	}
	return &Authority{
		domain:  domain,
		ttl:     o.TTL,
		clock:   o.Clock,
		root:    r,
		leaves:  make(map[string]*leaf),
		rotated: make(chan struct{}),
		woken:   make(chan struct{}, 1),
	}, nil
}

// Certificate is the current leaf for a SPIFFE URI, as PEM: the certificate (the
// root itself is not part of the chain) and its PKCS #8 key. The first ask issues
// it; later asks get the same one until it is due for renewal. Only identities
// of the authority's own trust domain, with a path, are issued.
func (a *Authority) Certificate(identity string) (chainPEM, keyPEM []byte, err error) {
	id, err := spiffeid.FromString(identity)
	if err != nil {
		return nil, nil, fmt.Errorf("reading identity %q: %w", identity, err)
	}
	if !id.MemberOf(a.domain) {
		return nil, nil, fmt.Errorf("issuing for %s: this authority issues for the trust domain %s only", id, a.domain)
	}
	if id.Path() == "" {
		return nil, nil, fmt.Errorf("issuing for %s: a trust domain itself gets no certificate, a workload in it does", id)
	}

	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.clock.Now()
	l := a.leaves[identity]
	if l == nil || !now.Before(l.renewAt) {
		renewed := l != nil
		if l, err = a.root.issue(id, now, a.ttl); err != nil {
			return nil, nil, fmt.Errorf("issuing for %s: %w", id, err)
		}
		a.leaves[identity] = l
		if renewed {
			a.announce() // others may still hold the one just replaced
		}
		a.wake()
	}
	return bytes.Clone(l.chainPEM), bytes.Clone(l.keyPEM), nil
}

// Roots is the trust bundle, PEM: every certificate of ca.crt.
func (a *Authority) Roots() []byte { return bytes.Clone(a.root.bundlePEM) }

// Rotated returns a channel that is closed at the next renewal. Take the channel
// first and ask for certificates then, so that no renewal falls between the two.
func (a *Authority) Rotated() <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.rotated
}

// Retain forgets every leaf, and with it the key, whose identity is not listed.
func (a *Authority) Retain(identities []string) {
	keep := make(map[string]bool, len(identities))
	for _, identity := range identities {
		keep[identity] = true
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	maps.DeleteFunc(a.leaves, func(identity string, _ *leaf) bool { return !keep[identity] })
}

// Held is how many leaves are in memory.
func (a *Authority) Held() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.leaves)
}

// announce tells everybody who waits on Rotated; the caller holds mu.
func (a *Authority) announce() {
	close(a.rotated)
	a.rotated = make(chan struct{})
}

// wake makes Run look at the leaves again; it never blocks.
func (a *Authority) wake() {
	select {
	case a.woken <- struct{}{}:
	default:
	}
}
