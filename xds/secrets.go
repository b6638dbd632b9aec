// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"sync"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/proto"

	"github.com/ambient22/ambient22/envoyconfig"
)

// SecretSource issues what the secret service serves. Its methods are called
// from many goroutines, and answers should come from memory: one that waits for
// the network would hold up the streams that need it.
type SecretSource interface {
	// Certificate is the current leaf of a SPIFFE URI, PEM: the chain without
	// its root, and the key. While it is on its way, the error's chain has a method
	// Pending() bool that says true: proxies then wait without a word, and
	// get it when Rotated fires. Any other error is logged and the identity is
	// asked for again a little later.
	Certificate(identity string) (chainPEM, keyPEM []byte, err error)
	// Roots is the trust bundle, PEM; empty while it is on its way.
	Roots() []byte
	// Rotated returns a channel that is closed when any of that has changed.
	Rotated() <-chan struct{}
}

// retainer is a SecretSource that wants to know which identities are still on
// the node, so that it can forget the keys of the others.
type retainer interface{ Retain(identities []string) }

// secretStore keeps every secret that was asked for in its wire form, for all
// streams together.
type secretStore struct {
	source SecretSource // nil where no secrets are served

	mu         sync.Mutex
	generation uint64 // counts up whenever a secret may have changed
	made       map[string]madeSecret
}

type madeSecret struct {
	identity string
	secret   *envoyconfig.Resource
}

func newSecretStore(source SecretSource) *secretStore {
	return &secretStore{source: source, made: make(map[string]madeSecret)}
}

// pending is an error of a SecretSource that only time has to cure.
type pending interface{ Pending() bool }

// errNoRoots says that the trust bundle is on its way.
type errNoRoots struct{}

func (errNoRoots) Error() string { return "fetching the trust bundle: there is none yet" }
func (errNoRoots) Pending() bool { return true }

// onItsWay reports whether a secret that could not be had needs only to be waited for.
func onItsWay(err error) bool {
	var p pending
	return errors.As(err, &p) && p.Pending()
}

// get is the secret of that name; nil where the node's ztunnel may not have it.
// An error says that it may, but that there is none now.
func (s *secretStore) get(snap *snapshot, name string) (*envoyconfig.Resource, error) {
	identity, allowed := snap.names.identities[name]
	if s.source == nil || !allowed && name != envoyconfig.RootCASecret {
		return nil, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if m, ok := s.made[name]; ok && m.identity == identity {
		return m.secret, nil
	}
	made, err := s.make(name, identity)
	if err != nil {
		return nil, err
	}
	s.made[name] = madeSecret{identity: identity, secret: made}
	return made, nil
}

// make asks the source and marshals its answer.
func (s *secretStore) make(name, identity string) (*envoyconfig.Resource, error) {
	secret := &tlsv3.Secret{Name: name}
	if name == envoyconfig.RootCASecret {
		roots := s.source.Roots()
		if len(roots) == 0 {
			return nil, errNoRoots{}
		}
		secret.Type = &tlsv3.Secret_ValidationContext{ValidationContext: &tlsv3.CertificateValidationContext{
			TrustedCa: inline(roots),
		}}
	} else {
		chain, key, err := s.source.Certificate(identity)
		if err != nil {
			return nil, fmt.Errorf("fetching the certificate of %s: %w", identity, err)
		}
		secret.Type = &tlsv3.Secret_TlsCertificate{TlsCertificate: &tlsv3.TlsCertificate{
			CertificateChain: inline(chain),
			PrivateKey:       inline(key),
		}}
	}
	if err := secret.ValidateAll(); err != nil {
		return nil, fmt.Errorf("checking secret %q: %w", name, err)
	}
	value, err := proto.MarshalOptions{Deterministic: true}.Marshal(secret)
	if err != nil {
		return nil, fmt.Errorf("marshalling secret %q: %w", name, err)
	}
	digest := sha256.Sum256(value)
	return &envoyconfig.Resource{
		Name: name, Version: hex.EncodeToString(digest[:16]), Type: envoyconfig.SecretType, Wire: envoyconfig.Wire{value},
	}, nil
}

func inline(data []byte) *corev3.DataSource {
	return &corev3.DataSource{Specifier: &corev3.DataSource_InlineBytes{InlineBytes: data}}
}

// changed forgets every secret, so that the next ask fetches it again.
func (s *secretStore) changed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.made)
	s.generation++
}

// retain forgets the secrets that the snapshot doesn't list, here and at the source.
func (s *secretStore) retain(snap *snapshot) {
	s.mu.Lock()
	maps.DeleteFunc(s.made, func(name string, _ madeSecret) bool {
		_, allowed := snap.names.identities[name]
		return !allowed && name != envoyconfig.RootCASecret
	})
	s.mu.Unlock()
	if r, ok := s.source.(retainer); ok {
		identities := make(map[string]bool, len(snap.names.identities))
		for _, identity := range snap.names.identities {
			identities[identity] = true
		}
		list := make([]string, 0, len(identities))
		for identity := range identities {
			list = append(list, identity)
		}
		r.Retain(list)
	}
}

// current counts how often secrets may have changed.
func (s *secretStore) current() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.generation
}
