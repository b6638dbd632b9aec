// SPDX-License-Identifier: Apache-2.0

package signer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"k8s.io/client-go/kubernetes"
)

// Names of the objects, where nothing else is said.
const (
	DefaultSecret = "ambient22-ca"
	DefaultLease  = "ambient-signer"
)

// Config is what a signer needs.
type Config struct {
	Kubernetes kubernetes.Interface
	Namespace  string // of the three objects that follow
	Secret     string // holds the certificate authority
	Bundle     string // the ConfigMap with what is to be trusted
	Lease      string // says which signer leads
	Identity   string // this signer's name in the Lease, unlike any other's

	TrustDomain string
	Requester   string // the user name of the node controllers

	TTL         time.Duration // the longest lifetime of a certificate
	RootTTL     time.Duration // the lifetime of a root
	BundleFirst time.Duration // how long a new root stands in the bundle before it signs
	KeepIssued  time.Duration // how long an answered request is kept
	KeepDenied  time.Duration // how long a refused one is

	Election   Election
	Log        *slog.Logger
	Registerer prometheus.Registerer // gets the metrics, named ambient_signer_*
}

// Election is how long a leader is believed without a word of it, how long it
// tries to say one before it gives up, and how often everybody looks.
type Election struct{ Lease, Renew, Retry time.Duration }

// DefaultElection is what controllers of Kubernetes itself use.
func DefaultElection() Election {
	return Election{Lease: 15 * time.Second, Renew: 10 * time.Second, Retry: 2 * time.Second}
}

// Check refuses what can't work. The error names everything that is wrong.
func (c *Config) Check() error {
	if _, err := c.check(); err != nil {
		return fmt.Errorf("checking the signer's settings: %w", err)
	}
	return nil
}

func (c *Config) check() (spiffeid.TrustDomain, error) {
	var faults []error
	domain, err := spiffeid.TrustDomainFromString(c.TrustDomain)
	if err != nil || domain.Name() != c.TrustDomain {
		faults = append(faults, fmt.Errorf("the trust domain %q is none; one is cluster.local", c.TrustDomain))
	}
	if c.TTL < MinTTL {
		faults = append(faults, fmt.Errorf("certificates of %v are shorter than %v", c.TTL, MinTTL))
	}
	if c.BundleFirst < 0 || c.KeepIssued < 0 || c.KeepDenied < 0 {
		faults = append(faults, errors.New("a time is negative"))
	}
	// A root gets its successor when a third of its life is left.
	if least := 3 * (c.BundleFirst + c.TTL); c.RootTTL < least {
		faults = append(faults, fmt.Errorf("roots of %v are too short: with certificates of %v and %v in the bundle before signing they must live %v",
			c.RootTTL, c.TTL, c.BundleFirst, least))
	}
	return domain, errors.Join(faults...)
}

// Signer answers requests while it leads.
type Signer struct {
	Config
	domain  spiffeid.TrustDomain
	metrics *metrics
	keeper  atomic.Pointer[keeper] // nil while another leads
}

// New checks the configuration.
func New(c Config) (*Signer, error) {
	domain, err := c.check()
	if err != nil {
		return nil, fmt.Errorf("checking the signer's settings: %w", err)
	}
	return &Signer{Config: c, domain: domain, metrics: newMetrics(c.Registerer)}, nil
}

// Ready says why this signer does not do its work, nil where it does or stands by.
func (s *Signer) Ready() error {
	if k := s.keeper.Load(); k != nil {
		return k.fault()
	}
	return nil
}

// lead answers requests until ctx ends.
func (s *Signer) lead(ctx context.Context) {
	ctx, stop := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer stop()
	k := &keeper{
		client: s.Kubernetes, namespace: s.Namespace, secret: s.Secret, bundle: s.Bundle,
		schedule: schedule{domain: s.domain, life: s.RootTTL, bundleFirst: s.BundleFirst, leaf: s.TTL},
		log:      s.Log, metrics: s.metrics, wake: make(chan struct{}, 1), ready: make(chan struct{}),
	}
	s.keeper.Store(k)
	s.metrics.leads.Set(1)
	defer s.metrics.leads.Set(0)
	defer s.keeper.Store(nil)
	running.Go(func() { k.run(ctx) })
	if err := s.watchObjects(ctx, &running, k); err != nil {
		s.Log.Error("the authority's objects are only looked at each minute", "err", err)
	}
	select {
	case <-k.ready: // nothing is signed before everybody can know the root
	case <-ctx.Done():
		return
	}
	if err := s.answerAll(ctx, &running, k); err != nil {
		s.Log.Error("requests can't be followed", "err", err)
	}
	<-ctx.Done()
}
