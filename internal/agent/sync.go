// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime/debug"
	"time"

	"github.com/ambient22/ambient22/envoyconfig"
	"github.com/ambient22/ambient22/internal/mesh"
)

// Retries of a failed attempt start after firstRetry and double up to lastRetry.
const (
	firstRetry = 500 * time.Millisecond
	lastRetry  = 30 * time.Second
)

// pass is what one turn of the loop leaves for the next.
type pass struct {
	served    *mesh.Snapshot // the snapshot that the ztunnel is offered
	pushed    time.Time      // when that, or one that was refused, was offered
	resources *envoyconfig.Resources
	installed bool // this run has put the data path on the node, or found none wanted
	check     bool // compare the whole node, not only its pods
	held      bool // the node was left alone, because it failed a moment ago
	node      programmed
	undrained []netip.Addr  // ztunnels whose connections were given up: logged once
	failure   error         // what came of the last attempt
	failures  int           // so many in a row
	told      *mesh.Capture // what was handed out last
	wait      time.Duration
	timer     <-chan time.Time
}

// again fires when what could not be done is due once more.
func (p *pass) again() <-chan time.Time { return p.timer }

// done schedules the next attempt where something is left: an error, or pods
// that can't be captured yet (their route may come a moment after them).
func (p *pass) done(err error) {
	if err == nil && len(p.node.refused) == 0 {
		p.wait, p.timer = 0, nil
		return
	}
	p.wait = min(max(2*p.wait, firstRetry), lastRetry)
	p.timer = time.After(p.wait)
}

// sync makes what is served, then what is on the node, agree with the snapshot.
// A pod is captured only while the ztunnel knows it: those that leave are
// released before the ztunnel forgets them, and a snapshot whose resources are
// refused brings no new ones.
func (a *Agent) sync(ctx context.Context, s *mesh.Snapshot, p *pass) State {
	start := time.Now()
	var state State
	p.held = false
	state.Err = a.release(ctx, s, p)
	if state.Err == nil {
		state.Err = a.serve(s, p)
	}
	if state.Err == nil {
		state.Served = true
		state.Err = a.program(ctx, s, p)
		state.Programmed = state.Err == nil
	}
	if p.held {
		return state
	}
	p.done(state.Err)
	a.Metrics.synced(state, time.Since(start))
	if state.Err != nil && (p.installed || errors.Is(state.Err, errPassing)) && ctx.Err() == nil {
		a.Log.Error("the node does not agree with the mesh yet", "err", state.Err, "again_in", p.wait)
	}
	return state
}

// serve offers the snapshot's resources to the ztunnel. Where there is none, none
// are made: those of a large mesh take much memory.
func (a *Agent) serve(s *mesh.Snapshot, p *pass) error {
	if !a.hasAudience(s) {
		a.letGo(s, p)
		return nil
	}
	if p.served == s && p.resources != nil {
		return nil
	}
	start := time.Now()
	// Also where it fails: building is what the interval is to spare.
	defer func() { p.pushed = time.Now() }()
	resources, err := a.builder.Update(s, s.ProxyID(a.NodeName))
	a.Metrics.builds.Observe(time.Since(start).Seconds())
	if err != nil {
		return fmt.Errorf("building the ztunnel's resources: %w", err)
	}
	if err := a.XDS.Set(resources); err != nil {
		return fmt.Errorf("serving the ztunnel's resources: %w", err)
	}
	a.Metrics.rebuilt(p.resources, resources)
	p.served, p.resources = s, resources
	return nil
}

// hasAudience reports whether anybody wants to be served: a ztunnel's pod is on the
// node, ready or not, or a proxy is connected that the mesh does not tell of.
func (a *Agent) hasAudience(s *mesh.Snapshot) bool {
	connected, _ := a.XDS.Proxies()
	return connected || s.HasZtunnel(a.NodeName)
}

// letGo gives back what was made for a ztunnel that is gone.
func (a *Agent) letGo(s *mesh.Snapshot, p *pass) {
	if p.resources != nil {
		if !a.XDS.Forget() {
			return // a proxy has just come, of which the loop will hear
		}
		p.resources, a.builder = nil, envoyconfig.NewBuilder(a.Form)
		a.Log.Info("no ztunnel is on this node; what was made for it is let go")
		debug.FreeOSMemory() // else the node would go without it for minutes
	}
	p.served = s
}
