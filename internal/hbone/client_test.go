// SPDX-License-Identifier: Apache-2.0

package hbone

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

type connected struct {
	s   *Stream
	err error
}

// connectLater runs Connect beside the test.
func connectLater(cl *Client) chan connected {
	ch := make(chan connected, 1)
	go func() {
		s, err := cl.Connect(context.Background(), "10.4.3.20:9080", nil)
		ch <- connected{s, err}
	}()
	return ch
}

func TestConnectWaitsForAFreeStream(t *testing.T) {
	p := newPair(t, Config{}, Config{MaxStreams: 2}, accept(t, echo))
	first, second := p.connect(t, "a:1"), p.connect(t, "a:1")
	if p.client.CanTakeStream() || p.client.Streams() != 2 {
		t.Errorf("CanTakeStream with %d of 2 streams open", p.client.Streams())
	}
	third := connectLater(p.client)
	fourth := connectLater(p.client)
	eventually(t, "both to wait", func() bool { return waiters(p.client) == 2 })

	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
	defer cancel()
	if _, err := p.client.Connect(ctx, "a:1", nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("giving up: %v", err)
	}
	first.Reset(http2.ErrCodeCancel)
	second.CloseWrite()
	io.ReadAll(second)
	within(t, "the waiting to go on", func() {
		for _, ch := range []chan connected{third, fourth} {
			if c := <-ch; c.err != nil {
				t.Error(c.err)
			}
		}
	})
}

func TestTryConnectDoesNotWait(t *testing.T) {
	p := newPair(t, Config{}, Config{MaxStreams: 2}, accept(t, echo))
	p.connect(t, "a:1").CloseWrite()
	eventually(t, "the server's limit and a free stream", func() bool {
		p.client.c.mu.Lock()
		defer p.client.c.mu.Unlock()
		return p.client.free() == 2
	})
	results := make(chan connected, 20)
	for range cap(results) {
		go func() {
			s, err := p.client.TryConnect(context.Background(), "a:1", nil)
			results <- connected{s, err}
		}()
	}
	opened := 0
	within(t, "every answer", func() {
		for range cap(results) {
			r := <-results
			var unprocessed *UnprocessedError
			switch {
			case r.err == nil:
				opened++
			case !errors.Is(r.err, ErrFull) || !errors.As(r.err, &unprocessed):
				t.Errorf("got %v", r.err)
			}
		}
	})
	if opened != 2 {
		t.Errorf("%d streams were opened, 2 are allowed", opened)
	}
}

// A slot given out before SETTINGS lowered the limit is no licence to pass it.
func TestLoweredLimitHoldsForSlotsGivenBefore(t *testing.T) {
	r, client := rawServer(t, Config{})
	if err := client.acquire(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	r.WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 0})
	r.alive()
	if s, err := client.send(t.Context(), nil); s != nil || err != nil {
		t.Errorf("sent %v, %v", s, err)
	}
	later := connectLater(client)
	eventually(t, "the request to wait", func() bool { return waiters(client) == 1 })
	r.WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 1})
	f := next[*http2.MetaHeadersFrame](r, nil)
	r.headers(f.StreamID, false, ":status", "200")
	if got := <-later; got.err != nil {
		t.Error(got.err)
	}
}

func waiters(cl *Client) int {
	cl.c.mu.Lock()
	defer cl.c.mu.Unlock()
	return cl.waiting.Len()
}

func TestConnectionLostWhileWaitingForAStream(t *testing.T) {
	r, client := rawServer(t, Config{MaxStreams: 1})
	sent := connectLater(client)
	next[*http2.MetaHeadersFrame](r, nil)
	waiting := connectLater(client)
	eventually(t, "the second to wait", func() bool { return waiters(client) == 1 })
	r.conn.Close()
	var unprocessed *UnprocessedError
	if c := <-sent; c.err == nil || errors.As(c.err, &unprocessed) {
		t.Errorf("a request that was sent: %v", c.err)
	}
	if c := <-waiting; !errors.As(c.err, &unprocessed) {
		t.Errorf("a request that was not sent: %v", c.err)
	}
}

func TestRefusedStreamIsSafeToRetry(t *testing.T) {
	r, client := rawServer(t, Config{})
	ch := connectLater(client)
	id := next[*http2.MetaHeadersFrame](r, nil).StreamID
	r.WriteRSTStream(id, http2.ErrCodeRefusedStream)
	c := <-ch
	var unprocessed *UnprocessedError
	if !errors.As(c.err, &unprocessed) {
		t.Errorf("got %v", c.err)
	}
	wantReset(t, c.err, http2.ErrCodeRefusedStream, true)

	ch = connectLater(client)
	id = next[*http2.MetaHeadersFrame](r, nil).StreamID
	r.WriteRSTStream(id, http2.ErrCodeConnect)
	if c := <-ch; errors.As(c.err, &unprocessed) {
		t.Errorf("CONNECT_ERROR counts as safe: %v", c.err)
	}
}

func TestInformationalResponsesAndTrailers(t *testing.T) {
	r, client := rawServer(t, Config{})
	ch := connectLater(client)
	id := next[*http2.MetaHeadersFrame](r, nil).StreamID
	r.headers(id, false, ":status", "100")
	r.headers(id, false, ":status", "103", "link", "x")
	r.headers(id, false, ":status", "200", "server", "envoy")
	c := <-ch
	if c.err != nil || c.s.Status() != 200 || len(c.s.Header()) != 1 {
		t.Fatalf("got %+v", c)
	}
	r.WriteData(id, false, []byte("body"))
	r.headers(id, true, "grpc-status", "0")
	if all, err := io.ReadAll(c.s); string(all) != "body" || err != nil {
		t.Errorf("read %q, %v", all, err)
	}
	c.s.CloseWrite()
	within(t, "the stream to end", func() { <-c.s.Done() })
}

func TestMalformedResponses(t *testing.T) {
	cases := map[string]func(r *raw, id uint32){
		"no status":         func(r *raw, id uint32) { r.headers(id, false, "server", "x") },
		"short status":      func(r *raw, id uint32) { r.headers(id, false, ":status", "20") },
		"101":               func(r *raw, id uint32) { r.headers(id, false, ":status", "101") },
		"1xx that ends":     func(r *raw, id uint32) { r.headers(id, true, ":status", "100") },
		"request pseudo":    func(r *raw, id uint32) { r.headers(id, false, ":status", "200", ":path", "/") },
		"transfer-encoding": func(r *raw, id uint32) { r.headers(id, false, ":status", "200", "transfer-encoding", "chunked") },
		"DATA first":        func(r *raw, id uint32) { r.WriteData(id, false, []byte("x")) },
	}
	for name, send := range cases {
		t.Run(name, func(t *testing.T) {
			r, client := rawServer(t, Config{})
			ch := connectLater(client)
			id := next[*http2.MetaHeadersFrame](r, nil).StreamID
			send(r, id)
			r.wantReset(id, http2.ErrCodeProtocol)
			wantReset(t, (<-ch).err, http2.ErrCodeProtocol, false)
			r.alive()
		})
	}
}

func TestServerMustNotPush(t *testing.T) {
	r, client := rawServer(t, Config{}, http2.Setting{ID: http2.SettingEnablePush, Val: 1})
	r.wantGoAway(http2.ErrCodeProtocol)
	<-client.Done()
}

func TestStreamIDsUsedUp(t *testing.T) {
	p := newPair(t, Config{}, Config{}, accept(t, echo))
	p.client.c.mu.Lock()
	p.client.c.nextID = maxStreamID
	p.client.c.mu.Unlock()
	s := p.connect(t, "a:1")
	if p.client.CanTakeStream() {
		t.Error("CanTakeStream after the last id")
	}
	_, err := p.client.Connect(t.Context(), "a:1", nil)
	var unprocessed *UnprocessedError
	if !errors.As(err, &unprocessed) || !errors.Is(err, ErrNoMoreStreams) {
		t.Errorf("got %v", err)
	}
	s.Write([]byte("x"))
	s.CloseWrite()
	if all, err := io.ReadAll(s); string(all) != "x" || err != nil {
		t.Errorf("the last stream read %q, %v", all, err)
	}
	within(t, "the connection to end", func() { <-p.client.Done() })
}

func TestKeepAliveFindsADeadPeer(t *testing.T) {
	cfg := Config{KeepAlive: 5 * time.Millisecond, KeepAliveTimeout: 20 * time.Millisecond}
	r, client := rawServer(t, cfg)
	ch := connectLater(client)
	id := next[*http2.MetaHeadersFrame](r, nil).StreamID
	r.headers(id, false, ":status", "200")
	c := <-ch
	if c.err != nil {
		t.Fatal(c.err)
	}
	for range 3 { // alive as long as PINGs are answered
		ping := next(r, func(f *http2.PingFrame) bool { return !f.IsAck() })
		r.WritePing(true, ping.Data)
	}
	within(t, "the dead peer to be found", func() { <-client.Done() })
	if !errors.Is(client.Err(), ErrPeerSilent) {
		t.Errorf("got %v", client.Err())
	}
	if _, err := c.s.Read(make([]byte, 1)); !errors.Is(err, ErrPeerSilent) {
		t.Errorf("Read: %v", err)
	}
}

func TestSilentPeerFailsTheHandshake(t *testing.T) {
	checkGoroutines(t)
	a, b := tcpPair(t)
	defer b.Close()
	client, err := NewClient(a, Config{HandshakeTimeout: 10 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	within(t, "the handshake to time out", func() { <-client.Done() })
}

func TestOutgoingHeadersAreChecked(t *testing.T) {
	r, client := rawServer(t, Config{}, http2.Setting{ID: http2.SettingMaxHeaderListSize, Val: 1000})
	r.alive()
	for name, f := range map[string]hpack.HeaderField{
		"upper case":        {Name: "X-A", Value: "b"},
		"pseudo":            {Name: ":path", Value: "/"},
		"connection":        {Name: "connection", Value: "close"},
		"newline":           {Name: "baggage", Value: "a\r\nb"},
		"the server's size": {Name: "x", Value: strings.Repeat("y", 1000)},
	} {
		if _, err := client.Connect(t.Context(), "a:1", []hpack.HeaderField{f}); err == nil {
			t.Errorf("%s: sent", name)
		}
	}
	for _, authority := range []string{"", "a\nb"} {
		if _, err := client.Connect(t.Context(), authority, nil); err == nil {
			t.Errorf("authority %q: sent", authority)
		}
	}
	if n := client.Streams(); n != 0 {
		t.Errorf("%d streams", n)
	}
}

// A header list larger than a frame goes out, and comes in, as CONTINUATION.
func TestLargeHeaders(t *testing.T) {
	value := strings.Repeat("ä", 20_000)
	p := newPair(t, Config{}, Config{}, func(_ context.Context, r *Request) {
		r.Accept(200, r.Header)
	})
	s, err := p.client.Connect(t.Context(), "a:1", []hpack.HeaderField{{Name: "x", Value: value}})
	if err != nil {
		t.Fatal(err)
	}
	if h := s.Header(); len(h) != 1 || h[0].Value != value {
		t.Errorf("header did not come back")
	}
}

func TestCloseFailsOpenStreams(t *testing.T) {
	p := newPair(t, Config{}, Config{}, accept(t, func(s *Stream) {
		if _, err := io.ReadAll(s); err == nil {
			t.Error("the server read an orderly end")
		}
	}))
	s := p.connect(t, "a:1")
	failed := make(chan error, 1)
	go func() {
		_, err := s.Read(make([]byte, 1))
		failed <- err
	}()
	p.client.Close()
	if err := <-failed; !errors.Is(err, ErrClosed) {
		t.Errorf("Read: %v", err)
	}
	if _, err := s.Write([]byte("x")); !errors.Is(err, ErrClosed) {
		t.Errorf("Write: %v", err)
	}
}

// Reset wakes a Write that waits for the peer's window, and its bytes are ours
// again.
func TestResetWakesABlockedWrite(t *testing.T) {
	release := make(chan struct{})
	p := newPair(t, Config{}, Config{}, idle(t, release))
	s := p.connect(t, "a:1")
	failed := make(chan error, 1)
	go func() {
		n, err := s.Write(make([]byte, 1<<20))
		if n >= 1<<20 {
			t.Errorf("wrote %d bytes into a smaller window", n)
		}
		failed <- err
	}()
	eventually(t, "the window to fill", func() bool { return blocked(s) })
	s.Reset(http2.ErrCodeCancel)
	wantReset(t, <-failed, http2.ErrCodeCancel, false)
	close(release)
}

func blocked(s *Stream) bool {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	return len(s.pending) > 0 && s.sendWindow == 0
}

// Requests wait for a server that does not read, instead of piling up, and can
// be given up meanwhile.
func TestRequestsWaitForASlowServer(t *testing.T) {
	checkGoroutines(t)
	a, b := net.Pipe() // takes nothing unless it is read
	client, err := NewClient(a, Config{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	const requests = 20
	results := make(chan error, requests)
	header := []hpack.HeaderField{{Name: "x", Value: strings.Repeat("\x7e", 60_000)}}
	for range requests {
		go func() {
			_, err := client.Connect(ctx, "a:1", header)
			results <- err
		}()
	}
	eventually(t, "the output to fill and the others to wait", func() bool {
		client.c.mu.Lock()
		defer client.c.mu.Unlock()
		return len(client.c.out) >= outHeaders && len(client.c.streams)+client.promised == requests
	})
	client.c.mu.Lock()
	if n := len(client.c.out); n > outHeaders+200_000 || client.promised == 0 {
		t.Errorf("%d bytes queued, %d requests waiting", n, client.promised)
	}
	client.c.mu.Unlock()
	cancel()
	within(t, "the requests to give up", func() {
		for range requests {
			if err := <-results; !errors.Is(err, context.Canceled) {
				t.Errorf("got %v", err)
			}
		}
	})
	b.Close()
	client.Close()
}
