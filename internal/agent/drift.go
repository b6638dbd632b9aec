// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/ambient22/ambient22/noderoute"
)

const (
	// Changes by others that come together are handled together.
	gatherDrift = 2 * time.Millisecond

	// What was just repaired and is damaged again is repaired after firstHold, and
	// after twice as long each time up to longestHold, until calm has passed
	// without a repair.
	firstHold   = 10 * time.Millisecond
	longestHold = time.Second
	calm        = 2 * longestHold

	// In the long run checks take no more than one of so many parts of the time.
	// Some may follow one another at once: what is saved up for that is
	// shortRest, and none waits longer than longestRest.
	restShare   = 10
	shortRest   = 250 * time.Millisecond
	longestRest = 10 * time.Second

	// watchAgain is when following the node's changes is tried again where it
	// failed; until then only the resync finds them.
	watchAgain = 10 * time.Second
)

// drift says when the node is checked after others have changed something on it.
type drift struct {
	kinds noderoute.Kinds // what waits for a check
	timer <-chan time.Time

	rested time.Time     // when the checks so far will have had their rest
	found  time.Time     // when the latest check ended that had to repair
	hold   time.Duration // how long the next one waits after that
}

// stirred notes that somebody changed something of these kinds.
func (d *drift) stirred(now time.Time, kinds noderoute.Kinds) {
	d.kinds |= kinds
	if d.timer != nil || d.kinds == 0 {
		return
	}
	d.timer = time.After(d.earliest(now).Sub(now))
}

// earliest is when the next check may be made.
func (d *drift) earliest(now time.Time) time.Time {
	return later(now.Add(gatherDrift), later(d.rested.Add(-shortRest), d.found.Add(d.hold)))
}

// due fires when the node is to be checked.
func (d *drift) due() <-chan time.Time { return d.timer }

// take is what to check, after due has fired.
func (d *drift) take() noderoute.Kinds {
	kinds := d.kinds
	d.kinds, d.timer = 0, nil
	return kinds
}

// done notes a check. It reports whether it is the first that has to wait for as
// long as any does: somebody keeps undoing what is repaired.
func (d *drift) done(now time.Time, took time.Duration, repaired bool) (flapping bool) {
	d.rested = later(d.rested, now).Add(restShare * took)
	if longest := now.Add(longestRest); d.rested.After(longest) {
		d.rested = longest
	}
	if !repaired {
		return false
	}
	before := d.hold
	d.hold = min(2*d.hold, longestHold)
	if d.hold == 0 || now.Sub(d.found) > calm {
		d.hold = firstHold
	}
	d.found = now
	return d.hold == longestHold && before < longestHold
}

// watch follows what others do to the node until ctx ends.
func (a *Agent) watch(ctx context.Context) {
	for ctx.Err() == nil {
		err := a.Node.Watch(ctx, func(kinds noderoute.Kinds) {
			a.mu.Lock()
			a.stirred |= kinds
			a.mu.Unlock()
			select {
			case a.stir <- struct{}{}:
			default:
			}
		})
		if ctx.Err() != nil {
			return
		}
		a.Log.Error("what others change on the node is only found at the next resync", "err", err, "again_in", watchAgain)
		select {
		case <-ctx.Done():
		case <-time.After(watchAgain):
		}
	}
}

// takeStirred is what others changed since it was asked last.
func (a *Agent) takeStirred() noderoute.Kinds {
	a.mu.Lock()
	defer a.mu.Unlock()
	kinds := a.stirred
	a.stirred = 0
	return kinds
}

// check looks at the node after somebody changed it. It asks for a whole sync, by
// true, where the node did not agree with the mesh anyway.
func (a *Agent) check(ctx context.Context, p *pass, d *drift) (sync bool) {
	kinds := d.take()
	if p.node.ztunnel == "" {
		return false // nothing of ours is there
	}
	start := time.Now()
	if !p.node.ok {
		d.done(start, 0, true) // as often as a repair, at most
		return true
	}
	repaired, err := a.repair(ctx, kinds, p)
	if ctx.Err() != nil {
		return false
	}
	if err != nil {
		p.node.ok = false
		p.done(err)
		a.Metrics.programmed.Set(0)
		a.Log.Error("the node does not agree with the mesh any more", "err", err, "again_in", p.wait)
		a.mu.Lock()
		a.state.Programmed, a.state.Err = false, err
		a.mu.Unlock()
	}
	p.tried(err)
	if p.told != nil {
		a.tell(p.told.Snapshot, p)
	}
	end := time.Now()
	if d.done(end, end.Sub(start), repaired || err != nil) {
		a.Log.Warn("somebody keeps undoing the node's data path; it is repaired once in a while only", "kinds", kinds, "every", longestHold)
	}
	return false
}

// repair makes the node what this run last made it, where somebody has changed it.
func (a *Agent) repair(ctx context.Context, kinds noderoute.Kinds, p *pass) (repaired bool, err error) {
	start := time.Now()
	result, err := a.Node.Repair(ctx, p.node.config, kinds)
	a.drifted(result, p, time.Since(start))
	a.drained(result, p)
	p.forgive(result)
	a.report(result, p, a.snapshot())
	if err != nil {
		return true, fmt.Errorf("repairing the node: %w", err)
	}
	a.Metrics.enrolled.Set(float64(len(p.node.config.Pods) - len(p.node.refused)))
	if len(p.node.refused) == 0 || p.timer == nil {
		p.wait = 0
		p.done(nil)
	}
	return result.Writes() > 0, nil
}

// drifted counts and logs what others had changed, as told by what it took to set
// it right. Where pods began or ceased to have a route, their part is no drift.
func (a *Agent) drifted(r noderoute.Result, p *pass, took time.Duration) {
	if r.Ended || r.Replaced.IsValid() {
		return // the rules for a ztunnel that was replaced come and go with it
	}
	kinds, changes := noderoute.Kinds(0), 0
	for kind, n := range r.Kinds {
		if kind&(noderoute.Set|noderoute.Routes|noderoute.Sysctls) != 0 && p.otherRefused(r) {
			continue
		}
		kinds, changes = kinds|kind, changes+n
		a.Metrics.drift.WithLabelValues(kind.String()).Add(float64(n))
	}
	if changes > 0 {
		a.Log.Warn("somebody changed the node's data path; it is as it was", "kinds", kinds, "changes", changes, "took", took)
	}
}

// otherRefused tells whether other pods can't take part than before.
func (p *pass) otherRefused(r noderoute.Result) bool {
	return len(r.Refused) != len(p.node.refused) || slices.ContainsFunc(r.Refused, func(e *noderoute.PodError) bool {
		_, before := p.node.refused[e.Pod.UID]
		return !before
	})
}
