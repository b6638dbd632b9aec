// SPDX-License-Identifier: Apache-2.0

package listener

import (
	"context"
	"sync"
	"time"

	"github.com/ambient22/ambient22/internal/proxy/config"
)

// Connections that carry tunnels live as long as their peers want, and take new
// requests all the time. When their filter chain has changed, so may have who is
// let in. They then finish the requests they have and take no more: the peer opens
// another connection, which meets the new chain. As in Envoy, but that here what is
// open may go on for as long as it likes.

// tunnels are the connections of one listener that take requests.
type tunnels struct {
	mu   sync.Mutex
	gone bool // the listener was removed
	open map[*connection]tunnel
}

type tunnel struct {
	chain *config.FilterChain
	drain context.CancelFunc
}

// enter notes a connection under chain. The returned context ends when it is to
// take no more requests; leave is to be called when it has ended.
func (a *active) enter(c *connection, chain *config.FilterChain) (ctx context.Context, leave func()) {
	ctx, drain := context.WithCancel(a.set.ctx)
	t := &a.tunnels
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.open == nil {
		t.open = make(map[*connection]tunnel)
	}
	t.open[c] = tunnel{chain, drain}
	// It may have been accepted before a change, and have its handshake behind it
	// after that.
	if now := a.config.Load(); t.gone || now != c.config && !now.Has(chain) {
		drain()
	}
	return ctx, func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		delete(t.open, c)
		drain()
	}
}

// drainChanged lets connections finish whose chain the listener has no more.
func (a *active) drainChanged() {
	t := &a.tunnels
	t.mu.Lock()
	defer t.mu.Unlock()
	kept := make(map[*config.FilterChain]bool)
	now := a.config.Load()
	for _, one := range t.open {
		stays, known := kept[one.chain]
		if !known {
			stays = now.Has(one.chain)
			kept[one.chain] = stays
		}
		if !stays {
			one.drain()
		}
	}
}

// drainAll lets every connection finish: the listener is gone.
func (a *active) drainAll() {
	a.tunnels.mu.Lock()
	a.tunnels.gone = true
	a.tunnels.mu.Unlock()
	a.drainOpen()
}

// drainOpen lets the connections finish that are open now.
func (a *active) drainOpen() {
	t := &a.tunnels
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, one := range t.open {
		one.drain()
	}
}

const (
	// quiet is for how long nobody may have come before it counts as certain that
	// the node leads new connections elsewhere. It takes note of another ztunnel
	// within a fraction of that, and of an idle one nobody is the worse for staying.
	quiet     = 2 * time.Second
	lookAgain = 100 * time.Millisecond
)

// Finish serves on until it is not needed any more, for at most limit: until no
// connection is open and none has come for a while. The node may lead new
// connections here for as long as it has not turned to another proxy, so they are
// served like those before. Only when none come any more, the peers of tunnels are
// told to open others: now these lead elsewhere.
func (s *Set) Finish(limit time.Duration) {
	deadline := time.Now().Add(limit)
	s.latest.Store(time.Now().UnixNano())
	for left := limit; left > 0; left = time.Until(deadline) {
		if !s.wait(min(lookAgain, left)) {
			return
		}
		if time.Since(time.Unix(0, s.latest.Load())) < quiet {
			continue
		}
		if s.conns.none() {
			return
		}
		s.mu.RLock()
		for _, a := range s.byName {
			a.drainOpen()
		}
		s.mu.RUnlock()
	}
}
