// SPDX-License-Identifier: Apache-2.0

package hbone

import (
	"io"

	"golang.org/x/net/http2"
)

// readData takes one DATA frame from the socket straight into its stream's
// buffer.
func (c *conn) readData(fh http2.FrameHeader) error {
	if fh.StreamID == 0 {
		return protocolError("DATA on stream 0")
	}
	if err := c.receiveWindow(fh.Length); err != nil {
		return err
	}
	size, padding, err := c.readPadLength(fh)
	if err != nil {
		return err
	}
	end := fh.Flags.Has(http2.FlagDataEndStream)
	if size == 0 && !end {
		if err := c.spend("empty DATA frames"); err != nil {
			return err
		}
	}
	s, err := c.dataStream(fh)
	if err != nil || s == nil {
		return c.discardThen(size+padding, err)
	}
	if err := c.fill(s, size); err != nil {
		return err
	}
	if err := c.discardThen(padding, nil); err != nil {
		return err
	}
	if overhead := int(fh.Length) - size; overhead > 0 {
		s.mu.Lock()
		credit := s.consumed(overhead)
		s.mu.Unlock()
		s.sendCredit(credit)
	}
	if end {
		s.peerEnded()
	}
	return nil
}

// receiveWindow counts a frame against the connection's window and gives it
// back in portions of half a window: what lies in a stream's buffer is bounded
// by that stream's window alone.
func (c *conn) receiveWindow(n uint32) error {
	c.recvLeft -= int64(n)
	if c.recvLeft < 0 {
		return &ConnError{Code: http2.ErrCodeFlowControl, Reason: "connection window exceeded"}
	}
	if c.recvOwed += n; c.recvOwed < c.cfg.ConnWindow/2 {
		return nil
	}
	credit := c.recvOwed
	c.recvOwed = 0
	c.recvLeft += int64(credit)
	return c.reply(func() { c.wfr.WriteWindowUpdate(0, credit) })
}

// readPadLength splits a DATA frame's length into content and padding; the
// length byte itself is consumed.
func (c *conn) readPadLength(fh http2.FrameHeader) (size, padding int, err error) {
	size = int(fh.Length)
	if !fh.Flags.Has(http2.FlagDataPadded) {
		return size, 0, nil
	}
	if size == 0 {
		return 0, 0, &ConnError{Code: http2.ErrCodeFrameSize, Reason: "padded DATA without a pad length"}
	}
	b, err := c.in.br.ReadByte()
	if err != nil {
		return 0, 0, c.lost(err)
	}
	size, padding = size-1, int(b)
	if padding > size {
		return 0, 0, protocolError("padding longer than its frame")
	}
	return size - padding, padding, nil
}

// dataStream finds the stream that may take the frame; nil if the frame is
// merely late.
func (c *conn) dataStream(fh http2.FrameHeader) (*Stream, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.streams[fh.StreamID]
	switch {
	case s == nil && c.late(fh.StreamID):
		return nil, nil
	case s == nil && c.idle(fh.StreamID):
		return nil, protocolError("DATA for idle stream %d", fh.StreamID)
	case s == nil:
		return nil, &ConnError{Code: http2.ErrCodeStreamClosed, Reason: "DATA for a closed stream"}
	case s.recvEnd:
		return nil, streamError(s.id, http2.ErrCodeStreamClosed, "DATA after END_STREAM")
	case !c.server && !s.gotFinal:
		return nil, streamError(s.id, http2.ErrCodeProtocol, "DATA before the response")
	}
	return s, s.receiveWindow(fh.Length)
}

// late reports whether frames on the stream were on their way when it was reset
// or given up. The caller holds mu.
func (c *conn) late(id uint32) bool {
	return c.ended || c.resets.has(id) || (c.goneAway && id > c.lastServed)
}

func (s *Stream) receiveWindow(n uint32) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.recvLeft -= int64(n)
	if s.recvLeft < 0 {
		return streamError(s.id, http2.ErrCodeFlowControl, "stream window exceeded")
	}
	return nil
}

// fill reads n bytes into the stream's buffer, or drops them if the application
// gave the stream up meanwhile.
func (c *conn) fill(s *Stream, n int) error {
	for n > 0 {
		s.mu.Lock()
		space := s.buf.reserve(n)
		s.mu.Unlock()
		if space == nil {
			return c.discardThen(n, nil)
		}
		m, err := io.ReadFull(c.in.br, space)
		s.mu.Lock()
		s.buf.commit(m)
		s.readable.Signal()
		s.mu.Unlock()
		if err != nil {
			return c.lost(err)
		}
		n -= m
	}
	return nil
}

// discardThen skips n bytes and returns err.
func (c *conn) discardThen(n int, err error) error {
	if _, failed := c.in.br.Discard(n); failed != nil {
		return c.lost(failed)
	}
	return err
}

// lost notes that the input ended in the middle of a frame.
func (c *conn) lost(err error) error {
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	c.in.err = err
	return err
}
