// SPDX-License-Identifier: Apache-2.0

package ca

import (
	"fmt"
	"time"

	"github.com/spiffe/go-spiffe/v2/spiffeid"
)

// Lifetimes. The root's is long because nothing in the data path can follow a
// root that changes; a leaf's is short because there is no revocation.
const (
	DefaultTTL   = 24 * time.Hour
	MinTTL       = time.Minute
	RootLifetime = 10 * 365 * 24 * time.Hour

	// clockSkew is how far certificates begin in the past, so that a node whose
	// clock is a little behind accepts what another node has just been issued.
	clockSkew = 5 * time.Minute
)

// Options say whose certificates an Authority issues and for how long.
type Options struct {
	// TrustDomain is the SPIFFE trust domain, e.g. "cluster.local". Required.
	TrustDomain string
	// TTL is how long a leaf is valid from its issue on; DefaultTTL when zero.
	// A leaf never outlives the root.
	TTL time.Duration
	// Clock is the machine's when nil.
	Clock Clock
}

// check fills in the defaults and refuses what can't work.
func (o Options) check() (Options, spiffeid.TrustDomain, error) {
	domain, err := spiffeid.TrustDomainFromString(o.TrustDomain)
	if err != nil {
		return o, domain, fmt.Errorf("reading trust domain %q: %w", o.TrustDomain, err)
	}
	if o.TTL == 0 {
		o.TTL = DefaultTTL
	}
	if o.TTL < MinTTL || o.TTL > RootLifetime {
		return o, domain, fmt.Errorf("checking the certificate lifetime: %v is not between %v and %v", o.TTL, MinTTL, RootLifetime)
	}
	if o.Clock == nil {
		o.Clock = systemClock{}
	}
	return o, domain, nil
}
