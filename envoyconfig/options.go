// SPDX-License-Identifier: Apache-2.0

package envoyconfig

import "fmt"

// Options says whose resources to build, and in which form.
type Options struct {
	// Node is the node whose ztunnel is served; the snapshot must know it.
	Node string
	// ProxyID is that ztunnel, <pod name>.<namespace>, as its workload metadata
	// repeats it. Empty while no ztunnel is active on the node.
	ProxyID string
	// Profile is how careful the resources are.
	Profile Profile
	// Dialect is whose proxy must understand them.
	Dialect Dialect
}

// check refuses numbers that are no profile and no dialect.
func (o Options) check() error {
	if _, err := ParseProfile(o.Profile.String()); err != nil {
		return err
	}
	_, err := ParseDialect(o.Dialect.String())
	return err
}

// Profile is how careful the configuration is. The zero value is Article.
type Profile int

// The profiles.
const (
	// Article is the configuration as the article's listings show it, with the
	// weaknesses it had then (see Holes).
	Article Profile = iota
	// Hardened closes them: both ends of a tunnel check each other, a tunnel leads
	// to the pod it was opened to and nowhere else, policies see the port that is
	// called, and plain connections are refused where mutual TLS is demanded.
	Hardened
)

// String is the profile's name on a command line.
func (p Profile) String() string {
	switch p {
	case Article:
		return "article"
	case Hardened:
		return "hardened"
	}
	return fmt.Sprintf("profile %d", int(p))
}

// ParseProfile is the profile of a name. The error names those there are.
func ParseProfile(name string) (Profile, error) {
	for _, p := range []Profile{Article, Hardened} {
		if name == p.String() {
			return p, nil
		}
	}
	return Article, fmt.Errorf("%q is neither article nor hardened", name)
}

// Dialect is whose proxy the configuration is written for. The zero value is
// Istio116.
type Dialect int

// The dialects.
const (
	// Istio116 is understood by the Envoy in Istio's proxy image of release 1.16,
	// which has two listener filters that no other has.
	Istio116 Dialect = iota
	// Upstream is understood by Envoy as its own project releases it, from 1.28.
	Upstream
)

// String is the dialect's name on a command line.
func (d Dialect) String() string {
	switch d {
	case Istio116:
		return "istio-1.16"
	case Upstream:
		return "upstream"
	}
	return fmt.Sprintf("dialect %d", int(d))
}

// ParseDialect is the dialect of a name. The error names those there are.
func ParseDialect(name string) (Dialect, error) {
	for _, d := range []Dialect{Istio116, Upstream} {
		if name == d.String() {
			return d, nil
		}
	}
	return Istio116, fmt.Errorf("%q is neither istio-1.16 nor upstream", name)
}
