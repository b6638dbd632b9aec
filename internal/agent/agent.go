// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/ambient22/ambient22/envoyconfig"
	"github.com/ambient22/ambient22/geneve"
	"github.com/ambient22/ambient22/internal/mesh"
	"github.com/ambient22/ambient22/noderoute"
)

// Source follows a mesh until ctx ends. It delivers every snapshot, and every
// reason why what it found can't be one; after such an error the last good
// snapshot stays in force.
type Source func(ctx context.Context, deliver func(*mesh.Snapshot, error)) error

// Node is what the agent asks of the node it runs on. *noderoute.Node is one.
type Node interface {
	Preflight(context.Context, noderoute.HostConfig) ([]noderoute.Problem, error)
	Apply(context.Context, noderoute.HostConfig) (noderoute.Result, error)
	UpdatePods(ctx context.Context, c noderoute.HostConfig, add, remove []noderoute.Pod) (noderoute.Result, error)
	Cleanup(context.Context) (noderoute.Result, error)
	Repair(context.Context, noderoute.HostConfig, noderoute.Kinds) (noderoute.Result, error)
	Watch(ctx context.Context, changed func(noderoute.Kinds)) error
}

// XDS is where finished resources go. *xds.Server is one.
type XDS interface {
	Set(*envoyconfig.Resources) error
	// Forget lets go of what was set, unless a proxy is connected.
	Forget() bool
	// Proxies reports whether a proxy is connected; the channel is closed when that
	// changes.
	Proxies() (connected bool, changed <-chan struct{})
}

// Config is one node's agent.
type Config struct {
	NodeName   string
	Form       envoyconfig.Options // how the ztunnel is served; its Node and ProxyID are not used
	Tunnel     geneve.Kind
	TunnelPort uint16
	Resync     time.Duration // how often the kernel is compared with the plan without a change

	// PushDelay is how long the first change after a quiet time waits for others,
	// PushInterval how long after a push the next one begins at the earliest. 0
	// means not at all.
	PushDelay    time.Duration
	PushInterval time.Duration

	// Outcome, where there is one, is told what the kernel does with the node's
	// pods: after every change of that, and for every snapshot that was worked on.
	// It is called from the agent's loop and must not wait.
	Outcome func(*mesh.Capture)

	Source  Source
	Node    Node
	XDS     XDS
	Log     *slog.Logger
	Metrics *Metrics
}

// Agent keeps one node true to the mesh. Its methods may be called from several
// goroutines.
type Agent struct {
	Config
	wake    chan struct{}        // capacity 1: a change is waiting
	stir    chan struct{}        // capacity 1: somebody changed the node
	builder *envoyconfig.Builder // only the loop uses it

	mu      sync.Mutex
	latest  *mesh.Snapshot
	taken   bool // the loop has seen latest
	stirred noderoute.Kinds
	state   State
}

// State is how far the agent has come, for readiness.
type State struct {
	Served     bool  // the latest snapshot is what the ztunnel is offered
	Programmed bool  // the node agrees with the latest snapshot
	Err        error // why not, from the last attempt
}

// New returns an agent that does nothing until Run.
func New(c Config) *Agent {
	c.Form.Node = c.NodeName
	return &Agent{
		Config:  c,
		wake:    make(chan struct{}, 1),
		stir:    make(chan struct{}, 1),
		builder: envoyconfig.NewBuilder(c.Form),
	}
}

// State reports the outcome of the last attempt.
func (a *Agent) State() State {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.state
}

// Run follows the source until ctx ends. It returns an error only where nothing
// was put on the node: the first snapshot can't be used, or the node can't
// carry the data path. Later failures, and those that may pass by themselves, are
// logged, counted and tried again.
func (a *Agent) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var sources sync.WaitGroup
	sources.Go(func() { a.watch(ctx) })
	sources.Go(func() {
		if err := a.Source(ctx, a.deliver(cancel)); err != nil && ctx.Err() == nil {
			cancel(fmt.Errorf("following the mesh: %w", err))
		}
	})
	defer sources.Wait()
	err := a.loop(ctx)
	cancel(err)
	return err
}

// deliver takes what the source found. Before there is a first snapshot an error
// is fatal, because there is nothing to go on with.
func (a *Agent) deliver(fail context.CancelCauseFunc) func(*mesh.Snapshot, error) {
	return func(s *mesh.Snapshot, err error) {
		a.mu.Lock()
		first := a.latest == nil
		if err == nil {
			a.Metrics.received(!first && !a.taken)
			a.latest, a.taken = s, false
		}
		a.mu.Unlock()
		switch {
		case err == nil:
			select {
			case a.wake <- struct{}{}:
			default:
			}
		case first:
			fail(err)
		default:
			a.Metrics.sourceErrors.Inc()
			a.Log.Error("the change was not taken; what ran before goes on", "err", err)
		}
	}
}

// loop is the only place that changes anything.
func (a *Agent) loop(ctx context.Context) error {
	resync := time.NewTicker(a.Resync)
	defer resync.Stop()
	pace := pace{delay: a.PushDelay, interval: a.PushInterval}
	var pass pass
	var drift drift
	_, proxies := a.XDS.Proxies()
	for {
		select {
		case <-ctx.Done():
			if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
				return err
			}
			return nil
		case <-a.wake:
			pace.change(time.Now(), pass.pushed)
			continue
		case <-pace.due():
			if !pace.mayPush(time.Now()) {
				a.releaseEarly(ctx, a.snapshot(), &pass)
				continue
			}
		case <-a.stir:
			drift.stirred(time.Now(), a.takeStirred())
			continue
		case <-drift.due():
			if !a.check(ctx, &pass, &drift) {
				continue
			}
			pass.check = true
		case <-proxies:
			_, proxies = a.XDS.Proxies()
			if s := a.snapshot(); s == nil || a.hasAudience(s) == (pass.resources != nil) {
				continue
			}
		case <-resync.C:
			pass.check = true
		case <-pass.again():
			pass.check = true
		}
		if pace.pending || a.snapshot() == nil {
			continue // the check is made with the change that waits
		}
		snapshot := a.take()
		state := a.sync(ctx, snapshot, &pass)
		pass.check = false
		if ctx.Err() == nil {
			if !pass.held {
				pass.tried(state.Err)
			}
			a.tell(snapshot, &pass)
		}
		if state.Err != nil && !pass.installed && !errors.Is(state.Err, errPassing) && ctx.Err() == nil {
			return state.Err
		}
		a.mu.Lock()
		a.state = state
		a.mu.Unlock()
	}
}

// snapshot is the newest one, nil where there is none yet.
func (a *Agent) snapshot() *mesh.Snapshot {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.latest
}

// take is the newest snapshot, which from now on counts as seen.
func (a *Agent) take() *mesh.Snapshot {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.taken = true
	return a.latest
}
