// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"time"
)

// Cmd is a command to run on the far side.
type Cmd struct {
	Path string   // looked up in the command's PATH when it has no slash
	Args []string // without the command's own name
	Env  []string // NAME=value; nil means the far side's default environment
	Dir  string   // empty means /

	Stdin  io.Reader // nil means empty input
	Stdout io.Writer // nil discards
	Stderr io.Writer // nil discards

	// Signals are passed on to the command's process group as they come in. The caller keeps the channel; it may be nil.
	Signals <-chan os.Signal
}

// StartError says that a command could not be started, with the code a shell would give: 127 when it was not found,
// 126 when it could not be executed.
type StartError struct {
	Code    int
	Message string
}

func (e *StartError) Error() string { return e.Message }

// ErrLost means that the stream ended before the far side had answered.
var ErrLost = errors.New("the connection ended before the command did")

// killAfter is how long a command may take to end after its context did, and how long the far side may take to report
// that it has been killed.
const killAfter = 5 * time.Second

// Exec runs cmd over conn and returns its exit code; a command that died of signal N has code 128+N. The error is nil
// whenever the command ran to its end; otherwise it wraps *StartError, ErrLost, or what went wrong with a stream.
//
// When ctx ends the command's process group gets SIGINT, SIGKILL 5 seconds later, and Exec returns its code together with ctx's
// error. Exec closes conn. It does not wait for a Read of cmd.Stdin that is still under way when the command has ended.
func Exec(ctx context.Context, conn io.ReadWriteCloser, cmd Cmd) (int, error) {
	defer conn.Close()
	c := newCall(conn)
	c.cmd = cmd
	defer c.room.close()
	err := c.out.writeJSON(frameRequest, request{Kind: kindExec, Path: cmd.Path, Args: cmd.Args, Env: cmd.Env, Dir: cmd.Dir})
	if err != nil {
		return -1, fmt.Errorf("sending the command %s: %w", cmd.Path, err)
	}
	go c.sendStdin()
	var signals sync.WaitGroup
	signals.Go(func() { c.sendSignals(ctx) })
	code, err := c.receive()
	close(c.ended)
	signals.Wait()
	if ctx.Err() != nil {
		return code, fmt.Errorf("running %s: %w", cmd.Path, ctx.Err())
	}
	if err != nil {
		return code, fmt.Errorf("running %s: %w", cmd.Path, err)
	}
	return code, nil
}

// Hello waits until the far side answers and sets its clock to now.
func Hello(conn io.ReadWriteCloser, now time.Time) error {
	return ask(conn, request{Kind: kindHello, UnixNano: now.UnixNano()})
}

// PowerOff asks the far side to switch its machine off. It returns when that is under way; a stream that ends without
// an answer is taken for one.
func PowerOff(conn io.ReadWriteCloser) error {
	err := ask(conn, request{Kind: kindPowerOff})
	if errors.Is(err, ErrLost) {
		return nil
	}
	return err
}

func ask(conn io.ReadWriteCloser, r request) error {
	defer conn.Close()
	c := newCall(conn)
	if err := c.out.writeJSON(frameRequest, r); err != nil {
		return fmt.Errorf("asking for %s: %w", r.Kind, err)
	}
	if _, err := c.receive(); err != nil {
		return fmt.Errorf("asking for %s: %w", r.Kind, err)
	}
	return nil
}

// call is one conversation seen from the host.
type call struct {
	conn  io.ReadWriteCloser
	out   frameWriter
	cmd   Cmd
	room  *window
	ended chan struct{}
}

func newCall(conn io.ReadWriteCloser) *call {
	return &call{conn: conn, out: frameWriter{w: conn}, room: newWindow(stdinWindow), ended: make(chan struct{})}
}

// receive passes output on until the last frame and returns the exit code.
func (c *call) receive() (int, error) {
	buf := make([]byte, maxFrame)
	for {
		t, payload, err := readFrame(c.conn, buf)
		if err != nil {
			return -1, fmt.Errorf("%w (%w)", ErrLost, err)
		}
		switch t {
		case frameStdout:
			err = deliver(c.cmd.Stdout, payload, "output")
		case frameStderr:
			err = deliver(c.cmd.Stderr, payload, "error output")
		case frameTaken:
			var n uint32
			if n, err = frameNumber(payload); err == nil {
				c.room.give(int(n))
			}
		case frameExit:
			n, err := frameNumber(payload)
			return int(int32(n)), err
		case frameFailed:
			return failed(payload)
		default:
			err = fmt.Errorf("the far side sent an unknown frame of type %q", byte(t))
		}
		if err != nil {
			return -1, err
		}
	}
}

func deliver(w io.Writer, p []byte, what string) error {
	if w == nil {
		return nil
	}
	if _, err := w.Write(p); err != nil {
		return fmt.Errorf("passing on its %s: %w", what, err)
	}
	return nil
}

func failed(payload []byte) (int, error) {
	var f failure
	if err := json.Unmarshal(payload, &f); err != nil {
		return -1, fmt.Errorf("reading the far side's failure: %w", err)
	}
	return f.Code, &StartError{Code: f.Code, Message: f.Message}
}

// sendStdin passes input on, at most stdinWindow ahead of what the command has taken. It ends silently when the stream
// breaks: receive meets that too, and reports it.
func (c *call) sendStdin() {
	buf := make([]byte, chunkSize)
	for c.cmd.Stdin != nil {
		n, err := c.cmd.Stdin.Read(buf)
		if n > 0 && (!c.room.take(n) || c.out.write(frameStdin, buf[:n]) != nil) {
			return
		}
		if err != nil {
			break
		}
	}
	_ = c.out.write(frameStdin, nil)
}

func (c *call) sendSignals(ctx context.Context) {
	cancelled := ctx.Done()
	var kill <-chan time.Time
	killed := false
	for {
		select {
		case <-c.ended:
			return
		case s := <-c.cmd.Signals:
			if n, ok := s.(syscall.Signal); ok {
				c.signal(n)
			}
		case <-cancelled:
			cancelled = nil
			c.signal(syscall.SIGINT)
			kill = time.After(killAfter)
		case <-kill:
			if killed {
				c.conn.Close() // the far side does not answer; end receive
				return
			}
			killed = true
			c.signal(syscall.SIGKILL)
			kill = time.After(killAfter)
		}
	}
}

// signal ignores a broken stream: receive reports it.
func (c *call) signal(n syscall.Signal) { _ = c.out.write(frameSignal, []byte{byte(n)}) }
