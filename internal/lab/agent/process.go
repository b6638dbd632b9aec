// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// lateOutput is how long an ended command's output stays open while nothing comes: another process may hold it.
	lateOutput = 2 * time.Second
	// hangUp is the time between SIGHUP and SIGKILL for a command whose host side went away.
	hangUp = 2 * time.Second
)

// process is a running command with the guest's ends of its pipes.
type process struct {
	pid            int
	exited         <-chan syscall.WaitStatus
	gone           atomic.Bool // the command itself has ended and was reaped
	stdin          *inputBuffer
	in             *os.File
	stdout, stderr *os.File
}

func (s *Server) start(r request) (*process, error) {
	env, dir := r.Env, r.Dir
	if env == nil {
		env = s.Env
	}
	if dir == "" {
		dir = "/"
	}
	path, err := lookPath(r.Path, dir, env)
	if err != nil {
		return nil, err
	}
	pipes, err := openPipes()
	if err != nil {
		return nil, err
	}
	defer pipes.closeChildEnds()
	attr := &syscall.ProcAttr{Dir: dir, Env: env, Files: pipes.childFds(), Sys: &syscall.SysProcAttr{Setpgid: true}}
	pid, exited, err := s.Spawn.Spawn(path, append([]string{r.Path}, r.Args...), attr)
	if err != nil {
		pipes.closeOurEnds()
		return nil, fmt.Errorf("starting %s in %s: %w", path, dir, err)
	}
	return &process{
		pid: pid, exited: exited, stdin: newInputBuffer(),
		in: pipes.ours[0], stdout: pipes.ours[1], stderr: pipes.ours[2],
	}, nil
}

// listen takes what the host sends until the stream ends, which ends the command too.
func (p *process) listen(conn io.ReadCloser, out *frameWriter) {
	go p.feed(out)
	defer p.stdin.close()
	buf := make([]byte, maxFrame)
	for {
		t, payload, err := readFrame(conn, buf)
		switch {
		case err != nil || (t != frameStdin && t != frameSignal):
			conn.Close() // ends a write of output that waits for room
			p.signal(syscall.SIGHUP)
			time.AfterFunc(hangUp, func() { p.signal(syscall.SIGKILL) })
			return
		case t == frameSignal && len(payload) == 1:
			p.signal(syscall.Signal(payload[0]))
		case t == frameStdin && len(payload) == 0:
			p.stdin.close()
		case t == frameStdin:
			p.stdin.add(payload)
		}
	}
}

// feed writes input to the command and tells the host what went. Input that the command no longer reads is dropped, so
// that the host is not kept waiting.
func (p *process) feed(out *frameWriter) {
	defer p.in.Close()
	var broken error
	for {
		chunk := p.stdin.next()
		if chunk == nil {
			return
		}
		if broken == nil {
			_, broken = p.in.Write(chunk)
		}
		if out.writeNumber(frameTaken, uint32(len(chunk))) != nil {
			return
		}
	}
}

// signal reaches the whole group. Nothing is sent once the command has ended: the number may be another's by then.
func (p *process) signal(n syscall.Signal) {
	if !p.gone.Load() {
		_ = syscall.Kill(-p.pid, n) // it may have ended just now
	}
}

// relay passes output on until the command has ended and its output with it, and returns its exit code. It is not ok
// when the host's side is gone.
func (p *process) relay(conn io.Closer, out *frameWriter) (code int, ok bool) {
	var copies sync.WaitGroup
	var lost atomic.Bool
	pass := func(from *os.File, as frameType) {
		if p.copyOutput(from, as, out) != nil {
			lost.Store(true)
			conn.Close() // listen sees it and ends the command
		}
	}
	copies.Go(func() { pass(p.stdout, frameStdout) })
	copies.Go(func() { pass(p.stderr, frameStderr) })
	status := <-p.exited
	p.gone.Store(true)
	for _, f := range []*os.File{p.stdout, p.stderr} {
		_ = f.SetReadDeadline(time.Now().Add(lateOutput)) // wakes a copy that waits for output that may never come
	}
	copies.Wait()
	p.stdin.close()
	p.in.Close() // ends a write of input that nobody will read
	if status.Signaled() {
		return 128 + int(status.Signal()), !lost.Load()
	}
	return status.ExitStatus(), !lost.Load()
}

// copyOutput returns an error only if the host can't be reached.
func (p *process) copyOutput(from *os.File, as frameType, out *frameWriter) error {
	defer from.Close()
	buf := make([]byte, chunkSize)
	for {
		if p.gone.Load() {
			_ = from.SetReadDeadline(time.Now().Add(lateOutput)) // a pipe takes deadlines
		}
		n, err := from.Read(buf)
		if n > 0 {
			if err := out.write(as, buf[:n]); err != nil {
				return err
			}
		}
		if err != nil {
			return nil
		}
	}
}

// pipes are a command's three streams.
type pipes struct {
	ours, child [3]*os.File
}

func openPipes() (*pipes, error) {
	p := &pipes{}
	for i := range p.ours {
		r, w, err := os.Pipe()
		if err != nil {
			p.closeOurEnds()
			p.closeChildEnds()
			return nil, fmt.Errorf("making a pipe: %w", err)
		}
		p.ours[i], p.child[i] = r, w
		if i == 0 {
			p.ours[i], p.child[i] = w, r
		}
	}
	return p, nil
}

func (p *pipes) childFds() []uintptr {
	fds := make([]uintptr, len(p.child))
	for i, f := range p.child {
		fds[i] = f.Fd() // makes the pipe end blocking, as commands expect it
	}
	return fds
}

func (p *pipes) closeChildEnds() { closeAll(p.child[:]) }
func (p *pipes) closeOurEnds()   { closeAll(p.ours[:]) }

func closeAll(files []*os.File) {
	for _, f := range files {
		if f != nil {
			f.Close()
		}
	}
}

// inputBuffer holds input on its way to a command. The host's window bounds it.
type inputBuffer struct {
	mu      sync.Mutex
	change  *sync.Cond
	pending bytes.Buffer
	closed  bool
}

func newInputBuffer() *inputBuffer {
	b := &inputBuffer{}
	b.change = sync.NewCond(&b.mu)
	return b
}

func (b *inputBuffer) add(p []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.pending.Write(p)
	b.change.Signal()
}

// close ends the input after what is already there.
func (b *inputBuffer) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	b.change.Signal()
}

// next waits for input and returns it, or nil at its end.
func (b *inputBuffer) next() []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.pending.Len() == 0 && !b.closed {
		b.change.Wait()
	}
	if b.pending.Len() == 0 {
		return nil
	}
	chunk := bytes.Clone(b.pending.Bytes())
	b.pending.Reset()
	return chunk
}
