// SPDX-License-Identifier: Apache-2.0

package listener

import (
	"context"
	"sync"

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
	t := &a.tunnels
	t.mu.Lock()
	defer t.mu.Unlock()
	t.gone = true
	for _, one := range t.open {
		one.drain()
	}
}
