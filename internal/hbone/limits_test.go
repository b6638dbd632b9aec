// SPDX-License-Identifier: Apache-2.0

package hbone

import (
	"context"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// flood sends until the connection takes no more, and then expects to be told why.
func (r *raw) flood(send func(i int) error) {
	r.t.Helper()
	r.silent = true
	go func() {
		for i := 0; send(i) == nil && i < 1_000_000; i++ {
		}
	}()
	r.wantGoAway(http2.ErrCodeEnhanceYourCalm)
}

// untilGone never answers.
func untilGone(ctx context.Context, _ *Request) { <-ctx.Done() }

func TestFloodsEndTheConnection(t *testing.T) {
	floods := map[string]func(r *raw, i int) error{
		"PING":     func(r *raw, _ int) error { return r.WritePing(false, [8]byte{}) },
		"SETTINGS": func(r *raw, _ int) error { return r.WriteSettings() },
		"PRIORITY": func(r *raw, _ int) error { return r.WritePriority(1, http2.PriorityParam{Weight: 9}) },
		"unknown":  func(r *raw, _ int) error { return r.WriteRawFrame(0xfa, 0, 0, nil) },
		"empty DATA": func(r *raw, i int) error {
			if i == 0 {
				r.connectRequest(1)
			}
			return r.WriteData(1, false, nil)
		},
		"rapid reset": func(r *raw, i int) error {
			r.connectRequest(uint32(2*i + 1))
			return r.WriteRSTStream(uint32(2*i+1), http2.ErrCodeCancel)
		},
		"provoked reset": func(r *raw, i int) error {
			r.connectRequest(uint32(2*i + 1))
			return r.WriteWindowUpdate(uint32(2*i+1), 0)
		},
		"malformed requests": func(r *raw, i int) error {
			r.headers(uint32(2*i+1), false, ":method", "CONNECT")
			return r.WriteSettingsAck()
		},
		"refused streams": func(r *raw, i int) error {
			r.connectRequest(uint32(2*i + 1))
			return r.WriteSettingsAck()
		},
	}
	for name, send := range floods {
		t.Run(name, func(t *testing.T) {
			r, _ := rawClient(t, Config{MaxStreams: 10}, untilGone)
			r.flood(func(i int) error { return send(r, i) })
		})
	}
}

// CONTINUATION frames without end, with and without content.
func TestContinuationFloodEndsTheConnection(t *testing.T) {
	for _, size := range []int{0, 1} {
		r, _ := rawClient(t, Config{}, nil)
		r.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: r.block(":method", "CONNECT")})
		field := r.block("x", "y")
		r.flood(func(int) error { return r.WriteContinuation(1, false, field[:size*len(field)]) })
	}
}

// Answers pile up if the peer asks and does not read: the connection ends, even
// though no socket write ever returns.
func TestAnswersNobodyReads(t *testing.T) {
	c := newConn(nil, Config{}, true)
	var err error
	for n := 0; err == nil; n++ {
		if n > maxQueued {
			t.Fatal("no end")
		}
		err = c.reply(func() { c.wfr.WritePing(true, [8]byte{}) })
	}
	if !isConnError(err) {
		t.Errorf("got %v", err)
	}
}

func TestHeaderListTooLarge(t *testing.T) {
	r, _ := rawClient(t, Config{MaxHeaderBytes: 1000}, nil)
	r.headers(1, false, ":method", "CONNECT", ":authority", "a:1", "x-long", string(make500()), "y-long", string(make500()))
	f := next[*http2.MetaHeadersFrame](r, nil)
	if f.PseudoValue("status") != "431" || !f.StreamEnded() {
		t.Errorf("got %v", f.Fields)
	}
	r.alive()
}

func make500() []byte {
	b := make([]byte, 500)
	for i := range b {
		b[i] = 'z'
	}
	return b
}

// A reset frees its stream, but not what its handler still does.
func TestHandlersAreBounded(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	r, _ := rawClient(t, Config{MaxStreams: 5}, func(context.Context, *Request) { <-release })
	for i := range uint32(10) {
		r.connectRequest(2*i + 1)
		r.WriteRSTStream(2*i+1, http2.ErrCodeCancel)
	}
	r.connectRequest(21)
	r.wantReset(21, http2.ErrCodeRefusedStream)
}

func TestMeterRefills(t *testing.T) {
	m := newMeter(2, 10)
	now := time.Unix(1000, 0)
	for i, want := range []bool{true, true, false} {
		if m.take(now) != want {
			t.Errorf("take %d: want %v", i, want)
		}
	}
	if !m.take(now.Add(150 * time.Millisecond)) {
		t.Error("nothing refilled after 150 ms at 10 a second")
	}
	m.take(now.Add(time.Hour))
	m.take(now.Add(time.Hour))
	if m.take(now.Add(time.Hour)) {
		t.Error("refilled beyond the burst")
	}
}

func TestResetLogForgetsTheOldest(t *testing.T) {
	l := newResetLog(3)
	for id := uint32(1); id <= 9; id += 2 {
		l.add(id)
	}
	for id, want := range map[uint32]bool{1: false, 3: false, 5: true, 7: true, 9: true} {
		if l.has(id) != want {
			t.Errorf("has(%d) = %v", id, !want)
		}
	}
}
