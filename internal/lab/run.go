// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/ambient22/ambient22/internal/lab/listing"
)

// Report is what a run of the lab showed.
type Report struct {
	Iptables string           `json:"iptables"`
	Tunnel   string           `json:"tunnel"`
	Profile  string           `json:"profile"`
	Dialect  string           `json:"dialect"`
	Machine  bool             `json:"machine"` // it ran inside a QEMU machine
	Kernel   string           `json:"kernel"`
	Proof    *Proof           `json:"proof"`
	Policies []Finding        `json:"policies"`
	Listings []listing.Result `json:"listings,omitempty"` // only in the article's form
	Load     []LoadResult     `json:"load,omitempty"`
	Seconds  float64          `json:"seconds"`
}

// OK reports whether all evidence is there, every load passed, and every listing
// is reproduced; another form than the article's is not compared with them.
func (r *Report) OK() bool {
	form := Options{Profile: r.Profile, Dialect: r.Dialect}
	if form.asInTheArticle() && len(r.Listings) == 0 {
		return false
	}
	for i := range r.Load {
		if r.Load[i].Error != "" {
			return false
		}
	}
	return r.Proof != nil && allOK(r.Proof.Findings) && len(r.Policies) > 0 && allOK(r.Policies) &&
		Reproduced(r.Listings) == len(r.Listings)
}

// Run brings the lab up, makes the article's call, compares the listings, puts
// load on the path if wanted, and takes the lab down again, whatever happened.
func Run(ctx context.Context, o Options, load bool, p *Progress) (report *Report, err error) {
	start := time.Now()
	l, err := Up(ctx, o, p)
	if err != nil {
		return nil, Failed(ctx, l, err)
	}
	defer func() {
		err = errors.Join(err, Down(context.WithoutCancel(ctx), l.Options, p))
		if err == nil {
			p.Step("the lab is gone again")
		}
		if report != nil {
			report.Seconds = time.Since(start).Seconds()
		}
	}()
	return l.run(ctx, load)
}

func (l *Lab) run(ctx context.Context, load bool) (*Report, error) {
	r := &Report{Iptables: l.Iptables, Tunnel: l.Tunnel, Profile: l.Profile, Dialect: l.Dialect}
	kernel, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return nil, fmt.Errorf("reading the kernel's release: %w", err)
	}
	r.Kernel = strings.TrimSpace(string(kernel))
	if r.Proof, err = l.Prove(ctx); err != nil {
		return nil, l.explain(err)
	}
	l.progress.Step("%s called %s: status %d from %s", callerHost, callURL, r.Proof.Call.Status, r.Proof.Call.Remote)
	if l.asInTheArticle() {
		if r.Listings, err = l.Verify(ctx); err != nil {
			return nil, err
		}
		l.progress.Step("%d of %d listings are reproduced", Reproduced(r.Listings), len(r.Listings))
	}
	if r.Policies, err = l.Policies(ctx); err != nil {
		return nil, l.explain(err)
	}
	l.progress.Step("what policies forbid was tried, %d ways", len(r.Policies))
	if load {
		if r.Load, err = l.Load(ctx); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// explain adds the ends of the daemons' logs to the error of a call.
func (l *Lab) explain(err error) error {
	for _, n := range l.Net.Topology.Nodes {
		err = fmt.Errorf("%w%s", err, l.logEnd(n.Host, nodeDaemon))
		if n.Ztunnel != "" {
			err = fmt.Errorf("%w%s", err, l.logEnd(n.Ztunnel, ztunnelDaemon))
		}
	}
	return err
}
