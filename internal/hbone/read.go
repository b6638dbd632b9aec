// SPDX-License-Identifier: Apache-2.0

package hbone

import (
	"bufio"
	"errors"
	"io"
	"time"

	"golang.org/x/net/http2"
)

// frameSource is what the framer reads from. Every Read fills p, so that one
// Read is one frame header or one payload, and can be counted: the framer
// follows CONTINUATION frames without a bound of its own if they are empty.
type frameSource struct {
	br   *bufio.Reader
	left int   // Reads until the block counts as endless
	err  error // why the last Read failed: tells a short frame from a lost connection
}

func (f *frameSource) Read(p []byte) (int, error) {
	if f.left--; f.left < 0 {
		f.err = tooMuch("header block in too many pieces")
		return 0, f.err
	}
	n, err := io.ReadFull(f.br, p)
	f.err = err
	return n, err
}

// readLoop takes frames until the connection ends, and returns why.
func (c *conn) readLoop() error {
	if c.server {
		if err := c.readPreface(); err != nil {
			return err
		}
	}
	for {
		c.in.left = headerReads
		c.in.err = nil
		err := c.readFrame()
		if err == nil {
			continue
		}
		if err = c.onFrameError(err); err != nil {
			return err
		}
	}
}

func (c *conn) readPreface() error {
	buf := make([]byte, len(http2.ClientPreface))
	if _, err := io.ReadFull(c.in.br, buf); err != nil {
		return err
	}
	if string(buf) != http2.ClientPreface {
		return protocolError("no HTTP/2 preface")
	}
	return nil
}

func (c *conn) readFrame() error {
	fh, err := c.fr.ReadFrameHeader()
	if err != nil {
		return err
	}
	c.heard.Store(true)
	if !c.sawSettings && (fh.Type != http2.FrameSettings || fh.Flags.Has(http2.FlagSettingsAck)) {
		return protocolError("first frame is %s, not SETTINGS", fh.Type)
	}
	if fh.Type == http2.FrameData {
		return c.readData(fh)
	}
	f, err := c.fr.ReadFrameForHeader(fh)
	if err != nil {
		return err
	}
	return c.onFrame(f)
}

func (c *conn) onFrame(f http2.Frame) error {
	switch f := f.(type) {
	case *http2.MetaHeadersFrame:
		return c.onHeaders(f)
	case *http2.SettingsFrame:
		return c.onSettings(f)
	case *http2.WindowUpdateFrame:
		return c.onWindowUpdate(f)
	case *http2.RSTStreamFrame:
		return c.onReset(f)
	case *http2.PingFrame:
		return c.onPing(f)
	case *http2.GoAwayFrame:
		if c.onGoAway != nil {
			c.onGoAway(f)
		}
		return c.spend("GOAWAY frames")
	case *http2.PushPromiseFrame:
		return protocolError("PUSH_PROMISE, which is switched off")
	default: // PRIORITY and what we don't know (RFC 9113 section 5.5)
		return c.spend(f.Header().Type.String() + " frames")
	}
}

// onFrameError resets the stream that an error belongs to and returns nil, or
// returns why the connection ends.
func (c *conn) onFrameError(err error) error {
	var se http2.StreamError
	var code http2.ConnectionError
	switch {
	case errors.As(err, &se):
		return c.onStreamError(se)
	case errors.As(err, &code):
		ce := &ConnError{Code: http2.ErrCode(code)}
		if detail := c.fr.ErrorDetail(); detail != nil {
			ce.Reason = detail.Error()
		}
		return ce
	case errors.Is(err, http2.ErrFrameTooLarge):
		return &ConnError{Code: http2.ErrCodeFrameSize, Reason: "frame too large"}
	case errors.Is(err, io.ErrUnexpectedEOF) && c.in.err == nil:
		return &ConnError{Code: http2.ErrCodeFrameSize, Reason: "frame too short for its fields"}
	}
	return err
}

func (c *conn) onStreamError(se http2.StreamError) error {
	c.noteID(se.StreamID)
	if s := c.lookup(se.StreamID); s != nil {
		// Provoking our resets is as cheap for the peer as resetting by itself.
		if err := c.spend("stream errors"); err != nil {
			return err
		}
		s.abort(&ResetError{Code: se.Code}, func() { c.wfr.WriteRSTStream(se.StreamID, se.Code) })
		return nil
	}
	return c.refuse(se.StreamID, se.Code)
}

// refuse resets a stream that we never had, or have no more.
func (c *conn) refuse(id uint32, code http2.ErrCode) error {
	if err := c.spend("streams to refuse"); err != nil {
		return err
	}
	return c.reply(func() {
		c.wfr.WriteRSTStream(id, code)
		c.resets.add(id)
	})
}

// noteID marks the client's stream ids up to id as used.
func (c *conn) noteID(id uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.server && id%2 == 1 {
		c.maxPeerID = max(c.maxPeerID, id)
	}
}

// idle reports whether nobody has opened the stream yet. The caller holds mu.
func (c *conn) idle(id uint32) bool {
	if c.server {
		return id%2 == 0 || id > c.maxPeerID
	}
	return id%2 == 0 || id >= c.nextID
}

func (c *conn) onWindowUpdate(f *http2.WindowUpdateFrame) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	inc := int64(f.Increment)
	if f.StreamID == 0 {
		if c.sendWindow+inc > maxWindow {
			return &ConnError{Code: http2.ErrCodeFlowControl, Reason: "connection window too large"}
		}
		c.sendWindow += inc
		c.pump()
		return nil
	}
	s := c.streams[f.StreamID]
	if s == nil {
		if c.idle(f.StreamID) {
			return protocolError("WINDOW_UPDATE for idle stream %d", f.StreamID)
		}
		return nil
	}
	if s.sendWindow+inc > maxWindow {
		return streamError(s.id, http2.ErrCodeFlowControl, "stream window too large")
	}
	c.widen(s, inc)
	c.pump()
	return nil
}

// widen changes a stream's send window and queues it when it can send again.
// The caller holds mu.
func (c *conn) widen(s *Stream, delta int64) {
	s.sendWindow += delta
	if s.sendWindow > 0 && len(s.pending) > 0 && !s.queued {
		c.sendq.push(s)
	}
}

func (c *conn) onReset(f *http2.RSTStreamFrame) error {
	c.mu.Lock()
	s, idle := c.streams[f.StreamID], c.idle(f.StreamID)
	premature := s != nil && c.server && !s.responded
	c.mu.Unlock()
	switch {
	case idle:
		return protocolError("RST_STREAM for idle stream %d", f.StreamID)
	case s == nil:
		return c.spend("RST_STREAM frames")
	}
	s.abort(&ResetError{Code: f.ErrCode, Remote: true}, nil)
	if premature && !c.resetRate.take(time.Now()) {
		return tooMuch("too many streams opened and reset at once")
	}
	return nil
}

func (c *conn) onPing(f *http2.PingFrame) error {
	if f.IsAck() {
		if c.onPingAck != nil {
			c.onPingAck(f.Data)
		}
		return nil
	}
	if err := c.spend("PING frames"); err != nil {
		return err
	}
	return c.reply(func() { c.wfr.WritePing(true, f.Data) })
}
