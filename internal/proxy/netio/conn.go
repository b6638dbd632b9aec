// SPDX-License-Identifier: Apache-2.0

// Package netio is what the proxy knows about byte streams and sockets: a
// stream that can be half-closed and reset, the pump that joins two of them,
// an in-process pair for internal listeners, and the socket options of
// transparent proxying.
package netio

import (
	"errors"
	"fmt"
	"io"
	"net"
)

// Conn is a byte stream with two independent directions. Every kind of
// connection the proxy joins is one: TCP, TLS, a tunnel's stream, an in-process
// pair.
type Conn interface {
	io.Reader
	io.Writer
	// CloseWrite ends the outgoing direction: FIN, END_STREAM.
	CloseWrite() error
	// Reset drops the stream so that the peer sees a reset, not an end: RST,
	// RST_STREAM with CONNECT_ERROR (RFC 9113, section 8.5).
	Reset() error
	// Close lets go of the stream; what was not read by then is lost.
	Close() error
}

// ErrReset is what reading from or writing to a stream returns that its peer
// has reset, where no more exact error exists.
var ErrReset = errors.New("connection reset by peer")

// TCP is a Conn over a TCP socket.
type TCP struct{ *net.TCPConn }

// Reset closes the socket with an RST and throws away what was not sent.
func (c TCP) Reset() error {
	if err := c.SetLinger(0); err != nil {
		return errors.Join(fmt.Errorf("setting linger: %w", err), c.TCPConn.Close())
	}
	return c.TCPConn.Close()
}
