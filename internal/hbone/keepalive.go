// SPDX-License-Identifier: Apache-2.0

package hbone

import (
	"errors"
	"fmt"
	"time"
)

// ErrPeerSilent is why a connection ended whose peer did not answer a keepalive
// PING in time.
var ErrPeerSilent = errors.New("peer does not answer")

var keepAlivePing = [8]byte{'a', 'l', 'i', 'v', 'e', '?'}

// startKeepAlive asks a silent peer for a sign of life, if configured. The
// returned function ends it and waits until it has.
func (c *conn) startKeepAlive() (stop func()) {
	if c.cfg.KeepAlive <= 0 {
		return func() {}
	}
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		for c.pause(c.cfg.KeepAlive) {
			if c.heard.Swap(false) {
				continue
			}
			c.reply(func() { c.wfr.WritePing(false, keepAlivePing) })
			if !c.pause(c.cfg.KeepAliveTimeout) {
				return
			}
			if !c.heard.Load() {
				c.fail(fmt.Errorf("%w: no frame in %v after a PING", ErrPeerSilent, c.cfg.KeepAliveTimeout), false)
				return
			}
		}
	}()
	return func() { <-gone }
}

// pause reports whether the connection still stands after d.
func (c *conn) pause(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-c.failed:
		return false
	}
}
