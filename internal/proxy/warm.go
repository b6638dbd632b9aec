// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"time"
)

// need is one thing that a resource waits for.
type need struct {
	what    string
	ready   <-chan struct{}
	timeout time.Duration // at most so long; 0: for ever
}

func (n need) met() bool {
	select {
	case <-n.ready:
		return true
	default:
		return false
	}
}

// warm runs use, under the manager's lock, as soon as every need is met or timed
// out; at once, if that is now. Ending the returned cancel gives up. The caller
// holds the lock.
func (m *manager) warm(name string, needs []need, use func()) (cancel context.CancelFunc) {
	ctx, cancel := context.WithCancel(m.ctx)
	open := needs[:0:0]
	for _, n := range needs {
		if !n.met() {
			open = append(open, n)
		}
	}
	if len(open) == 0 {
		use()
		cancel() // the manager's context would remember it for ever
		return cancel
	}
	go func() {
		defer cancel()
		if !m.await(ctx, name, open) {
			return
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		if ctx.Err() == nil {
			use()
			m.proceed()
		}
	}()
	return cancel
}

// await reports false where ctx ended first.
func (m *manager) await(ctx context.Context, name string, needs []need) bool {
	began := time.Now()
	for _, n := range needs {
		var expired <-chan time.Time
		if n.timeout > 0 {
			t := time.NewTimer(n.timeout - time.Since(began))
			defer t.Stop()
			expired = t.C
		}
		select {
		case <-n.ready:
		case <-expired:
			m.p.log.Warn("going on without what was not delivered in time", "resource", name, "missing", n.what, "after", n.timeout)
		case <-ctx.Done():
			return false
		}
	}
	return true
}
