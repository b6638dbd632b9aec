// SPDX-License-Identifier: Apache-2.0

// Package secret keeps the certificates and roots that listeners and clusters
// use. Each is fetched as long as somebody needs it, and may be replaced at any
// time; whoever holds an Entry sees the newest.
package secret

import (
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/types/known/anypb"

	"github.com/ambient22/ambient22/internal/proxy/config"
)

// Entry is one secret by name.
type Entry struct {
	Ref   config.SecretRef
	value atomic.Pointer[Value]
	ready chan struct{}
	last  atomic.Pointer[Refusal]

	// Guarded by the store.
	users int
	stop  func()
}

// Value is one version of a secret.
type Value struct {
	*config.Secret
	Version string
	Updated time.Time
}

// Refusal is the last version that was not taken.
type Refusal struct {
	Version string
	Attempt time.Time
	Details string
}

// Get is the newest version, and nil before the first.
func (e *Entry) Get() *Value { return e.value.Load() }

// Refused is the last refused version, and nil where a later one was taken.
func (e *Entry) Refused() *Refusal { return e.last.Load() }

// Ready is closed when there is a first version.
func (e *Entry) Ready() <-chan struct{} { return e.ready }

// Redacted is the secret for people, without its private key; nil before the
// first version.
func (v *Value) Redacted() *anypb.Any {
	if v == nil {
		return nil
	}
	return v.Secret.Redacted
}

// Store holds the secrets in use.
type Store struct {
	// fetch begins to fetch a secret and returns how to stop.
	fetch   func(e *Entry) (stop func())
	mu      sync.Mutex
	entries map[string]*Entry
}

// NewStore makes a Store; fetch is called once per secret in use and hands what
// comes to Set.
func NewStore(fetch func(e *Entry) (stop func())) *Store {
	return &Store{fetch: fetch, entries: make(map[string]*Entry)}
}

// Acquire is the entry of that name; every Acquire needs a Release.
func (s *Store) Acquire(ref config.SecretRef) *Entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entries[ref.Name]
	if e == nil {
		e = &Entry{Ref: ref, ready: make(chan struct{})}
		s.entries[ref.Name] = e
		e.stop = s.fetch(e)
	}
	e.users++
	return e
}

// Release gives an entry back.
func (s *Store) Release(e *Entry) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e.users--
	if e.users == 0 {
		delete(s.entries, e.Ref.Name)
		e.stop()
	}
}

// Set stores a new version.
func (e *Entry) Set(v *Value) {
	e.last.Store(nil)
	if e.value.Swap(v) == nil {
		close(e.ready)
	}
}

// Refuse notes a version that was not taken.
func (e *Entry) Refuse(r *Refusal) { e.last.Store(r) }

// Entries are all entries in use, in no order.
func (s *Store) Entries() []*Entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*Entry, 0, len(s.entries))
	for _, e := range s.entries {
		all = append(all, e)
	}
	return all
}
