// SPDX-License-Identifier: Apache-2.0

package hbone

import (
	"net"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

const (
	// outSize is where DATA stops being added to the output buffer, outHeaders
	// where HEADERS have to wait. Other frames are few and small and always added.
	outSize    = 64 << 10
	outHeaders = 256 << 10

	// sendFrame caps our DATA frames even where the peer takes larger ones: a
	// stream's turn should not last longer.
	sendFrame = 32 << 10

	frameHeader = 9
)

// outBuffers holds buffers of outSize; larger ones are left to the collector.
var outBuffers = sync.Pool{New: func() any { b := make([]byte, 0, outSize); return &b }}

// outWriter is where the framer puts control frames.
type outWriter struct{ c *conn }

func (w outWriter) Write(p []byte) (int, error) {
	w.c.reserveOut(len(p))
	w.c.out = append(w.c.out, p...)
	return len(p), nil
}

func (c *conn) reserveOut(n int) {
	if c.out == nil && n <= outSize {
		c.out = *outBuffers.Get().(*[]byte)
	}
}

// signal wakes the write loop after something was added to out. The caller
// holds mu.
func (c *conn) signal() {
	if len(c.out) > 0 {
		c.work.Signal()
	}
}

// writeLoop writes what the others queued, until the connection ended and
// everything queued before is out.
func (c *conn) writeLoop() {
	defer close(c.writer)
	for {
		buf, finish := c.takeOut()
		if finish != nil {
			c.fail(finish, true)
			continue
		}
		if buf == nil {
			c.closeWrite()
			return
		}
		_, err := c.nc.Write(buf)
		if cap(buf) == outSize {
			buf = buf[:0]
			outBuffers.Put(&buf)
		}
		if err != nil {
			c.fail(err, false)
			c.nc.Close()
			return
		}
	}
}

// takeOut waits for output, and hands it over; nil after the end. It refills
// the buffer from the queued streams at once, so that their writers go on while
// the socket is written. Where the connection is to finish, it says so when
// nothing is left to write.
func (c *conn) takeOut() (buf []byte, finish error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.out) == 0 && !c.ended && c.finish == nil {
		c.work.Wait()
	}
	switch {
	case len(c.out) > 0:
		buf, c.out = c.out, nil
		c.pump()
		c.room.Broadcast()
	case !c.ended:
		finish = c.finish
	}
	return buf, finish
}

// endAfterOutput ends the connection once everything queued is written. The
// caller holds mu.
func (c *conn) endAfterOutput(why error) {
	c.finish = why
	c.work.Signal()
}

// closeWrite ends our direction of the socket and gives the peer a moment to
// end its own.
func (c *conn) closeWrite() {
	half, ok := c.nc.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		c.nc.Close()
		return
	}
	c.nc.SetReadDeadline(time.Now().Add(lingerTime))
}

var _ interface{ CloseWrite() error } = (*net.TCPConn)(nil)

// pump moves DATA of queued streams to the output buffer, one frame per stream
// in turn, as far as the buffer and the connection's window go. The caller
// holds mu.
func (c *conn) pump() {
	for c.sendWindow > 0 {
		s := c.sendq.head
		if s == nil {
			break
		}
		window := max(0, min(c.sendWindow, s.sendWindow)) // new SETTINGS may have made it negative
		n := int(min(int64(len(s.pending)), int64(c.peer.frameSize), sendFrame, window))
		if n > 0 && !c.appendData(s.id, s.pending[:n]) {
			break
		}
		c.sendq.pop()
		s.pending = s.pending[n:]
		s.sendWindow -= int64(n)
		c.sendWindow -= int64(n)
		switch {
		case len(s.pending) == 0:
			s.wrote.Broadcast()
		case s.sendWindow > 0:
			c.sendq.push(s)
		}
	}
	c.signal()
}

// appendData adds a DATA frame, unless the buffer is full. It builds the frame
// itself, because the framer would copy the payload once more.
func (c *conn) appendData(id uint32, p []byte) bool {
	n := len(p)
	if len(c.out)+frameHeader+n > outSize {
		return false
	}
	c.reserveOut(frameHeader + n)
	c.out = append(c.out,
		byte(n>>16), byte(n>>8), byte(n),
		byte(http2.FrameData), 0,
		byte(id>>24), byte(id>>16), byte(id>>8), byte(id))
	c.out = append(c.out, p...)
	return true
}

// appendHeaders adds a header list as HEADERS and as many CONTINUATION frames
// as the peer's frame size demands. The caller holds mu.
func (c *conn) appendHeaders(id uint32, end bool, fields []hpack.HeaderField) {
	c.hpackBuf.Reset()
	for _, f := range fields {
		c.hpackEnc.WriteField(f) // a bytes.Buffer takes everything
	}
	block := c.hpackBuf.Bytes()
	for first := true; first || len(block) > 0; first = false {
		n := min(len(block), c.peer.frameSize)
		piece, last := block[:n], n == len(block)
		block = block[n:]
		if first {
			c.wfr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: piece, EndStream: end, EndHeaders: last})
		} else {
			c.wfr.WriteContinuation(id, last, piece)
		}
	}
	c.signal()
}

// waitRoom holds back senders of HEADERS while the peer does not read, until
// they give up: whoever changes what gaveUp tells has to wake room. The caller
// holds mu; the connection may have ended in between.
func (c *conn) waitRoom(gaveUp func() bool) {
	for len(c.out) >= outHeaders && !c.ended && !gaveUp() {
		c.room.Wait()
	}
}

// reply runs write, which adds an answer that the peer provoked. A peer that
// provokes answers and does not read them is disconnected.
func (c *conn) reply(write func()) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return nil
	}
	if len(c.out) > maxQueued {
		return tooMuch("answers nobody reads")
	}
	write()
	c.signal()
	return nil
}

// sendQueue is a FIFO of streams, linked through them.
type sendQueue struct{ head, tail *Stream }

func (q *sendQueue) push(s *Stream) {
	s.queued, s.nextSend = true, nil
	if q.tail == nil {
		q.head = s
	} else {
		q.tail.nextSend = s
	}
	q.tail = s
}

func (q *sendQueue) pop() {
	s := q.head
	q.head = s.nextSend
	if q.head == nil {
		q.tail = nil
	}
	s.queued, s.nextSend = false, nil
}
