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
// for one to end; a pool, which can open another connection instead, uses
// TryConnect. Ending ctx gives up, and cancels the request if it was sent.
//
// Errors: *StatusError for an answer other than 2xx, *UnprocessedError where
// the server certainly did nothing and another connection may be tried,
// *ResetError, *ConnError or the socket's error, or the cause of ctx.
func (cl *Client) Connect(ctx context.Context, authority string, header []hpack.HeaderField) (*Stream, error) {
	return cl.connect(ctx, authority, header, true)
}

// TryConnect is Connect, but it never waits for another stream to end: where no
// more may be open, it fails at once with an *UnprocessedError of ErrFull.
func (cl *Client) TryConnect(ctx context.Context, authority string, header []hpack.HeaderField) (*Stream, error) {
	return cl.connect(ctx, authority, header, false)
}

func (cl *Client) connect(ctx context.Context, authority string, header []hpack.HeaderField, wait bool) (*Stream, error) {
	fields, err := requestFields(authority, header)
	if err != nil {
		return nil, fmt.Errorf("connecting to %q: %w", authority, err)
	}
	s, err := cl.open(ctx, fields, wait)
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

// open sends the request; with wait as soon as there is a slot for it.
func (cl *Client) open(ctx context.Context, fields []hpack.HeaderField, wait bool) (*Stream, error) {
	for {
		if err := cl.acquire(ctx, wait); err != nil {
			return nil, err
		}
		s, err := cl.send(ctx, fields)
		if s != nil || err != nil {
			return s, err
		}
	}
}

// send uses up a slot for the request. The stream is nil where SETTINGS have
// lowered the limit since the slot was given: a stream above it might cost the
// whole connection (RFC 9113 section 5.1.2).
func (cl *Client) send(ctx context.Context, fields []hpack.HeaderField) (*Stream, error) {
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
	if cl.free() <= 0 {
		return nil, nil
	}
	s := c.newStream(c.nextID)
	s.answered, s.early = make(chan struct{}), !c.knowsPeer
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

// acquire takes a slot for one of the streams that may be open at the same time;
// with wait it waits for one.
func (cl *Client) acquire(ctx context.Context, wait bool) error {
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
	if !wait {
		c.mu.Unlock()
		return &UnprocessedError{ErrFull}
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
			return s.refusedSafely()
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

// refusedSafely is why the stream ended without an answer; it marks the reset
// that says nothing was done. To a request that did not wait for the server's
// SETTINGS that says, too, that it came above their limit.
func (s *Stream) refusedSafely() error {
	err := s.Err()
	var reset *ResetError
	switch {
	case !errors.As(err, &reset) || !reset.Remote || reset.Code != http2.ErrCodeRefusedStream:
		return err
	case s.early:
		return &UnprocessedError{fmt.Errorf("%w: %w", ErrFull, err)}
	}
	return &UnprocessedError{err}
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
