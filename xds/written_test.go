// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"net"
	"sync/atomic"
	"time"
)

// lastWrite is when a server last handed bytes to the kernel. Window updates and
// answers to pings count as well, so it errs on the late side.
type lastWrite struct{ nanoseconds atomic.Int64 }

func (w *lastWrite) at() time.Time { return time.Unix(0, w.nanoseconds.Load()) }

// watchedListener notes the writes on the connections it accepts.
type watchedListener struct {
	net.Listener
	written *lastWrite
}

func (l watchedListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if unix, ok := conn.(*net.UnixConn); ok {
		return watchedConn{unix, l.written}, err
	}
	return conn, err
}

type watchedConn struct {
	*net.UnixConn
	written *lastWrite
}

// Write implements net.Conn.
func (c watchedConn) Write(b []byte) (int, error) {
	n, err := c.UnixConn.Write(b)
	c.written.nanoseconds.Store(time.Now().UnixNano())
	return n, err
}
