// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"context"
	"io"
	"sync"
	"time"

	"github.com/ambient22/ambient22/internal/proxy/stats"
)

// maxPending is how many bytes of log lines wait for a writer that is slow.
// Beyond that lines are dropped and counted: the log must not hold up traffic.
const maxPending = 4 << 20

// lineWriter writes lines from many connections in a goroutine of its own, as
// many at once as have come together.
type lineWriter struct {
	w               io.Writer
	failed, dropped *stats.Value
	wake            chan struct{}
	ended           chan struct{} // closed when run has returned

	mu      sync.Mutex
	pending []byte
}

func newLineWriter(w io.Writer, failed, dropped *stats.Value) *lineWriter {
	return &lineWriter{w: w, failed: failed, dropped: dropped, wake: make(chan struct{}, 1), ended: make(chan struct{})}
}

// write takes a copy of line.
func (l *lineWriter) write(line []byte) {
	l.mu.Lock()
	full := len(l.pending)+len(line) > maxPending
	if !full {
		l.pending = append(l.pending, line...)
	}
	l.mu.Unlock()
	if full {
		l.dropped.Inc()
		return
	}
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// run writes until ctx ends, and then what is left.
func (l *lineWriter) run(ctx context.Context) {
	defer close(l.ended)
	var spare []byte
	for {
		last := false
		select {
		case <-l.wake:
		case <-ctx.Done():
			last = true
		}
		l.mu.Lock()
		lines := l.pending
		l.pending = spare[:0]
		l.mu.Unlock()
		if len(lines) > 0 {
			if _, err := l.w.Write(lines); err != nil {
				l.failed.Inc()
			}
		}
		spare = lines
		if last {
			return
		}
	}
}

// wait gives run, whose context has ended, so long for the last lines: a writer
// that takes nothing must not keep the proxy from ending.
func (l *lineWriter) wait(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-l.ended:
	case <-t.C:
	}
}
