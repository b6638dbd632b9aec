// SPDX-License-Identifier: Apache-2.0

package hbone

import (
	"context"
	"io"
	"testing"

	"golang.org/x/net/http2"
)

// idle keeps a tunnel open until the test ends it by closing release.
func idle(t testing.TB, release chan struct{}) func(context.Context, *Request) {
	return accept(t, func(*Stream) { <-release })
}

// A stream nobody reads takes its window and no more, and the others go on even
// though it swallowed more than the whole connection's window.
func TestSlowReaderHoldsOnlyItsWindow(t *testing.T) {
	const window = 256 << 10
	cfg := Config{StreamWindow: window, ConnWindow: 100_000}
	slow := make(chan *Stream, 1)
	release := make(chan struct{})
	p := newPair(t, cfg, cfg, accept(t, func(s *Stream) {
		b := make([]byte, 1)
		if io.ReadFull(s, b); b[0] == 'e' {
			echo(s)
			return
		}
		slow <- s
		<-release
		if n, err := io.Copy(io.Discard, s); n != 10*window || err != nil {
			t.Errorf("slow stream read %d bytes, %v", n, err)
		}
		s.CloseWrite()
	}))
	stuck := p.connect(t, "slow:1")
	go func() {
		stuck.Write([]byte{'s'})
		stuck.Write(make([]byte, 10*window))
		stuck.CloseWrite()
	}()
	s := <-slow
	eventually(t, "the window to fill", func() bool { return held(s) >= window-1 })

	quick := p.connect(t, "quick:1")
	go func() {
		quick.Write([]byte{'e'})
		quick.Write(make([]byte, 4*window))
		quick.CloseWrite()
	}()
	if _, n := hashOf(t, quick); n != 4*window {
		t.Errorf("echo beside the slow stream: got %d bytes", n)
	}
	if n := held(s); n > window {
		t.Errorf("slow stream holds %d bytes, window %d", n, window)
	}
	close(release)
	within(t, "the slow stream to finish", func() { <-stuck.Done() })
}

func held(s *Stream) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.size
}

// A million one-byte frames must not take a chunk each.
func TestTinyFramesShareChunks(t *testing.T) {
	var b recvBuffer
	for range 100_000 {
		b.reserve(1)[0] = 'x'
		b.commit(1)
	}
	chunks := 0
	for k := b.head; k != nil; k = k.next {
		chunks++
	}
	if limit := 100_000/smallChunk + 1; chunks > limit {
		t.Errorf("%d chunks for 100,000 bytes, want at most %d", chunks, limit)
	}
}

func TestWindowChangesMidStream(t *testing.T) {
	r, client := rawServer(t, Config{}, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 10})
	go func() {
		s, err := client.Connect(context.Background(), "a:1", nil)
		if err != nil {
			t.Errorf("connecting: %v", err)
			return
		}
		s.Write(make([]byte, 100))
		s.CloseWrite()
	}()
	id := next[*http2.MetaHeadersFrame](r, nil).StreamID
	// The client has applied a window of 10 when the acknowledgement is there.
	r.alive()
	r.headers(id, false, ":status", "200")
	wantData(r, 10)
	r.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
	r.WriteWindowUpdate(id, 15) // -10 + 15
	wantData(r, 5)
	r.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1000})
	wantData(r, 85)
	wantData(r, 0)
}

func wantData(r *raw, size int) {
	r.t.Helper()
	if f := next[*http2.DataFrame](r, nil); int(f.Length) != size {
		r.t.Errorf("got DATA of %d bytes, want %d", f.Length, size)
	}
}

func TestFrameSizeChangesMidStream(t *testing.T) {
	r, client := rawServer(t, Config{}, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 20})
	r.WriteWindowUpdate(0, 1<<20)
	write := make(chan int)
	defer close(write)
	go func() {
		s, err := client.Connect(context.Background(), "a:1", nil)
		if err != nil {
			t.Errorf("connecting: %v", err)
		}
		for n := range write {
			s.Write(make([]byte, n))
		}
	}()
	id := next[*http2.MetaHeadersFrame](r, nil).StreamID
	r.headers(id, false, ":status", "200")
	write <- 20_000
	wantData(r, 16384)
	wantData(r, 20_000-16384)
	r.WriteSettings(http2.Setting{ID: http2.SettingMaxFrameSize, Val: 17_000})
	r.alive()
	write <- 20_000
	wantData(r, 17_000)
	wantData(r, 3_000)
}

// Two streams with much to send get turns.
func TestStreamsTakeTurns(t *testing.T) {
	r, client := rawServer(t, Config{}, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 30})
	for range 2 {
		go func() {
			s, err := client.Connect(context.Background(), "a:1", nil)
			if err != nil {
				return
			}
			s.Write(make([]byte, 10<<20))
		}()
		r.headers(next[*http2.MetaHeadersFrame](r, nil).StreamID, false, ":status", "200")
	}
	eventually(t, "both streams to queue", func() bool { return queued(client) == 2 })
	r.WriteWindowUpdate(0, 8<<20)
	got := map[uint32]int{}
	for range 100 {
		got[next[*http2.DataFrame](r, nil).StreamID]++
	}
	if got[1] < 30 || got[3] < 30 {
		t.Errorf("100 frames were divided %v", got)
	}
}

func queued(cl *Client) int {
	cl.c.mu.Lock()
	defer cl.c.mu.Unlock()
	n := 0
	for s := cl.c.sendq.head; s != nil; s = s.nextSend {
		n++
	}
	return n
}

// Padding counts against the windows, and nobody but us can give it back.
func TestPaddingIsGivenBack(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	r, _ := rawClient(t, Config{StreamWindow: 65535}, idle(t, release))
	r.connectRequest(1)
	pad := make([]byte, 255)
	for range 300 { // 76,800 bytes of frames, 0 of content
		r.WriteDataPadded(1, false, nil, pad)
	}
	f := next(r, func(f *http2.WindowUpdateFrame) bool { return f.StreamID == 1 })
	if f.Increment < 65535/2 {
		t.Errorf("gave %d bytes back", f.Increment)
	}
	r.alive()
}

func TestStreamWindowIsEnforced(t *testing.T) {
	r, _ := rawClient(t, Config{StreamWindow: 100_000}, untilGone)
	r.connectRequest(1)
	for range 7 {
		r.WriteData(1, false, make([]byte, 16384))
	}
	r.wantReset(1, http2.ErrCodeFlowControl)
	r.WriteData(1, false, make([]byte, 16384)) // late, and harmless
	r.alive()
}

func TestConnectionWindowIsEnforced(t *testing.T) {
	c := newConn(nil, Config{ConnWindow: 100_000}, true)
	c.recvLeft = 10
	if err := c.receiveWindow(11); err == nil {
		t.Error("11 bytes fit into a window of 10")
	}
}

func TestWriteToDeliversEverything(t *testing.T) {
	const size = 8 << 20
	p := newPair(t, Config{}, Config{}, accept(t, func(s *Stream) {
		if n, err := io.Copy(s, s); n != size || err != nil {
			t.Errorf("copied %d bytes, %v", n, err)
		}
		s.CloseWrite()
	}))
	s := p.connect(t, "a:1")
	src, sent := randomBytes(7, size)
	go func() { io.Copy(s, src); s.CloseWrite() }()
	if got, n := hashOf(t, s); n != size || string(got) != string(sent.Sum(nil)) {
		t.Errorf("got %d bytes or a wrong checksum", n)
	}
}
