// SPDX-License-Identifier: Apache-2.0

package netio

import (
	"io"
	"sync"
)

// Pair makes an in-process connection and returns its two ends. It holds no
// bytes of its own: a Write returns when the peer's Read has copied everything,
// or its WriteTo has passed it on, so a slow reader holds the writer back and a
// connection costs no memory while nothing moves.
func Pair() (Conn, Conn) {
	ab, ba := newHalf(), newHalf()
	return &end{in: ba, out: ab}, &end{in: ab, out: ba}
}

// end is one side of a Pair.
type end struct{ in, out *half }

func (e *end) Read(p []byte) (int, error)  { return e.in.read(p) }
func (e *end) Write(p []byte) (int, error) { return e.out.write(p) }

// WriteTo passes the peer's writes on without copying them.
func (e *end) WriteTo(w io.Writer) (int64, error) { return e.in.writeTo(w) }

func (e *end) CloseWrite() error {
	e.out.end(io.EOF, io.ErrClosedPipe)
	return nil
}

func (e *end) Reset() error {
	e.out.end(ErrReset, io.ErrClosedPipe)
	e.in.end(io.ErrClosedPipe, ErrReset)
	return nil
}

// Close ends the outgoing direction and makes further writes of the peer fail,
// as closing a socket does.
func (e *end) Close() error {
	e.out.end(io.EOF, io.ErrClosedPipe)
	e.in.end(io.ErrClosedPipe, ErrReset)
	return nil
}

// half carries bytes one way.
type half struct {
	writing sync.Mutex // one Write at a time
	chunks  chan []byte
	taken   chan int
	mu      sync.Mutex
	readErr error // what Read returns once done is closed
	wrErr   error // what Write returns once done is closed
	done    chan struct{}
}

func newHalf() *half {
	return &half{chunks: make(chan []byte), taken: make(chan int), done: make(chan struct{})}
}

// end closes the direction; the first reason stays, except that a reset still
// overtakes an end that the reader has not seen.
func (h *half) end(readErr, writeErr error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.readErr == nil {
		h.readErr, h.wrErr = readErr, writeErr
		close(h.done)
		return
	}
	if readErr == ErrReset {
		h.readErr = readErr
	}
}

func (h *half) errs() (read, write error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.readErr, h.wrErr
}

// next waits for the rest of a write; whoever gets it says in taken how much of
// it was used.
func (h *half) next() ([]byte, error) {
	select {
	case <-h.done:
	default:
		select {
		case chunk := <-h.chunks:
			return chunk, nil
		case <-h.done:
		}
	}
	err, _ := h.errs()
	return nil, err
}

func (h *half) read(p []byte) (int, error) {
	chunk, err := h.next()
	if err != nil {
		return 0, err
	}
	n := copy(p, chunk)
	h.taken <- n
	return n, nil
}

func (h *half) writeTo(w io.Writer) (int64, error) {
	var total int64
	for {
		chunk, err := h.next()
		if err == io.EOF {
			return total, nil
		}
		if err != nil {
			return total, err
		}
		n, err := w.Write(chunk)
		h.taken <- n
		total += int64(n)
		if err != nil {
			return total, err
		}
	}
}

func (h *half) write(p []byte) (int, error) {
	h.writing.Lock()
	defer h.writing.Unlock()
	written := 0
	for len(p) > 0 {
		select {
		case <-h.done:
			_, err := h.errs()
			return written, err
		default:
		}
		select {
		case h.chunks <- p:
			n := <-h.taken
			p = p[n:]
			written += n
		case <-h.done:
			_, err := h.errs()
			return written, err
		}
	}
	return written, nil
}
