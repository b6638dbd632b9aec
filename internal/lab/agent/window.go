// SPDX-License-Identifier: Apache-2.0

package agent

import "sync"

// window counts the bytes one side may still send. Giving never blocks, so that a reader of frames can do it.
type window struct {
	mu     sync.Mutex
	change *sync.Cond
	free   int
	closed bool
}

func newWindow(size int) *window {
	w := &window{free: size}
	w.change = sync.NewCond(&w.mu)
	return w
}

// take waits until n bytes may be sent; it is false when the window was closed instead.
func (w *window) take(n int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.free < n && !w.closed {
		w.change.Wait()
	}
	w.free -= n
	return !w.closed
}

func (w *window) give(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.free += n
	w.change.Broadcast()
}

func (w *window) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	w.change.Broadcast()
}
