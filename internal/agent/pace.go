// SPDX-License-Identifier: Apache-2.0

package agent

import "time"

// pace says when changes that came are pushed to the ztunnel: the first after a
// quiet time after delay, later ones not before interval has passed since the
// push before. What a node only has to let go need not wait for a push, so the
// loop is woken for that after delay in any case.
type pace struct {
	delay, interval time.Duration

	pending bool      // a change waits for its push
	push    time.Time // when that is due
	look    time.Time // when the loop is woken next
	timer   <-chan time.Time
}

// change notes that something changed; pushed is when the latest push ended.
func (p *pace) change(now, pushed time.Time) {
	if !p.pending {
		p.pending = true
		p.push = later(now.Add(p.delay), pushed.Add(p.interval))
	}
	look := now.Add(p.delay)
	if look.After(p.push) {
		look = p.push
	}
	if p.timer == nil || look.Before(p.look) {
		p.wakeAt(look, now)
	}
}

// due fires when the loop is to look at what changed.
func (p *pace) due() <-chan time.Time { return p.timer }

// mayPush reports, after due has fired, whether it is time for the push; then
// nothing waits any longer.
func (p *pace) mayPush(now time.Time) bool {
	p.timer = nil
	if now.Before(p.push) {
		p.wakeAt(p.push, now)
		return false
	}
	p.pending = false
	return true
}

func (p *pace) wakeAt(at, now time.Time) {
	p.look, p.timer = at, time.After(at.Sub(now))
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
