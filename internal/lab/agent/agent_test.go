// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// dial starts a server on one end of a socket pair and returns what opens streams from the other.
func dial(t *testing.T) func() net.Conn {
	t.Helper()
	hostEnd, guestEnd := socketPair(t)
	guest, err := Mux(guestEnd, false, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	host, err := Mux(hostEnd, true, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	server := &Server{Spawn: Forker{}, Env: []string{"PATH=/usr/bin:/bin", "FROM=default"}}
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(guest.Accept) }()
	t.Cleanup(func() { host.Close(); guest.Close(); <-done })
	return func() net.Conn {
		conn, err := host.Open()
		if err != nil {
			t.Fatal(err)
		}
		return conn
	}
}

func socketPair(t *testing.T) (a, b net.Conn) {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	var conns [2]net.Conn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "pair")
		if conns[i], err = net.FileConn(f); err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	return conns[0], conns[1]
}

func shell(script string) Cmd { return Cmd{Path: "sh", Args: []string{"-c", script}} }

func TestExecEnds(t *testing.T) {
	open := dial(t)
	dir := t.TempDir()
	plain := filepath.Join(dir, "plain")
	if err := os.WriteFile(plain, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name             string
		cmd              Cmd
		code, startError int
		stdout, stderr   string
	}{
		{name: "success", cmd: shell("echo out; echo err >&2"), stdout: "out\n", stderr: "err\n"},
		{name: "exit code", cmd: shell("exit 42"), code: 42},
		{name: "died of a signal", cmd: shell("kill -TERM $$"), code: 128 + 15},
		{name: "arguments", cmd: Cmd{Path: "printf", Args: []string{"%s|", "a b", "", "ü'\"\n"}}, stdout: "a b||ü'\"\n|"},
		{name: "default environment", cmd: shell("echo $FROM"), stdout: "default\n"},
		{name: "own environment", cmd: Cmd{Path: "env", Env: []string{"PATH=/usr/bin", "A=1"}}, stdout: "PATH=/usr/bin\nA=1\n"},
		{name: "folder", cmd: Cmd{Path: "pwd", Dir: dir}, stdout: dir + "\n"},
		{name: "default folder", cmd: Cmd{Path: "pwd"}, stdout: "/\n"},
		{name: "no input", cmd: Cmd{Path: "cat"}},
		{name: "input", cmd: Cmd{Path: "cat", Stdin: strings.NewReader("in")}, stdout: "in"},
		{name: "unread input", cmd: Cmd{Path: "true", Stdin: bytes.NewReader(make([]byte, 4<<20))}},
		{name: "not found", cmd: Cmd{Path: "no-such-command"}, code: 127, startError: 127},
		{name: "no such file", cmd: Cmd{Path: "/no/such/file"}, code: 127, startError: 127},
		{name: "not executable", cmd: Cmd{Path: plain}, code: 126, startError: 126},
		{name: "no such folder", cmd: Cmd{Path: "pwd", Dir: "/no/such/folder"}, code: 126, startError: 126},
		{name: "output of a process that stays", cmd: shell("sleep 6 & echo started"), stdout: "started\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			tt.cmd.Stdout, tt.cmd.Stderr = &stdout, &stderr
			code, err := Exec(t.Context(), open(), tt.cmd)
			var start *StartError
			if code != tt.code || errors.As(err, &start) != (tt.startError != 0) || (err != nil && start == nil) {
				t.Errorf("code %d, error %v; want code %d", code, err, tt.code)
			}
			if start != nil && start.Code != tt.startError {
				t.Errorf("start error %d, want %d", start.Code, tt.startError)
			}
			if stdout.String() != tt.stdout || stderr.String() != tt.stderr {
				t.Errorf("stdout %q, stderr %q; want %q, %q", &stdout, &stderr, tt.stdout, tt.stderr)
			}
		})
	}
}

func TestExecCarriesBinaryDataWhole(t *testing.T) {
	open := dial(t)
	const size = 64 << 20
	sent, got := sha256.New(), sha256.New()
	input := io.TeeReader(io.LimitReader(rand.NewChaCha8([32]byte{1}), size), sent)
	code, err := Exec(t.Context(), open(), Cmd{Path: "cat", Stdin: input, Stdout: got})
	if code != 0 || err != nil {
		t.Fatalf("code %d, error %v", code, err)
	}
	if !bytes.Equal(sent.Sum(nil), got.Sum(nil)) {
		t.Error("what came back is not what was sent")
	}
}

func TestManyExecsAtOnce(t *testing.T) {
	open := dial(t)
	var all sync.WaitGroup
	for i := range 40 {
		conn := open()
		all.Go(func() {
			var out bytes.Buffer
			code, err := Exec(t.Context(), conn, Cmd{
				Path: "sh", Args: []string{"-c", "cat; exit " + strconv.Itoa(i)}, Stdin: strings.NewReader(fmt.Sprint("number ", i)), Stdout: &out,
			})
			if code != i || err != nil || out.String() != fmt.Sprint("number ", i) {
				t.Errorf("command %d: code %d, error %v, output %q", i, code, err, &out)
			}
		})
	}
	all.Wait()
}

// lineWriter sends on ready when the first output comes.
type lineWriter struct {
	bytes.Buffer
	ready chan struct{}
}

func newLineWriter() *lineWriter { return &lineWriter{ready: make(chan struct{}, 1)} }

func (w *lineWriter) Write(p []byte) (int, error) {
	select {
	case w.ready <- struct{}{}:
	default:
	}
	return w.Buffer.Write(p)
}

func TestSignalPassesUnreadInput(t *testing.T) {
	open := dial(t)
	out, signals := newLineWriter(), make(chan os.Signal)
	go func() { <-out.ready; signals <- syscall.SIGINT }()
	cmd := shell(`trap 'echo interrupted; exit 3' INT; echo ready; while :; do sleep 0.05; done`)
	cmd.Stdin, cmd.Stdout, cmd.Signals = bytes.NewReader(make([]byte, 8<<20)), out, signals
	code, err := Exec(t.Context(), open(), cmd)
	if code != 3 || err != nil || out.String() != "ready\ninterrupted\n" {
		t.Errorf("code %d, error %v, output %q", code, err, out)
	}
}

func TestCancelledContextInterrupts(t *testing.T) {
	open := dial(t)
	ctx, cancel := context.WithCancel(t.Context())
	out := newLineWriter()
	go func() { <-out.ready; cancel() }()
	cmd := shell("echo ready; exec sleep 60")
	cmd.Stdout = out
	code, err := Exec(ctx, open(), cmd)
	if code != 128+2 || !errors.Is(err, context.Canceled) || out.String() != "ready\n" {
		t.Errorf("code %d, error %v, output %q", code, err, out)
	}
}

func TestLostHostEndsCommand(t *testing.T) {
	open := dial(t)
	conn, out := open(), newLineWriter()
	pidFile := filepath.Join(t.TempDir(), "pid")
	go func() { <-out.ready; conn.Close() }()
	// The command floods its output and ignores the hang-up, so that only SIGKILL ends it.
	cmd := shell("trap '' HUP; echo $$ >" + pidFile + "; exec yes")
	cmd.Stdout = out
	if _, err := Exec(t.Context(), conn, cmd); !errors.Is(err, ErrLost) {
		t.Fatalf("error %v, want %v", err, ErrLost)
	}
	text, err := os.ReadFile(pidFile)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the command to end", func() bool { return errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) })
}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	late := time.After(20 * time.Second)
	for !ok() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatal("waited too long for ", what)
		}
	}
}

func TestFailingOutputEndsCommand(t *testing.T) {
	open := dial(t)
	r, w := io.Pipe()
	r.CloseWithError(io.ErrClosedPipe)
	if _, err := Exec(t.Context(), open(), Cmd{Path: "yes", Stdout: w}); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("error %v, want %v", err, io.ErrClosedPipe)
	}
}

func TestInputComesInSmallPieces(t *testing.T) {
	open := dial(t)
	r, w := io.Pipe()
	go func() {
		for range 500 {
			if _, err := w.Write([]byte("x")); err != nil {
				return
			}
		}
		w.Close()
	}()
	var out bytes.Buffer
	code, err := Exec(t.Context(), open(), Cmd{Path: "cat", Stdin: r, Stdout: &out})
	if code != 0 || err != nil || out.String() != strings.Repeat("x", 500) {
		t.Errorf("code %d, error %v, %d bytes", code, err, out.Len())
	}
}

func TestHelloSetsClockAndPowerOffSwitchesOff(t *testing.T) {
	var clock time.Time
	off := make(chan struct{})
	server := &Server{Spawn: Forker{}, SetClock: func(now time.Time) error { clock = now; return nil }, PowerOff: func() { close(off) }}
	now := time.Unix(1663113600, 5)
	for _, ask := range []func(io.ReadWriteCloser) error{
		func(c io.ReadWriteCloser) error { return Hello(c, now) },
		PowerOff,
	} {
		host, guest := net.Pipe()
		done := make(chan struct{})
		go func() { defer close(done); server.serve(guest) }()
		if err := ask(host); err != nil {
			t.Error(err)
		}
		<-done
	}
	<-off
	if !clock.Equal(now) {
		t.Errorf("clock set to %v, want %v", clock, now)
	}
}

func TestUnaskedBytesAreRefused(t *testing.T) {
	server := &Server{Spawn: Forker{}}
	for _, sent := range []string{"r\x00\x00\x00\x02{x", "o\x00\x00\x00\x00", "r\xff\xff\xff\xff", `r` + "\x00\x00\x00\x0e" + `{"kind":"boo"}`} {
		host, guest := net.Pipe()
		go server.serve(guest)
		if _, err := io.WriteString(host, sent); err != nil {
			t.Fatal(err)
		}
		c := newCall(host)
		var start *StartError
		if _, err := c.receive(); !errors.As(err, &start) {
			t.Errorf("%q: error %v, want a refusal", sent, err)
		}
		host.Close()
	}
}
