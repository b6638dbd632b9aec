// SPDX-License-Identifier: Apache-2.0

package hbone

import (
	"container/list"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// Client is the side of a connection that opens tunnels.
type Client struct {
	c *conn

	// Guarded by c.mu.
	promised int       // slots given to Connects that have not opened their stream yet
	waiting  list.List // of chan struct{}: Connects without a slot, oldest first
	leaving  error     // why no more streams are opened, though the open ones go on
}

// NewClient starts HTTP/2 on conn, which it owns from now on, and returns at
// once: the first tunnels are asked for before the server's SETTINGS arrived.
// A TLS connection whose handshake is complete must have negotiated "h2".
func NewClient(conn net.Conn, cfg Config) (*Client, error) {
	if t, ok := conn.(interface{ ConnectionState() tls.ConnectionState }); ok {
		if state := t.ConnectionState(); state.HandshakeComplete && state.NegotiatedProtocol != http2.NextProtoTLS {
			return nil, fmt.Errorf("starting HTTP/2: TLS negotiated %q", state.NegotiatedProtocol)
		}
	}
	cl := &Client{c: newConn(conn, cfg, false)}
	c := cl.c
	c.nextID = 1
	c.onHeaders = cl.onHeaders
	c.onGoAway = cl.onGoAway
	c.onRemove = cl.grant
	c.onEnd = cl.dismiss
	go c.run()
	return cl, nil
}

// Connect opens a tunnel to authority ("host:port") and waits for the server's
// answer. header is sent along; its names are lower-case and have no colon.
//
// While as many streams are open as the server or Config allows, Connect waits
// for one to end; a pool asks CanTakeStream first and opens another connection
// instead. Ending ctx gives up, and cancels the request if it was sent.
//
// Errors: *StatusError for an answer other than 2xx, *UnprocessedError where
// the server certainly did nothing and another connection may be tried,
// *ResetError, *ConnError or the socket's error, or the cause of ctx.
func (cl *Client) Connect(ctx context.Context, authority string, header []hpack.HeaderField) (*Stream, error) {
	fields, err := requestFields(authority, header)
	if err != nil {
		return nil, fmt.Errorf("connecting to %q: %w", authority, err)
	}
	s, err := cl.open(ctx, fields)
	if err == nil {
		err = s.awaitAnswer(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("connecting to %q: %w", authority, err)
	}
	return s, nil
}

func requestFields(authority string, header []hpack.HeaderField) ([]hpack.HeaderField, error) {
	if authority == "" {
		return nil, errors.New("empty authority")
	}
	if err := checkOutgoing(append([]hpack.HeaderField{{Name: "host", Value: authority}}, header...)); err != nil {
		return nil, err
	}
	return append([]hpack.HeaderField{
		{Name: ":method", Value: "CONNECT"},
		{Name: ":authority", Value: authority},
	}, header...), nil
}

// open sends the request.
func (cl *Client) open(ctx context.Context, fields []hpack.HeaderField) (*Stream, error) {
	if err := cl.acquire(ctx); err != nil {
		return nil, err
	}
	c := cl.c
	defer context.AfterFunc(ctx, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.room.Broadcast()
	})()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waitRoom(func() bool { return ctx.Err() != nil })
	cl.promised--
	if err := cl.sendable(ctx, fields); err != nil {
		cl.grant() // the slot is free again
		return nil, err
	}
	s := c.newStream(c.nextID)
	s.answered = make(chan struct{})
	c.streams[s.id] = s
	c.nextID += 2
	if c.nextID > maxStreamID {
		cl.leaving = ErrNoMoreStreams
	}
	c.appendHeaders(s.id, false, fields)
	return s, nil
}

// refusal tells why no stream can be opened. The caller holds c.mu.
func (cl *Client) refusal() error {
	switch {
	case cl.c.ended:
		return &UnprocessedError{cl.c.err}
	case cl.leaving != nil:
		return &UnprocessedError{cl.leaving}
	}
	return nil
}

// sendable tells why a request cannot be sent. The caller holds c.mu.
func (cl *Client) sendable(ctx context.Context, fields []hpack.HeaderField) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if size, limit := headerBytes(fields), cl.c.peer.headerBytes; size > limit {
		return fmt.Errorf("header of %d bytes exceeds the server's limit of %d", size, limit)
	}
	return cl.refusal()
}

// acquire waits for one of the streams that may be open at the same time.
func (cl *Client) acquire(ctx context.Context) error {
	c := cl.c
	c.mu.Lock()
	if err := cl.refusal(); err != nil {
		c.mu.Unlock()
		return err
	}
	if cl.free() > 0 {
		cl.promised++
		c.mu.Unlock()
		return nil
	}
	turn := make(chan struct{})
	place := cl.waiting.PushBack(turn)
	c.mu.Unlock()

	select {
	case <-turn: // a slot, or the end: open finds out
		return nil
	case <-ctx.Done():
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-turn:
		cl.promised--
		cl.grant()
	default:
		cl.waiting.Remove(place)
	}
	return context.Cause(ctx)
}

// free is how many more streams may be opened now. The caller holds c.mu.
func (cl *Client) free() int64 {
	limit := int64(min(cl.c.cfg.MaxStreams, cl.c.peer.streams))
	return limit - int64(len(cl.c.streams)) - int64(cl.promised)
}

// grant gives free slots to those who wait longest, and ends the connection if
// it only waited for its last stream. The caller holds c.mu.
func (cl *Client) grant() {
	for cl.leaving == nil && cl.waiting.Len() > 0 && cl.free() > 0 {
		cl.callNext()
	}
	if cl.leaving != nil && len(cl.c.streams) == 0 && cl.promised == 0 {
		cl.c.endAfterOutput(cl.leaving)
	}
}

func (cl *Client) callNext() {
	cl.promised++
	close(cl.waiting.Remove(cl.waiting.Front()).(chan struct{}))
}

// dismiss wakes everybody who waits for a slot that will not come. The caller
// holds c.mu.
func (cl *Client) dismiss() {
	for cl.waiting.Len() > 0 {
		cl.callNext()
	}
}

// awaitAnswer waits for the final response.
func (s *Stream) awaitAnswer(ctx context.Context) error {
	select {
	case <-s.answered:
	case <-s.done:
		select {
		case <-s.answered: // it ended right after
		default:
			return refusedSafely(s.Err())
		}
	case <-ctx.Done():
		s.Reset(http2.ErrCodeCancel)
		return context.Cause(ctx)
	}
	if s.status/100 == 2 {
		return nil
	}
	s.giveUp()
	return &StatusError{Status: s.status, Header: s.header}
}

// refusedSafely marks the reset that says nothing was done.
func refusedSafely(err error) error {
	var reset *ResetError
	if errors.As(err, &reset) && reset.Remote && reset.Code == http2.ErrCodeRefusedStream {
		return &UnprocessedError{err}
	}
	return err
}

// giveUp ends a stream without a tunnel as quietly as possible.
func (s *Stream) giveUp() {
	s.c.mu.Lock()
	ended := s.recvEnd
	s.c.mu.Unlock()
	if ended {
		s.CloseWrite()
	}
	s.Reset(http2.ErrCodeCancel)
}

// onHeaders takes a response.
func (cl *Client) onHeaders(f *http2.MetaHeadersFrame) error {
	c := cl.c
	c.mu.Lock()
	s, late, idle := c.streams[f.StreamID], c.late(f.StreamID), c.idle(f.StreamID)
	c.mu.Unlock()
	switch {
	case s != nil && s.gotFinal:
		return c.onTrailers(s, f)
	case s != nil:
		return cl.onResponse(s, f)
	case late:
		return nil
	case idle:
		return protocolError("HEADERS for idle stream %d", f.StreamID)
	}
	return &ConnError{Code: http2.ErrCodeStreamClosed, Reason: "HEADERS for a closed stream"}
}

func (cl *Client) onResponse(s *Stream, f *http2.MetaHeadersFrame) error {
	status, err := parseStatus(f)
	if err == nil && status < 200 && f.StreamEnded() {
		err = errors.New("informational response with END_STREAM")
	}
	switch {
	case err != nil:
		return streamError(s.id, http2.ErrCodeProtocol, err.Error())
	case f.Truncated:
		return streamError(s.id, http2.ErrCodeCancel, "response header too large")
	case status < 200:
		return cl.c.spend("informational responses")
	}
	s.gotFinal = true
	s.status, s.header = status, slices.Clone(f.RegularFields())
	if f.StreamEnded() {
		s.peerEnded()
	}
	close(s.answered)
	return nil
}
