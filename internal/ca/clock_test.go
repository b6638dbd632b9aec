// SPDX-License-Identifier: Apache-2.0

package ca

import (
	"sync"
	"time"
)

// fakeClock stands still until a test advances it.
type fakeClock struct {
	mu    sync.Mutex
	now   time.Time
	sleep []sleeper
	armed chan struct{} // receives once for every After
}

type sleeper struct {
	until time.Time
	wake  chan time.Time
}

func newFakeClock() *fakeClock {
	return &fakeClock{
		now:   time.Date(2022, 11, 11, 7, 10, 40, 0, time.UTC),
		armed: make(chan struct{}, 100_000),
	}
}

func (c *fakeClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *fakeClock) After(d time.Duration) <-chan time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := sleeper{until: c.now.Add(d), wake: make(chan time.Time, 1)}
	if d <= 0 {
		s.wake <- c.now
	} else {
		c.sleep = append(c.sleep, s)
	}
	c.armed <- struct{}{}
	return s.wake
}

func (c *fakeClock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
	var rest []sleeper
	for _, s := range c.sleep {
		if s.until.After(c.now) {
			rest = append(rest, s)
		} else {
			s.wake <- c.now
		}
	}
	c.sleep = rest
}
