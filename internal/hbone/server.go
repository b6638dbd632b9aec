// SPDX-License-Identifier: Apache-2.0

package hbone

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// server is the side of a connection that is asked for tunnels.
type server struct {
	c      *conn
	ctx    context.Context // of all requests; outlives Serve's while draining
	handle func(context.Context, *Request)

	handlers sync.WaitGroup
	running  int // handlers, guarded by c.mu: a reset frees its stream, not its handler

	draining bool // guarded by c.mu
}

// Serve speaks HTTP/2 on conn, which it owns, and calls handle in a goroutine of
// its own for each request. It returns when the connection has ended and every
// handler has returned: nil if the client closed it while no stream was open,
// or after ctx ended and the open streams finished.
//
// The context of a request ends when its stream is reset or its connection
// lost, and when handle returns. The end of ctx itself only stops new streams:
// open ones have Config.DrainTimeout to finish, then the connection is closed.
//
// A stream lives as long as its handler: whatever of it is open when handle
// returns is closed, see [Stream.Close].
func Serve(ctx context.Context, conn net.Conn, cfg Config, handle func(ctx context.Context, r *Request)) error {
	requests, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	sv := &server{c: newConn(conn, cfg, true), ctx: requests, handle: handle}
	c := sv.c
	c.onHeaders = sv.onHeaders
	c.onPingAck = sv.onPingAck
	c.onRemove = sv.closeDrained

	drained := make(chan struct{})
	go func() {
		defer close(drained)
		sv.drainAfter(ctx)
	}()
	c.run()
	<-drained
	sv.handlers.Wait()
	return sv.result()
}

func (sv *server) result() error {
	err := sv.c.endErr()
	if err == io.EOF || errors.Is(err, ErrClosed) {
		return nil
	}
	return fmt.Errorf("serving HTTP/2 connection: %w", err)
}

// onHeaders takes a request, or the trailers of one.
func (sv *server) onHeaders(f *http2.MetaHeadersFrame) error {
	c, id := sv.c, f.StreamID
	c.mu.Lock()
	s, late, used := c.streams[id], c.late(id), id <= c.maxPeerID
	c.mu.Unlock()
	switch {
	case s != nil:
		return c.onTrailers(s, f)
	case id%2 == 0:
		return protocolError("client opened stream %d", id)
	case late:
		return nil
	case used:
		return &ConnError{Code: http2.ErrCodeStreamClosed, Reason: "HEADERS for a closed stream"}
	}
	c.noteID(id)
	if err := checkRequest(f); err != nil {
		return streamError(id, http2.ErrCodeProtocol, err.Error())
	}
	return sv.start(f)
}

// start opens the stream and runs its handler, if there is room for both.
func (sv *server) start(f *http2.MetaHeadersFrame) error {
	c := sv.c
	c.mu.Lock()
	if c.ended {
		c.mu.Unlock()
		return nil
	}
	limit := int(c.cfg.MaxStreams)
	if len(c.streams) >= limit || sv.running >= 2*limit {
		c.mu.Unlock()
		return c.refuse(f.StreamID, http2.ErrCodeRefusedStream)
	}
	s := c.newStream(f.StreamID)
	ctx, cancel := context.WithCancel(sv.ctx)
	s.cancel = cancel
	c.streams[s.id] = s
	sv.running++
	c.mu.Unlock()

	if f.StreamEnded() {
		s.peerEnded()
	}
	handle := sv.handle
	if f.Truncated {
		handle = headerTooLarge
	}
	r := newRequest(s, f)
	sv.handlers.Add(1)
	go func() {
		defer sv.handlers.Done()
		defer cancel()
		handle(ctx, r)
		r.settle()
		c.mu.Lock()
		sv.running--
		c.mu.Unlock()
	}()
	return nil
}

func headerTooLarge(_ context.Context, r *Request) { r.Reject(431, nil) }

// Request is what a client asked for. The handler answers with Accept or Reject.
type Request struct {
	Method    string
	Authority string // of CONNECT: the tunnel's target, as "host:port"
	Scheme    string // empty in CONNECT
	Path      string // empty in CONNECT
	Protocol  string // of an extended CONNECT (RFC 8441), which we never offer
	Header    []hpack.HeaderField

	s *Stream
}

func newRequest(s *Stream, f *http2.MetaHeadersFrame) *Request {
	return &Request{
		Method:    f.PseudoValue("method"),
		Authority: f.PseudoValue("authority"),
		Scheme:    f.PseudoValue("scheme"),
		Path:      f.PseudoValue("path"),
		Protocol:  f.PseudoValue("protocol"),
		Header:    slices.Clone(f.RegularFields()),
		s:         s,
	}
}

// Get returns the value of the first header field of that lower-case name, or
// "". It knows the pseudo-header fields as well: Get(":authority").
func (r *Request) Get(name string) string {
	switch name {
	case ":method":
		return r.Method
	case ":authority":
		return r.Authority
	case ":scheme":
		return r.Scheme
	case ":path":
		return r.Path
	case ":protocol":
		return r.Protocol
	}
	for _, f := range r.Header {
		if f.Name == name {
			return f.Value
		}
	}
	return ""
}

// Accept answers with a 2xx status and makes the request a tunnel. It fails if
// the client has reset the stream meanwhile, or the request was answered before.
func (r *Request) Accept(status int, header []hpack.HeaderField) (*Stream, error) {
	if status/100 != 2 {
		return nil, fmt.Errorf("accepting %s: status %d is not 2xx", r.Authority, status)
	}
	if err := r.s.respond(status, header, false, ""); err != nil {
		return nil, fmt.Errorf("accepting %s: %w", r.Authority, err)
	}
	return r.s, nil
}

// Reject answers with a status and no body, and ends the stream. For a request
// that is not CONNECT the status may be any final one.
func (r *Request) Reject(status int, header []hpack.HeaderField) error {
	return r.RejectText(status, header, "")
}

// RejectText is Reject with a short text for a body. A client whose windows have
// no room for it gets the status alone: a refusal does not wait for the refused.
func (r *Request) RejectText(status int, header []hpack.HeaderField, body string) error {
	if status < 200 || status > 999 {
		return fmt.Errorf("rejecting %s: invalid status %d", r.Authority, status)
	}
	if err := r.s.respond(status, header, true, body); err != nil {
		return fmt.Errorf("rejecting %s: %w", r.Authority, err)
	}
	r.s.Close()
	return nil
}

// Refuse hands the request back with REFUSED_STREAM: nothing was done for it, and
// the client may send it once more over another connection.
func (r *Request) Refuse() { r.s.Reset(http2.ErrCodeRefusedStream) }

// respond sends the final response; body is for one that ends the stream.
func (s *Stream) respond(status int, header []hpack.HeaderField, end bool, body string) error {
	if err := checkOutgoing(header); err != nil {
		return err
	}
	fields := append([]hpack.HeaderField{{Name: ":status", Value: strconv.Itoa(status)}}, header...)
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waitRoom(func() bool { return s.err != nil })
	switch {
	case s.err != nil:
		return s.err
	case s.responded:
		return errors.New("request was answered before")
	}
	s.responded = true
	n := int64(len(body))
	if n > min(s.sendWindow, c.sendWindow, int64(c.peer.frameSize)) {
		n = 0
	}
	if n > 0 {
		fields = append(fields, hpack.HeaderField{Name: "content-length", Value: strconv.FormatInt(n, 10)})
	}
	c.appendHeaders(s.id, end && n == 0, fields)
	if n > 0 {
		s.sendWindow -= n
		c.sendWindow -= n
		c.wfr.WriteData(s.id, true, []byte(body))
		c.signal()
	}
	if end {
		s.endSend()
	}
	return nil
}

// settle ends what the handler left open.
func (r *Request) settle() {
	r.s.c.mu.Lock()
	responded := r.s.responded
	r.s.c.mu.Unlock()
	if !responded {
		r.s.Reset(http2.ErrCodeInternal)
		return
	}
	r.s.Close()
}

var drainPing = [8]byte{'d', 'r', 'a', 'i', 'n'}

// drainAfter starts the graceful end when ctx is over (RFC 9113 section 6.8):
// a first GOAWAY stops the client, and when a PING has come back, so that
// everything it sent before has arrived, a second one names the last stream.
func (sv *server) drainAfter(ctx context.Context) {
	c := sv.c
	select {
	case <-ctx.Done():
	case <-c.failed:
		return
	}
	c.mu.Lock()
	if !c.ended {
		sv.draining = true
		c.wfr.WriteGoAway(maxStreamID, http2.ErrCodeNo, nil)
		c.wfr.WritePing(false, drainPing)
		c.signal()
	}
	c.mu.Unlock()
	if c.cfg.DrainTimeout < 0 {
		<-c.failed
		return
	}
	t := time.NewTimer(c.cfg.DrainTimeout)
	defer t.Stop()
	select {
	case <-t.C:
		c.fail(fmt.Errorf("%w: streams still open after %v", ErrClosed, c.cfg.DrainTimeout), true)
	case <-c.failed:
	}
}

func (sv *server) onPingAck(data [8]byte) {
	c := sv.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if data != drainPing || !sv.draining || c.goneAway || c.ended {
		return
	}
	c.goneAway, c.lastServed = true, c.maxPeerID
	c.wfr.WriteGoAway(c.lastServed, http2.ErrCodeNo, nil)
	c.signal()
	sv.closeDrained()
}

// closeDrained ends the connection after the last stream that GOAWAY left. The
// caller holds c.mu.
func (sv *server) closeDrained() {
	if sv.c.goneAway && len(sv.c.streams) == 0 {
		sv.c.endAfterOutput(ErrClosed)
	}
}
