// SPDX-License-Identifier: Apache-2.0

package ca

import (
	"context"
	"time"
)

const (
	// longestSleep bounds how late a renewal can come when the wall clock was
	// stepped forward, or the machine slept, while the loop waited.
	longestSleep = time.Minute
	// together is how close renewals must lie to be announced at once: pods that
	// started together should cost their proxy one push and not many.
	together = time.Second
)

// Run drops leaves when they are due and announces it, until ctx ends; it then
// returns nil. It issues nothing: who still needs the identity asks again and
// gets a new leaf, and what nobody asks for is forgotten. Without Run leaves are
// renewed only when they are asked for.
func (a *Authority) Run(ctx context.Context) error {
	for {
		timer := a.clock.After(a.renewDue())
		select {
		case <-ctx.Done():
			return nil
		case <-a.woken:
		case <-timer:
		}
	}
}

// renewDue drops the leaves that are due and says how long to wait for the next.
func (a *Authority) renewDue() time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.clock.Now()
	if a.dropDue(now) > 0 {
		a.announce()
	}
	wait := longestSleep
	for _, l := range a.leaves {
		wait = min(wait, l.renewAt.Sub(now))
	}
	return wait
}

// dropDue forgets the leaves to be renewed by now, and those that would follow
// within a moment; none if none is due yet. The caller holds mu.
func (a *Authority) dropDue(now time.Time) int {
	due := false
	for _, l := range a.leaves {
		due = due || !now.Before(l.renewAt)
	}
	if !due {
		return 0
	}
	dropped := 0
	for identity, l := range a.leaves {
		if l.renewAt.Before(now.Add(together)) {
			delete(a.leaves, identity)
			dropped++
		}
	}
	return dropped
}
