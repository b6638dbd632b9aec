// SPDX-License-Identifier: Apache-2.0

package hbone

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// The server's context ends: the open stream finishes, no new one is taken.
func TestServerDrains(t *testing.T) {
	p := newPair(t, Config{}, Config{}, accept(t, echo))
	s := p.connect(t, "a:1")
	p.drain()
	eventually(t, "the client to hear of it", func() bool { return !p.client.CanTakeStream() })
	_, err := p.client.Connect(t.Context(), "a:1", nil)
	var unprocessed *UnprocessedError
	if !errors.As(err, &unprocessed) {
		t.Errorf("got %v, want it safe to retry", err)
	}
	s.Write([]byte("still here"))
	s.CloseWrite()
	if all, err := io.ReadAll(s); string(all) != "still here" || err != nil {
		t.Errorf("read %q, %v", all, err)
	}
	within(t, "the connection to end", func() { <-p.client.Done() })
	within(t, "Serve to return", func() {
		if err := <-p.served; err != nil {
			t.Errorf("Serve: %v", err)
		}
		p.served <- nil
	})
}

// A stream that does not finish in time is cut off.
func TestDrainTimeout(t *testing.T) {
	p := newPair(t, Config{}, Config{DrainTimeout: 20 * time.Millisecond}, func(ctx context.Context, r *Request) {
		r.Accept(200, nil)
		<-ctx.Done()
	})
	s := p.connect(t, "a:1")
	p.drain()
	within(t, "the stream to be cut", func() { <-s.Done() })
	if _, err := s.Read(make([]byte, 1)); err == nil || err == io.EOF {
		t.Errorf("Read: %v", err)
	}
	if err := <-p.served; err != nil {
		t.Errorf("Serve: %v", err)
	}
	p.served <- nil
}

func TestClientGoAwayWaitsForStreams(t *testing.T) {
	p := newPair(t, Config{}, Config{}, accept(t, echo))
	s := p.connect(t, "a:1")
	left := make(chan error, 1)
	go func() { left <- p.client.GoAway(context.Background()) }()
	eventually(t, "no more streams", func() bool { return !p.client.CanTakeStream() })
	s.Write([]byte("x"))
	s.CloseWrite()
	if all, err := io.ReadAll(s); string(all) != "x" || err != nil {
		t.Errorf("read %q, %v", all, err)
	}
	within(t, "GoAway", func() {
		if err := <-left; err != nil {
			t.Errorf("GoAway: %v", err)
		}
	})
	if !errors.Is(p.client.Err(), ErrClosed) {
		t.Errorf("Err is %v", p.client.Err())
	}
}

func TestClientGoAwayGivesUp(t *testing.T) {
	release := make(chan struct{})
	p := newPair(t, Config{}, Config{}, idle(t, release))
	s := p.connect(t, "a:1")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := p.client.GoAway(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	if _, err := s.Read(make([]byte, 1)); !errors.Is(err, ErrClosed) {
		t.Errorf("Read: %v", err)
	}
	close(release)
}

// A server's GOAWAY below an open request makes that one safe to retry.
func TestGoAwayBelowARequest(t *testing.T) {
	r, client := rawServer(t, Config{})
	type answer struct {
		s   *Stream
		err error
	}
	answers := make(chan answer, 2)
	for range 2 {
		go func() {
			s, err := client.Connect(context.Background(), "a:1", nil)
			answers <- answer{s, err}
		}()
		next[*http2.MetaHeadersFrame](r, nil)
	}
	r.WriteGoAway(1, http2.ErrCodeNo, []byte("bye"))
	refused := <-answers
	var unprocessed *UnprocessedError
	if !errors.As(refused.err, &unprocessed) {
		t.Fatalf("got %v", refused.err)
	}
	r.headers(1, false, ":status", "200")
	kept := <-answers
	if kept.err != nil {
		t.Fatal(kept.err)
	}
	kept.s.Write([]byte("x"))
	wantData(r, 1)
	r.WriteData(1, true, nil)
	kept.s.CloseWrite()
	within(t, "the end after the last stream", func() { <-client.Done() })
}

// GOAWAY with an error code ends up in the errors of later requests.
func TestGoAwayReason(t *testing.T) {
	r, client := rawServer(t, Config{})
	r.WriteGoAway(0, http2.ErrCodeEnhanceYourCalm, []byte("too many pings"))
	within(t, "the end", func() { <-client.Done() })
	_, err := client.Connect(t.Context(), "a:1", nil)
	var ce *ConnError
	if !errors.As(err, &ce) || ce.Code != http2.ErrCodeEnhanceYourCalm || ce.Reason != "too many pings" {
		t.Errorf("got %v", err)
	}
}

// Requests that were on their way at the first GOAWAY are still served.
func TestDrainServesWhatWasOnItsWay(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	checkGoroutines(t)
	a, b := tcpPair(t)
	served := make(chan error, 1)
	go func() { served <- Serve(ctx, b, Config{}, accept(t, echo)) }()
	r := newRaw(t, a)
	a.Write([]byte(http2.ClientPreface))
	r.WriteSettings()
	r.alive()
	cancel()
	first := next[*http2.GoAwayFrame](r, nil)
	if first.LastStreamID != maxStreamID {
		t.Errorf("first GOAWAY names %d", first.LastStreamID)
	}
	r.connectRequest(1) // before the PING's answer
	ping := next(r, func(f *http2.PingFrame) bool { return !f.IsAck() })
	r.WritePing(true, ping.Data)
	if second := next[*http2.GoAwayFrame](r, nil); second.LastStreamID != 1 {
		t.Errorf("second GOAWAY names %d", second.LastStreamID)
	}
	r.connectRequest(3) // too late, ignored
	r.alive()
	r.WriteData(1, true, []byte("x"))
	wantData(r, 1)
	if err := <-served; err != nil {
		t.Errorf("Serve: %v", err)
	}
}
