// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// Server carries out requests on the far side.
type Server struct {
	// Spawn starts processes. A process that reaps every child there is (PID 1) has to know which of them are ours.
	Spawn Spawner
	// Env is the environment of commands that bring none.
	Env []string
	// SetClock puts the machine's clock right; nil leaves it alone.
	SetClock func(time.Time) error
	// PowerOff switches the machine off; nil refuses.
	PowerOff func()
}

// Serve carries out the requests of every stream that accept returns, each on its own, until accept fails. It returns accept's error.
func (s *Server) Serve(accept func() (net.Conn, error)) error {
	for {
		conn, err := accept()
		if err != nil {
			return err
		}
		go s.serve(conn)
	}
}

// serve holds one conversation. There is nobody to report a broken stream to but the peer, who sees it.
func (s *Server) serve(conn io.ReadWriteCloser) {
	defer conn.Close()
	out := &frameWriter{w: conn}
	r, err := readRequest(conn)
	if err != nil {
		_ = out.writeJSON(frameFailed, failure{Code: -1, Message: err.Error()})
		return
	}
	switch r.Kind {
	case kindExec:
		s.exec(conn, out, r)
	case kindHello:
		s.hello(out, r)
	case kindPowerOff:
		s.powerOff(out)
	default:
		_ = out.writeJSON(frameFailed, failure{Code: -1, Message: fmt.Sprintf("unknown request %q", r.Kind)})
	}
}

func readRequest(conn io.Reader) (request, error) {
	var r request
	t, payload, err := readFrame(conn, make([]byte, maxFrame))
	if err != nil {
		return r, fmt.Errorf("reading the request: %w", err)
	}
	if t != frameRequest {
		return r, fmt.Errorf("reading the request: a frame of type %q came first", byte(t))
	}
	if err := json.Unmarshal(payload, &r); err != nil {
		return r, fmt.Errorf("reading the request: %w", err)
	}
	return r, nil
}

func (s *Server) hello(out *frameWriter, r request) {
	if s.SetClock != nil {
		if err := s.SetClock(time.Unix(0, r.UnixNano)); err != nil {
			_ = out.writeJSON(frameFailed, failure{Code: -1, Message: fmt.Sprintf("setting the clock: %v", err)})
			return
		}
	}
	_ = out.writeNumber(frameExit, 0)
}

func (s *Server) powerOff(out *frameWriter) {
	if s.PowerOff == nil {
		_ = out.writeJSON(frameFailed, failure{Code: -1, Message: "this machine can't be switched off"})
		return
	}
	_ = out.writeNumber(frameExit, 0)
	s.PowerOff()
}

// exec runs a command to its end, and its conversation with it.
func (s *Server) exec(conn io.ReadWriteCloser, out *frameWriter, r request) {
	p, err := s.start(r)
	if err != nil {
		f := failure{Code: 126, Message: err.Error()}
		if start := (*StartError)(nil); errors.As(err, &start) {
			f.Code = start.Code
		}
		_ = out.writeJSON(frameFailed, f)
		return
	}
	go p.listen(conn, out)
	if code, ok := p.relay(conn, out); ok {
		_ = out.writeNumber(frameExit, uint32(int32(code)))
	}
}
