// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/ambient22/ambient22/envoyconfig"
)

// Options is how a lab is to be. Defaults fills what is empty.
type Options struct {
	Name     string        // part of the namespaces' names
	StateDir string        // folder of all labs' state
	BinDir   string        // where ambientctl, ambient-node and ztunnel are
	Iptables string        // nft or legacy: what the nodes have
	Tunnel   string        // geneve, or vxlan as its stand-in
	Profile  string        // article or hardened: what the node controllers put there and serve
	Dialect  string        // istio-1.16 or upstream: how they word it
	Timeout  time.Duration // for one step to become ready
	LogLevel string        // of ambient-node and ztunnel
	Drain    time.Duration // how long a ztunnel that is told to end finishes what it has
}

// The defaults.
const (
	DefaultName     = "article"
	DefaultStateDir = "/run/ambient22-lab"
	// DefaultTimeout is for a busy machine that emulates another one. A daemon
	// that ends is noticed at once.
	DefaultTimeout = 90 * time.Second
	// DefaultIptables is what the article's nodes had: only the legacy variant
	// prints the nat table before the mangle table, as listing 01 does.
	DefaultIptables = "legacy"
)

// labName leaves room for the hosts' names in a namespace's name.
var labName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$`)

// Defaults returns the options with the empty ones filled, or what is wrong
// with them.
func (o Options) Defaults() (Options, error) {
	setDefault(&o.Name, DefaultName)
	setDefault(&o.StateDir, DefaultStateDir)
	setDefault(&o.Iptables, DefaultIptables)
	setDefault(&o.Tunnel, "geneve")
	setDefault(&o.Profile, envoyconfig.Article.String())
	setDefault(&o.Dialect, envoyconfig.Istio116.String())
	setDefault(&o.LogLevel, "info")
	if o.Timeout == 0 {
		o.Timeout = DefaultTimeout
	}
	if o.BinDir == "" {
		self, err := os.Executable()
		if err != nil {
			return o, fmt.Errorf("finding the binaries: %w", err)
		}
		o.BinDir = filepath.Dir(self)
	}
	dir, err := filepath.Abs(o.BinDir)
	if err != nil {
		return o, fmt.Errorf("finding the binaries: %w", err)
	}
	o.BinDir = dir
	var errs []error
	if !labName.MatchString(o.Name) {
		errs = append(errs, fmt.Errorf("name %q: small letters, digits and dashes, 32 at most", o.Name))
	}
	if o.Iptables != "nft" && o.Iptables != "legacy" {
		errs = append(errs, fmt.Errorf("iptables %q: nft or legacy", o.Iptables))
	}
	if o.Tunnel != "geneve" && o.Tunnel != "vxlan" {
		errs = append(errs, fmt.Errorf("tunnel %q: geneve or vxlan", o.Tunnel))
	}
	if _, err := envoyconfig.ParseProfile(o.Profile); err != nil {
		errs = append(errs, fmt.Errorf("profile %w", err))
	}
	if _, err := envoyconfig.ParseDialect(o.Dialect); err != nil {
		errs = append(errs, fmt.Errorf("dialect %w", err))
	}
	return o, errors.Join(errs...)
}

// asInTheArticle reports whether the lab is in the form that the listings show.
func (o Options) asInTheArticle() bool {
	return o.Profile == envoyconfig.Article.String() && o.Dialect == envoyconfig.Istio116.String()
}

func (o Options) hardened() bool { return o.Profile == envoyconfig.Hardened.String() }

func setDefault(s *string, value string) {
	if *s == "" {
		*s = value
	}
}
