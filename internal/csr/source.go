// SPDX-License-Identifier: Apache-2.0

package csr

import (
	"bytes"
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
)

// gather is how long certificates are gathered before they are announced, so that
// pods which start together cost their proxy one look and not many.
const gather = 5 * time.Millisecond

// Config is what a source needs.
type Config struct {
	Kubernetes kubernetes.Interface
	Node       string               // the node that this runs on; the API server knows it from the token, too
	Bundle     types.NamespacedName // the ConfigMap with the trust bundle
	TTL        time.Duration        // lifetime to ask for, at least 10 minutes; 0 leaves it to the signer
	Log        *slog.Logger
	Registerer prometheus.Registerer // gets the metrics, named ambient_node_identity_*
}

// Source holds the certificates of a node's identities. Its methods are safe for
// use by many goroutines and none of them waits for the API server.
type Source struct {
	Config
	answers answers
	metrics *metrics

	wake  chan struct{} // capacity 1: Retain was called
	dirty chan struct{} // capacity 1: there is something to announce

	mu      sync.Mutex
	held    map[string]*identity // by SPIFFE URI
	roots   []byte
	rotated chan struct{}
}

// identity is one that the node is to hold a certificate for.
type identity struct {
	uri    string
	stop   context.CancelFunc // nil until somebody works on it
	issued *issued            // nil until there is one
	err    error              // why there is none, or none newer; nil while one is being asked for
}

// New returns a source that asks for nothing until Run.
func New(c Config) *Source {
	s := &Source{
		Config:  c,
		answers: answers{waiting: map[string]chan answer{}},
		wake:    make(chan struct{}, 1),
		dirty:   make(chan struct{}, 1),
		held:    map[string]*identity{},
		rotated: make(chan struct{}),
	}
	s.metrics = newMetrics(c.Registerer, s)
	return s
}

// Run asks for certificates and renews them until ctx ends; it then returns nil.
func (s *Source) Run(ctx context.Context) error {
	var running sync.WaitGroup
	defer running.Wait()
	store, err := s.follow(ctx, &running)
	if err != nil {
		return err
	}
	running.Go(func() { s.announce(ctx) })
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.wake:
		}
		for _, i := range s.idle(ctx) {
			running.Go(func() { s.hold(i.ctx, i.identity, store) })
		}
	}
}

type started struct {
	ctx      context.Context
	identity *identity
}

// idle are the identities that nobody works on yet.
func (s *Source) idle(ctx context.Context) []started {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []started
	for _, i := range s.held {
		if i.stop == nil {
			var own context.Context
			own, i.stop = context.WithCancel(ctx)
			list = append(list, started{own, i})
		}
	}
	return list
}

// Retain says which identities are to be held. What isn't listed is forgotten, key
// and all; for what is new a certificate is asked for at once.
func (s *Source) Retain(identities []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	keep := make(map[string]bool, len(identities))
	for _, uri := range identities {
		keep[uri] = true
		if s.held[uri] == nil {
			s.held[uri] = &identity{uri: uri}
		}
	}
	maps.DeleteFunc(s.held, func(uri string, i *identity) bool {
		if !keep[uri] && i.stop != nil {
			i.stop()
		}
		return !keep[uri]
	})
	signal(s.wake)
}

// pendingError says that a certificate is on its way, and what the last attempt
// came to.
type pendingError struct {
	identity string
	err      error // nil during the first attempt
}

func (e *pendingError) Error() string {
	if e.err == nil {
		return "waiting for the certificate of " + e.identity
	}
	return "waiting for the certificate of " + e.identity + ": " + e.err.Error()
}

func (e *pendingError) Unwrap() error { return e.err }

// Pending says that Rotated will tell when there is one.
func (e *pendingError) Pending() bool { return true }

// Certificate is the certificate that is held for a SPIFFE URI, PEM, and its PKCS #8
// key. Until there is one, the error has a method Pending that says so. An identity
// that Retain was not told of is never asked for: it is about to be, or is gone.
func (s *Source) Certificate(uri string) (chainPEM, keyPEM []byte, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.held[uri]
	if i == nil {
		return nil, nil, &pendingError{identity: uri}
	}
	if i.issued == nil {
		return nil, nil, &pendingError{identity: uri, err: i.err}
	}
	return bytes.Clone(i.issued.chainPEM), bytes.Clone(i.issued.keyPEM), nil
}

// Roots is the trust bundle, PEM; empty until it has been seen.
func (s *Source) Roots() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return bytes.Clone(s.roots)
}

// Rotated returns a channel that is closed when a certificate or the trust bundle
// has changed. Take the channel first and ask then.
func (s *Source) Rotated() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rotated
}

// Missing are the identities that are to be held and have no certificate yet, with
// what the last attempt came to, nil during the first.
func (s *Source) Missing() map[string]error {
	s.mu.Lock()
	defer s.mu.Unlock()
	missing := map[string]error{}
	for uri, i := range s.held {
		if i.issued == nil {
			missing[uri] = i.err
		}
	}
	return missing
}

// announce tells who waits on Rotated, a moment after the first change.
func (s *Source) announce(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.dirty:
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(gather):
		}
		s.mu.Lock()
		close(s.rotated)
		s.rotated = make(chan struct{})
		s.mu.Unlock()
	}
}

// took keeps a certificate, unless its identity is no longer to be held.
func (s *Source) took(i *identity, c *issued) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i.issued, i.err = c, nil
	if s.held[i.uri] == i {
		signal(s.dirty)
	}
}

// missed keeps why an attempt came to nothing.
func (s *Source) missed(i *identity, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i.err = err
}

// ends are when the certificates end that are held, soonest first.
func (s *Source) ends() []time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	var ends []time.Time
	for _, i := range s.held {
		if i.issued != nil {
			ends = append(ends, i.issued.end)
		}
	}
	slices.SortFunc(ends, time.Time.Compare)
	return ends
}

func signal(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
