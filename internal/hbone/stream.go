// SPDX-License-Identifier: Apache-2.0

package hbone

import (
	"context"
	"io"
	"sync"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// Stream is one end of a tunnel. Its directions are independent: either can be
// closed while the other goes on. One goroutine may read while another writes;
// Reset and Close may be called at any time and wake both.
type Stream struct {
	c  *conn
	id uint32

	// What the peer's final response said; set before a client's Connect returns.
	status int
	header []hpack.HeaderField

	done     chan struct{}
	answered chan struct{}      // client: the final response is there
	cancel   context.CancelFunc // server: ends the request's context

	writing sync.Mutex // held through Write and CloseWrite, so that they don't mix

	// Guarded by c.mu.
	wrote      sync.Cond // pending was sent, or the stream ended
	pending    []byte    // of the Write in progress: what is not in c.out yet
	queued     bool
	nextSend   *Stream
	sendWindow int64
	sentEnd    bool
	recvEnd    bool
	responded  bool  // server: the final response was sent
	err        error // why the stream ended early

	gotFinal bool // client, read loop only
	early    bool // client: asked for before the server's limits were known

	mu       sync.Mutex
	readable sync.Cond
	buf      recvBuffer
	recvLeft int64 // what the peer may still send
	owed     int64 // read by the application, not yet given back to the peer
	readErr  error // what Read returns when buf is empty
}

// newStream is a stream that is not yet in the connection's map. The caller
// holds c.mu.
func (c *conn) newStream(id uint32) *Stream {
	s := &Stream{
		c:          c,
		id:         id,
		done:       make(chan struct{}),
		sendWindow: c.peer.initialWindow,
		recvLeft:   int64(c.cfg.StreamWindow),
	}
	if !c.ackedOurs {
		// The peer may not know our window yet and use the protocol's.
		s.recvLeft = max(s.recvLeft, initialWindow)
	}
	s.wrote.L = &c.mu
	s.readable.L = &s.mu
	return s
}

// Status is the server's response code of a stream from Connect.
func (s *Stream) Status() int { return s.status }

// Header is the server's response header of a stream from Connect, without
// pseudo-header fields.
func (s *Stream) Header() []hpack.HeaderField { return s.header }

// Done is closed when both directions have ended or the stream was reset;
// received bytes may still wait to be read. It lets a proxy learn of a reset
// while it neither reads nor writes the stream.
func (s *Stream) Done() <-chan struct{} { return s.done }

// Err is nil before Done is closed, and after a stream whose directions both
// ended in order. Otherwise it tells why the stream ended, as Read and Write do.
func (s *Stream) Err() error {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	return s.err
}

// Read waits for bytes and returns what is there. After the peer's END_STREAM
// it returns io.EOF, after a reset *ResetError; bytes received before the
// peer's reset are returned first.
func (s *Stream) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	s.mu.Lock()
	if err := s.awaitBytes(); err != nil {
		s.mu.Unlock()
		return 0, err
	}
	n := s.buf.read(p)
	credit := s.consumed(n)
	s.mu.Unlock()
	s.sendCredit(credit)
	return n, nil
}

// awaitBytes returns nil when there is something to read, or why there will be
// nothing any more. The caller holds mu.
func (s *Stream) awaitBytes() error {
	for s.buf.size == 0 && s.readErr == nil {
		s.readable.Wait()
	}
	if s.buf.size == 0 {
		return s.readErr
	}
	return nil
}

// WriteTo writes what arrives to w until the peer's END_STREAM. With it,
// io.Copy needs no buffer of its own, which an idle tunnel would hold for as
// long as it is idle.
func (s *Stream) WriteTo(w io.Writer) (int64, error) {
	var total int64
	for {
		s.mu.Lock()
		if err := s.awaitBytes(); err != nil {
			s.mu.Unlock()
			if err == io.EOF {
				err = nil
			}
			return total, err
		}
		k := s.buf.take()
		s.mu.Unlock()
		n, err := w.Write(k.b[k.r:k.w])
		k.free()
		total += int64(n)
		if err != nil {
			return total, err
		}
		s.mu.Lock()
		credit := s.consumed(n)
		s.mu.Unlock()
		s.sendCredit(credit)
	}
}

// consumed counts bytes that need no more room and returns the credit that is
// due to the peer, in portions of half a window. The caller holds mu.
func (s *Stream) consumed(n int) int64 {
	s.owed += int64(n)
	if s.owed < int64(s.c.cfg.StreamWindow)/2 || s.readErr != nil {
		return 0
	}
	credit := s.owed
	s.owed = 0
	s.recvLeft += credit
	return credit
}

func (s *Stream) sendCredit(n int64) {
	if n <= 0 {
		return
	}
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.streams[s.id] == s && !s.recvEnd {
		c.wfr.WriteWindowUpdate(s.id, uint32(n))
		c.signal()
	}
}

// Write sends p. It returns when all of p is in the connection's output buffer,
// which the windows of stream and connection may hold up; p is not kept.
func (s *Stream) Write(p []byte) (int, error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := s.writable(); err != nil || len(p) == 0 {
		return 0, err
	}
	s.pending = p
	if s.sendWindow > 0 {
		c.sendq.push(s)
		c.pump()
	}
	for len(s.pending) > 0 && s.err == nil {
		s.wrote.Wait()
	}
	n := len(p) - len(s.pending)
	s.pending = nil
	if n < len(p) {
		return n, s.err
	}
	return n, nil
}

// writable tells why nothing can be sent any more. The caller holds c.mu.
func (s *Stream) writable() error {
	if s.err != nil {
		return s.err
	}
	if s.sentEnd {
		return errWriteClosed
	}
	return nil
}

// CloseWrite ends our direction with END_STREAM, as FIN does. The peer reads
// io.EOF after everything written before. Doing it again does nothing.
func (s *Stream) CloseWrite() error {
	s.writing.Lock()
	defer s.writing.Unlock()
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	if s.err != nil {
		return s.err
	}
	if s.sentEnd {
		return nil
	}
	s.c.wfr.WriteData(s.id, true, nil)
	s.c.signal()
	s.endSend()
	return nil
}

// endSend notes that END_STREAM is queued. The caller holds c.mu.
func (s *Stream) endSend() {
	s.sentEnd = true
	if s.recvEnd {
		s.finish()
	}
}

// finish ends a stream whose directions have both ended. The caller holds c.mu.
func (s *Stream) finish() {
	s.c.remove(s)
	close(s.done)
}

// Reset ends both directions at once with RST_STREAM, and drops what was not
// read. Where a TCP connection's reset is passed on, code is CONNECT_ERROR.
// After the stream has ended it only drops what was not read.
func (s *Stream) Reset(code http2.ErrCode) {
	s.abort(&ResetError{Code: code}, func() { s.c.wfr.WriteRSTStream(s.id, code) })
	s.mu.Lock()
	s.buf.drop()
	s.mu.Unlock()
}

// Close is for whoever is done with the stream. It does nothing to one whose
// directions have both ended; any other is reset, with CANCEL, or with NO_ERROR
// by a server that had ended its direction (RFC 9113 section 8.1).
func (s *Stream) Close() {
	code := http2.ErrCodeCancel
	s.c.mu.Lock()
	if s.c.server && s.sentEnd {
		code = http2.ErrCodeNo
	}
	s.c.mu.Unlock()
	s.Reset(code)
}

// abort ends the stream early because of err and runs tell, under c.mu, to let
// the peer know. It does nothing to a stream that has ended.
func (s *Stream) abort(err error, tell func()) {
	c := s.c
	c.mu.Lock()
	if c.streams[s.id] != s {
		c.mu.Unlock()
		return
	}
	if tell != nil {
		tell()
		c.signal()
		c.resets.add(s.id)
	}
	c.remove(s)
	if s.queued {
		c.sendq.drop(s)
	}
	s.detach(err)
	c.mu.Unlock()
	s.stopReading(err)
}

// detach ends the sending half because of err. The caller holds c.mu and has
// taken the stream out of the map.
func (s *Stream) detach(err error) {
	s.err = err
	s.wrote.Broadcast()
	s.c.room.Broadcast()
	close(s.done)
}

// stopReading makes Read return err when it has delivered what is there, unless
// the peer's direction had ended before.
func (s *Stream) stopReading(err error) {
	s.mu.Lock()
	if s.readErr == nil {
		s.readErr = err
	}
	s.readable.Broadcast()
	s.mu.Unlock()
	if s.cancel != nil {
		s.cancel()
	}
}

// peerEnded notes the peer's END_STREAM.
func (s *Stream) peerEnded() {
	c := s.c
	c.mu.Lock()
	if c.streams[s.id] == s && !s.recvEnd {
		s.recvEnd = true
		if s.sentEnd {
			s.finish()
		}
	}
	c.mu.Unlock()
	s.mu.Lock()
	if s.readErr == nil {
		s.readErr = io.EOF
	}
	s.readable.Broadcast()
	s.mu.Unlock()
}

func (q *sendQueue) drop(s *Stream) {
	var prev *Stream
	for x := q.head; x != s; x = x.nextSend {
		prev = x
	}
	if prev == nil {
		q.pop()
		return
	}
	prev.nextSend = s.nextSend
	if q.tail == s {
		q.tail = prev
	}
	s.queued, s.nextSend = false, nil
}
