// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"io"
	"log"
	"net"
	"time"

	"github.com/hashicorp/yamux"
)

// Session is one byte stream that carries many.
type Session struct {
	mux *yamux.Session
}

// Mux shares conn between many streams. Exactly one end of conn is the host's. What goes wrong on the session is
// written to problems.
//
// A machine without hardware acceleration on a busy host may stand still for a long time and then go on. So nothing here
// is given up for being slow: there is no keep-alive, and the session ends only when conn does.
func Mux(conn io.ReadWriteCloser, host bool, problems io.Writer) (*Session, error) {
	cfg := yamux.DefaultConfig()
	cfg.EnableKeepAlive = false
	cfg.ConnectionWriteTimeout = 24 * time.Hour
	cfg.StreamOpenTimeout = 0
	cfg.MaxStreamWindowSize = 1 << 20
	cfg.LogOutput = nil
	cfg.Logger = log.New(problems, "", 0)
	open := yamux.Server
	if host {
		open = yamux.Client
	}
	mux, err := open(conn, cfg)
	if err != nil {
		return nil, err
	}
	return &Session{mux: mux}, nil
}

// Open opens a stream to the other end. It does not wait for that end to take it.
func (s *Session) Open() (net.Conn, error) { return s.mux.Open() }

// Accept waits for a stream that the other end opened.
func (s *Session) Accept() (net.Conn, error) { return s.mux.Accept() }

// Close ends the session and all its streams.
func (s *Session) Close() error { return s.mux.Close() }
