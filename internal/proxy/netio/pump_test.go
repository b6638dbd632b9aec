// SPDX-License-Identifier: Apache-2.0

package netio

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
)

// tcpPair is a connected pair of sockets.
func tcpPair(t *testing.T) (TCP, TCP) {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	a, err := net.Dial("tcp4", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	b, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close(); b.Close() })
	return TCP{a.(*net.TCPConn)}, TCP{b.(*net.TCPConn)}
}

func memPair(t *testing.T) (Conn, Conn) {
	t.Helper()
	a, b := Pair()
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

// joined returns the two far ends of a pumped connection and its result.
func joined(t *testing.T, kind string) (client, server Conn, done chan Result, traffic *Traffic) {
	t.Helper()
	var near, up Conn
	switch kind {
	case "tcp-tcp":
		c, n := tcpPair(t)
		u, s := tcpPair(t)
		client, near, up, server = c, n, u, s
	case "tcp-pair":
		c, n := tcpPair(t)
		client, near = c, n
		up, server = memPair(t)
	case "pair-pair":
		client, near = memPair(t)
		up, server = memPair(t)
	}
	done, traffic = make(chan Result, 1), &Traffic{}
	go func() { done <- Pump(near, up, &Buffers{}, traffic) }()
	return client, server, done, traffic
}

func eachKind(t *testing.T, f func(t *testing.T, kind string)) {
	for _, kind := range []string{"tcp-tcp", "tcp-pair", "pair-pair"} {
		t.Run(kind, func(t *testing.T) { f(t, kind) })
	}
}

func TestPumpPassesHalfCloseBothWays(t *testing.T) {
	eachKind(t, func(t *testing.T, kind string) {
		client, server, done, traffic := joined(t, kind)
		go func() { client.Write([]byte("question")); client.CloseWrite() }()
		if got, err := io.ReadAll(server); err != nil || string(got) != "question" {
			t.Fatalf("server read %q, %v", got, err)
		}
		go func() { server.Write([]byte("the answer")); server.CloseWrite() }()
		if got, err := io.ReadAll(client); err != nil || string(got) != "the answer" {
			t.Fatalf("client read %q, %v", got, err)
		}
		if r := <-done; r != (Result{}) {
			t.Errorf("result %+v", r)
		}
		if u, d := traffic.Up.Load(), traffic.Down.Load(); u != 8 || d != 10 {
			t.Errorf("counted %d up, %d down", u, d)
		}
	})
}

func TestPumpPassesReset(t *testing.T) {
	eachKind(t, func(t *testing.T, kind string) {
		for _, fromClient := range []bool{true, false} {
			client, server, done, _ := joined(t, kind)
			from, to := client, server
			if !fromClient {
				from, to = server, client
			}
			// One byte first: the reset is to hit an established pair.
			go from.Write([]byte("x"))
			if _, err := io.ReadFull(to, make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
			if err := from.Reset(); err != nil {
				t.Fatal(err)
			}
			if _, err := to.Read(make([]byte, 1)); !isReset(err) {
				t.Errorf("from client %v: peer read %v, want a reset", fromClient, err)
			}
			r := <-done
			if got := r.DownstreamErr != nil; got != fromClient || (r.UpstreamErr != nil) == fromClient {
				t.Errorf("from client %v: result %+v", fromClient, r)
			}
		}
	})
}

func TestPumpMovesEveryByte(t *testing.T) {
	eachKind(t, func(t *testing.T, kind string) {
		client, server, done, _ := joined(t, kind)
		body := make([]byte, 8<<20)
		rand.Read(body)
		sums := make(chan [32]byte, 2)
		for _, c := range []Conn{client, server} {
			go func() { io.Copy(c, bytes.NewReader(body)); c.CloseWrite() }()
			go func() {
				h := sha256.New()
				io.Copy(h, struct{ io.Reader }{c})
				sums <- [32]byte(h.Sum(nil))
			}()
		}
		for range 2 {
			if got := <-sums; got != sha256.Sum256(body) {
				t.Error("bytes changed on the way")
			}
		}
		<-done
	})
}

func TestPairHoldsTheWriterBack(t *testing.T) {
	a, b := memPair(t)
	wrote := make(chan error, 1)
	go func() {
		_, err := a.Write(make([]byte, 100))
		wrote <- err
	}()
	buf := make([]byte, 99)
	if n, err := b.Read(buf); n != 99 || err != nil {
		t.Fatal(n, err)
	}
	select {
	case <-wrote:
		t.Fatal("write returned before its last byte was read")
	default:
	}
	if n, err := b.Read(buf); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	if err := <-wrote; err != nil {
		t.Fatal(err)
	}
	b.Close()
	if _, err := a.Write([]byte("x")); !isReset(err) {
		t.Errorf("write to a closed peer: %v", err)
	}
	if _, err := a.Read(buf); !errors.Is(err, io.EOF) {
		t.Errorf("read from a closed peer: %v", err)
	}
}

// Whatever happens on either side at whatever moment, a pump comes to an end,
// and so does the one that hangs on its other side.
func TestPumpAlwaysEnds(t *testing.T) {
	for i := range 300 {
		client, near := tcpPair(t)
		up, down := Pair()
		far, server := tcpPair(t)
		done := make(chan struct{}, 2)
		var buffers Buffers
		go func() { Pump(near, up, &buffers, &Traffic{}); done <- struct{}{} }()
		go func() { Pump(down, far, &buffers, &Traffic{}); done <- struct{}{} }()
		for j, end := range []Conn{client, server} {
			go func() { io.Copy(end, io.LimitReader(endless{}, int64(i)<<10)); disturb(end, i>>j) }()
			go io.Copy(io.Discard, struct{ io.Reader }{end})
		}
		<-done
		<-done
	}
}

func disturb(c Conn, how int) {
	switch how % 3 {
	case 0:
		c.Reset()
	case 1:
		c.Close()
	default:
		c.CloseWrite()
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

// isReset reports whether err says that the peer reset the stream.
func isReset(err error) bool {
	return errors.Is(err, ErrReset) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}
