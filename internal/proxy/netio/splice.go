// SPDX-License-Identifier: Apache-2.0

package netio

import (
	"fmt"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

const (
	// pipeSize is how much one splice may move. The kernel's default of 64 KiB
	// would cost four times as many system calls.
	pipeSize = 256 << 10

	// idlePipes is how many pipes are kept for the next connection with bytes to
	// move; each takes two file descriptors.
	idlePipes = 64
)

// pipe is where bytes are between two sockets.
type pipe struct{ r, w int }

func newPipe() (*pipe, error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return nil, fmt.Errorf("making a pipe: %w", err)
	}
	// A user with many pipes may not be given the larger size; the default works.
	_, _ = unix.FcntlInt(uintptr(fds[1]), unix.F_SETPIPE_SZ, pipeSize)
	return &pipe{r: fds[0], w: fds[1]}, nil
}

func (p *pipe) close() {
	unix.Close(p.r)
	unix.Close(p.w)
}

// pipes lends out empty pipes.
type pipes struct {
	mu   sync.Mutex
	free []*pipe
}

func (s *pipes) get() (*pipe, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.free); n > 0 {
		p := s.free[n-1]
		s.free = s.free[:n-1]
		return p, nil
	}
	return newPipe()
}

// put takes back a pipe, which must be empty.
func (s *pipes) put(p *pipe) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.free) == idlePipes {
		p.close()
		return
	}
	s.free = append(s.free, p)
}

// splice lets the kernel move the bytes from socket to socket. It holds a pipe
// only while there are bytes to move: net.TCPConn's own way to splice holds one
// as long as it copies, and an idle connection would cost four file descriptors
// more. Where none is to be had, the bytes are copied.
func (p *pump) splice(dst, src TCP, n *atomic.Int64) (readErr, writeErr error) {
	from, err := src.SyscallConn()
	if err != nil {
		return err, nil
	}
	to, err := dst.SyscallConn()
	if err != nil {
		return nil, err
	}
	s := splicer{pipes: &p.buffers.pipes}
	for {
		if err := from.Read(s.fill); err != nil {
			return err, nil
		}
		switch {
		case s.noPipe != nil:
			return p.fromSocket(&counted{dst: dst, n: n}, src)
		case s.err != nil || s.n == 0:
			s.pipes.put(s.pipe)
			return s.err, nil
		}
		for s.n > 0 {
			left := s.n
			err := to.Write(s.drain)
			if err == nil {
				err = s.err
			}
			if err != nil {
				s.pipe.close() // it is not empty
				return nil, err
			}
			n.Add(int64(left - s.n))
		}
		s.pipes.put(s.pipe)
	}
}

// splicer is one step from socket to pipe, or from pipe to socket.
type splicer struct {
	pipes  *pipes
	pipe   *pipe
	n      int // bytes in the pipe
	err    error
	noPipe error
}

// fill reports false where there is nothing to read yet; it then holds nothing.
func (s *splicer) fill(fd uintptr) bool {
	if s.pipe, s.noPipe = s.pipes.get(); s.noPipe != nil {
		return true
	}
	var again bool
	if s.n, again, s.err = spliceOnce(int(fd), s.pipe.w, pipeSize); again {
		s.pipes.put(s.pipe)
		return false
	}
	return true
}

// drain reports false where the socket takes nothing yet.
func (s *splicer) drain(fd uintptr) bool {
	moved, again, err := spliceOnce(s.pipe.r, int(fd), s.n)
	s.n, s.err = s.n-moved, err
	return !again
}

// spliceOnce moves up to limit bytes; again says that there is nothing to move,
// or no room for it, yet.
func spliceOnce(from, to, limit int) (n int, again bool, err error) {
	for {
		k, err := unix.Splice(from, nil, to, nil, limit, unix.SPLICE_F_MOVE|unix.SPLICE_F_NONBLOCK)
		switch err {
		case nil:
			return int(k), false, nil
		case unix.EINTR:
			continue
		case unix.EAGAIN:
			return 0, true, nil
		}
		return 0, false, err
	}
}
