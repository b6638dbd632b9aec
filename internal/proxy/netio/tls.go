// SPDX-License-Identifier: Apache-2.0

package netio

import (
	"crypto/tls"
	"net"
)

// TLS is a Conn over a TLS connection. Ending the outgoing direction sends
// close_notify; a reset resets the TCP connection below.
type TLS struct {
	*tls.Conn
	below *net.TCPConn
}

// NewTLS makes a Conn of t, which runs over below.
func NewTLS(t *tls.Conn, below *net.TCPConn) TLS { return TLS{Conn: t, below: below} }

// CloseWrite ends the outgoing direction.
func (c TLS) CloseWrite() error { return c.Conn.CloseWrite() }

// Reset drops the connection with an RST.
func (c TLS) Reset() error { return TCP{c.below}.Reset() }
