// SPDX-License-Identifier: Apache-2.0

package netio

import (
	"io"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// bufferSize is how much one direction of one pump holds between reading and
// writing. It is also four TLS records, so a tunnel's stream fills whole ones.
const bufferSize = 64 << 10

// Buffers lends out the pump's buffers, so that idle and finished connections
// hold none. The zero value is ready to use.
type Buffers struct {
	pool  sync.Pool
	pipes pipes
}

func (b *Buffers) get() *[]byte {
	if buf, ok := b.pool.Get().(*[]byte); ok {
		return buf
	}
	buf := make([]byte, bufferSize)
	return &buf
}

func (b *Buffers) put(buf *[]byte) { b.pool.Put(buf) }

// Traffic counts what one pump moved; it may be read while the pump runs.
type Traffic struct {
	Up, Down atomic.Int64 // bytes from downstream to upstream, and back
}

// Result says how a pump ended.
type Result struct {
	// DownstreamErr and UpstreamErr are nil where that side ended in order, and
	// otherwise what reading from or writing to it returned first.
	DownstreamErr, UpstreamErr error
}

// Pump joins two streams until both directions have ended. The end of one
// direction is passed on as an end, and the other goes on. An error on one side
// resets the other. It closes both streams.
func Pump(downstream, upstream Conn, buffers *Buffers, traffic *Traffic) Result {
	p := &pump{buffers: buffers}
	var wg sync.WaitGroup
	wg.Go(func() { p.copy(upstream, downstream, &traffic.Up, false) })
	p.copy(downstream, upstream, &traffic.Down, true)
	wg.Wait()
	downstream.Close()
	upstream.Close()
	return p.result
}

type pump struct {
	buffers *Buffers
	mu      sync.Mutex
	failed  bool
	result  Result
}

// copy moves one direction; srcUp says that src is the upstream.
func (p *pump) copy(dst, src Conn, n *atomic.Int64, srcUp bool) {
	readErr, writeErr := p.move(dst, src, n)
	switch {
	case readErr != nil:
		p.fail(readErr, srcUp, src, dst)
	case writeErr != nil:
		p.fail(writeErr, !srcUp, dst, src)
	default:
		// Where this fails the stream is already broken, and the other
		// direction finds out how.
		dst.CloseWrite()
	}
}

// fail notes the first error and resets both streams: the one that broke is
// beyond use, the other is to see that.
func (p *pump) fail(err error, upstream bool, broken, other Conn) {
	if !p.note(err, upstream) {
		return
	}
	other.Reset()
	broken.Reset()
}

// note keeps the first error; later ones are its echo.
func (p *pump) note(err error, upstream bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.failed {
		return false
	}
	p.failed = true
	if upstream {
		p.result.UpstreamErr = err
	} else {
		p.result.DownstreamErr = err
	}
	return true
}

// move copies until src ends or one side fails. Whatever the kinds of the two
// are, a direction in which nothing moves holds no buffer.
func (p *pump) move(dst, src Conn, n *atomic.Int64) (readErr, writeErr error) {
	dst, src = unwrap(dst), unwrap(src)
	to, from := counted{dst: dst, n: n}, src
	switch s := from.(type) {
	case TCP:
		if d, ok := dst.(TCP); ok {
			return p.splice(d, s, n)
		}
		return p.fromSocket(&to, s)
	case io.WriterTo:
		_, err := s.WriteTo(&to)
		if to.err != nil {
			return nil, to.err
		}
		return err, nil
	}
	return p.fromReader(&to, src)
}

// counted is a writer that counts, and remembers its first error, so that it is
// known which side of a copy failed.
type counted struct {
	dst io.Writer
	n   *atomic.Int64
	err error
}

func (c *counted) Write(b []byte) (int, error) {
	k, err := c.dst.Write(b)
	c.n.Add(int64(k))
	if err != nil && c.err == nil {
		c.err = err
	}
	return k, err
}

// fromReader copies from a stream that can only be read into a buffer.
func (p *pump) fromReader(to *counted, src io.Reader) (readErr, writeErr error) {
	buf := p.buffers.get()
	defer p.buffers.put(buf)
	for {
		k, err := src.Read(*buf)
		if k > 0 {
			if _, err := to.Write((*buf)[:k]); err != nil {
				return nil, err
			}
		}
		if err == io.EOF {
			return nil, nil
		}
		if err != nil {
			return err, nil
		}
	}
}

// fromSocket copies from a socket, with a buffer only while there are bytes.
func (p *pump) fromSocket(to *counted, src TCP) (readErr, writeErr error) {
	raw, err := src.SyscallConn()
	if err != nil {
		return err, nil
	}
	r := socketReader{buffers: p.buffers}
	for {
		if err := raw.Read(r.try); err != nil {
			return err, nil
		}
		if r.err != nil || r.n == 0 {
			p.buffers.put(r.buf)
			return r.err, nil
		}
		_, err := to.Write((*r.buf)[:r.n])
		p.buffers.put(r.buf)
		if err != nil {
			return nil, err
		}
	}
}

// socketReader reads once from a socket into a buffer of the pool.
type socketReader struct {
	buffers *Buffers
	buf     *[]byte
	n       int
	err     error
}

// try reports false where there is nothing to read yet; it then holds nothing.
func (r *socketReader) try(fd uintptr) bool {
	r.buf = r.buffers.get()
	for {
		r.n, r.err = unix.Read(int(fd), *r.buf)
		switch r.err {
		case unix.EINTR:
			continue
		case unix.EAGAIN:
			r.buffers.put(r.buf)
			return false
		}
		return true
	}
}

// Wrapper is a Conn that only adds something to another's end.
type Wrapper interface{ Unwrap() Conn }

func unwrap(c Conn) Conn {
	if w, ok := c.(Wrapper); ok {
		return w.Unwrap()
	}
	return c
}
