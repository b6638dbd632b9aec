// SPDX-License-Identifier: Apache-2.0

package hbone

import (
	"context"
	"crypto/sha256"
	"errors"
	"hash"
	"io"
	"math/rand/v2"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// patience is how long a test waits for what should happen at once.
const patience = 20 * time.Second

// pair is a client and a server connected over loopback TCP.
type pair struct {
	client *Client
	served chan error         // Serve's result
	drain  context.CancelFunc // ends Serve's context
}

func newPair(t testing.TB, clientCfg, serverCfg Config, handle func(context.Context, *Request)) *pair {
	t.Helper()
	a, b := tcpPair(t)
	return pairOn(t, a, b, clientCfg, serverCfg, handle)
}

func pairOn(t testing.TB, a, b net.Conn, clientCfg, serverCfg Config, handle func(context.Context, *Request)) *pair {
	t.Helper()
	checkGoroutines(t)
	ctx, cancel := context.WithCancel(context.Background())
	p := &pair{served: make(chan error, 1), drain: cancel}
	go func() { p.served <- Serve(ctx, b, serverCfg, handle) }()
	client, err := NewClient(a, clientCfg)
	if err != nil {
		t.Fatal(err)
	}
	p.client = client
	t.Cleanup(func() {
		client.Close()
		cancel()
		within(t, "Serve to return", func() { p.served <- <-p.served })
	})
	return p
}

func tcpPair(t testing.TB) (a, b net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if a, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if b, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

// checkGoroutines fails the test if a goroutine of this package outlives it.
func checkGoroutines(t testing.TB) {
	t.Cleanup(func() {
		eventually(t, "goroutines to end", func() bool {
			stacks := allStacks()
			return !strings.Contains(stacks, "hbone.(*conn)") && !strings.Contains(stacks, "hbone.(*server)")
		})
	})
}

func allStacks() string {
	buf := make([]byte, 1<<20)
	return string(buf[:runtime.Stack(buf, true)])
}

// eventually waits until cond holds.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); !cond(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s\n%s", what, allStacks())
		}
	}
}

func within(t testing.TB, what string, do func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); do() }()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatalf("waited in vain for %s\n%s", what, allStacks())
	}
}

func (p *pair) connect(t testing.TB, authority string) *Stream {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s, err := p.client.Connect(ctx, authority, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// accept makes a handler of a function that gets an accepted stream.
func accept(t testing.TB, tunnel func(*Stream)) func(context.Context, *Request) {
	return func(_ context.Context, r *Request) {
		s, err := r.Accept(200, nil)
		if err != nil {
			t.Errorf("accepting: %v", err)
			return
		}
		tunnel(s)
	}
}

// echo sends everything back, and the end after it.
func echo(s *Stream) {
	if _, err := io.Copy(struct{ io.Writer }{s}, struct{ io.Reader }{s}); err == nil {
		s.CloseWrite()
	}
}

// randomBytes gives n reproducible bytes and hashes what it gave.
func randomBytes(seed byte, n int64) (io.Reader, hash.Hash) {
	sum := sha256.New()
	return io.TeeReader(io.LimitReader(rand.NewChaCha8([32]byte{seed}), n), sum), sum
}

func hashOf(t testing.TB, r io.Reader) (sum []byte, n int64) {
	h := sha256.New()
	n, err := io.Copy(h, r)
	if err != nil {
		t.Errorf("after %d bytes: %v", n, err)
	}
	return h.Sum(nil), n
}

func TestEchoBothWaysAtOnce(t *testing.T) {
	const size = 64 << 20
	p := newPair(t, Config{}, Config{}, accept(t, echo))
	s := p.connect(t, "10.4.3.20:9080")
	src, sent := randomBytes(1, size)
	go func() {
		if _, err := io.Copy(s, src); err != nil {
			t.Errorf("writing: %v", err)
		}
		s.CloseWrite()
	}()
	got, n := hashOf(t, s)
	if n != size || string(got) != string(sent.Sum(nil)) {
		t.Errorf("got %d bytes, want %d with the same checksum", n, size)
	}
	<-s.Done()
	if s.Err() != nil {
		t.Errorf("stream ended with %v", s.Err())
	}
}

func TestThousandConcurrentStreams(t *testing.T) {
	const streams, size = 1000, 100_000
	p := newPair(t, Config{}, Config{}, accept(t, echo))
	var wg sync.WaitGroup
	for i := range streams {
		wg.Go(func() {
			s := p.connect(t, "10.4.3.20:9080")
			defer s.Close()
			src, sent := randomBytes(byte(i), size)
			wg.Go(func() {
				io.Copy(s, src)
				s.CloseWrite()
			})
			got, n := hashOf(t, s)
			if n != size || string(got) != string(sent.Sum(nil)) {
				t.Errorf("stream %d: got %d bytes or a wrong checksum", i, n)
			}
		})
	}
	wg.Wait()
	if n := p.client.Streams(); n != 0 {
		t.Errorf("%d streams left", n)
	}
}

func TestHalfCloseByClient(t *testing.T) {
	p := newPair(t, Config{}, Config{}, accept(t, func(s *Stream) {
		all, err := io.ReadAll(s)
		if err != nil {
			t.Errorf("reading to the client's end: %v", err)
		}
		s.Write([]byte("got " + string(all)))
		s.CloseWrite()
	}))
	s := p.connect(t, "a:1")
	s.Write([]byte("question"))
	if err := s.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if all, err := io.ReadAll(s); err != nil || string(all) != "got question" {
		t.Errorf("read %q, %v", all, err)
	}
	if _, err := s.Write([]byte("x")); err == nil {
		t.Error("writing after CloseWrite succeeded")
	}
}

func TestHalfCloseByServer(t *testing.T) {
	heard := make(chan string, 1)
	p := newPair(t, Config{}, Config{}, accept(t, func(s *Stream) {
		s.Write([]byte("greeting"))
		s.CloseWrite()
		all, err := io.ReadAll(s)
		if err != nil {
			t.Errorf("reading after our end: %v", err)
		}
		heard <- string(all)
	}))
	s := p.connect(t, "a:1")
	if all, err := io.ReadAll(s); err != nil || string(all) != "greeting" {
		t.Fatalf("read %q, %v", all, err)
	}
	s.Write([]byte("long after"))
	s.CloseWrite()
	if got := <-heard; got != "long after" {
		t.Errorf("server heard %q", got)
	}
}

func TestResetByClient(t *testing.T) {
	result, ended := make(chan error, 2), make(chan struct{})
	p := newPair(t, Config{}, Config{}, func(ctx context.Context, r *Request) {
		s, _ := r.Accept(200, nil)
		_, err := io.ReadAll(s)
		result <- err
		_, err = s.Write([]byte("x"))
		result <- err
		<-ctx.Done()
		close(ended)
	})
	s := p.connect(t, "a:1")
	s.Write([]byte("some"))
	s.Reset(http2.ErrCodeConnect)
	for range 2 {
		wantReset(t, <-result, http2.ErrCodeConnect, true)
	}
	within(t, "the request's context to end", func() { <-ended })
	_, err := s.Read(make([]byte, 1))
	wantReset(t, err, http2.ErrCodeConnect, false)
	wantReset(t, s.CloseWrite(), http2.ErrCodeConnect, false)
}

func TestResetByServerDeliversWhatCameBefore(t *testing.T) {
	p := newPair(t, Config{}, Config{}, accept(t, func(s *Stream) {
		s.Write([]byte("last words"))
		s.Reset(http2.ErrCodeConnect)
	}))
	s := p.connect(t, "a:1")
	<-s.Done()
	all, err := io.ReadAll(s)
	if string(all) != "last words" {
		t.Errorf("read %q", all)
	}
	wantReset(t, err, http2.ErrCodeConnect, true)
	_, err = s.Write([]byte("x"))
	wantReset(t, err, http2.ErrCodeConnect, true)
	wantReset(t, s.Err(), http2.ErrCodeConnect, true)
}

func wantReset(t *testing.T, err error, code http2.ErrCode, remote bool) {
	t.Helper()
	var reset *ResetError
	if !errors.As(err, &reset) || reset.Code != code || reset.Remote != remote {
		t.Errorf("got %v, want a reset with %s, remote %v", err, code, remote)
	}
}

func TestRequestAndAnswerHeaders(t *testing.T) {
	p := newPair(t, Config{}, Config{}, func(_ context.Context, r *Request) {
		if r.Method != "CONNECT" || r.Authority != "10.4.3.20:9080" || r.Path != "" || r.Scheme != "" {
			t.Errorf("got %+v", r)
		}
		for name, want := range map[string]string{":method": "CONNECT", ":authority": "10.4.3.20:9080", ":path": "", ":scheme": "", ":protocol": "", "none": ""} {
			if got := r.Get(name); got != want {
				t.Errorf("Get(%s) = %q", name, got)
			}
		}
		if r.Get("x-envoy-original-dst-host") != "10.4.3.20:9080" {
			t.Errorf("got header %v", r.Header)
		}
		r.Accept(200, []hpack.HeaderField{{Name: "server", Value: "ztunnel"}})
	})
	s, err := p.client.Connect(t.Context(), "10.4.3.20:9080",
		[]hpack.HeaderField{{Name: "x-envoy-original-dst-host", Value: "10.4.3.20:9080"}})
	if err != nil {
		t.Fatal(err)
	}
	if s.Status() != 200 || len(s.Header()) != 1 || s.Header()[0].Value != "ztunnel" {
		t.Errorf("got %d %v", s.Status(), s.Header())
	}
}

func TestRejectIsStatusError(t *testing.T) {
	p := newPair(t, Config{}, Config{}, func(_ context.Context, r *Request) {
		r.Reject(404, []hpack.HeaderField{{Name: "server", Value: "ztunnel"}})
	})
	_, err := p.client.Connect(t.Context(), "a:1", nil)
	var status *StatusError
	if !errors.As(err, &status) || status.Status != 404 || len(status.Header) != 1 {
		t.Fatalf("got %v", err)
	}
	eventually(t, "the stream to go", func() bool { return p.client.Streams() == 0 })
}

func TestAnswersAreChecked(t *testing.T) {
	p := newPair(t, Config{}, Config{}, func(_ context.Context, r *Request) {
		if _, err := r.Accept(404, nil); err == nil {
			t.Error("accepted with 404")
		}
		if err := r.Reject(99, nil); err == nil {
			t.Error("rejected with 99")
		}
		if err := r.Reject(503, []hpack.HeaderField{{Name: "Bad Name"}}); err == nil {
			t.Error("sent a malformed header")
		}
		if _, err := r.Accept(200, nil); err != nil {
			t.Errorf("accepting at last: %v", err)
		}
		if err := r.Reject(503, nil); err == nil {
			t.Error("answered twice")
		}
	})
	s := p.connect(t, "a:1")
	_, err := s.Read(make([]byte, 1))
	wantReset(t, err, http2.ErrCodeCancel, true)
}

func TestHandlerWithoutAnswerResets(t *testing.T) {
	p := newPair(t, Config{}, Config{}, func(context.Context, *Request) {})
	_, err := p.client.Connect(t.Context(), "a:1", nil)
	wantReset(t, err, http2.ErrCodeInternal, true)
}

func TestConnectIsCancelled(t *testing.T) {
	gone := make(chan struct{})
	p := newPair(t, Config{}, Config{}, func(ctx context.Context, r *Request) {
		<-ctx.Done()
		close(gone)
	})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := p.client.Connect(ctx, "a:1", nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	within(t, "the server to notice", func() { <-gone })
}
