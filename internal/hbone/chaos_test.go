// SPDX-License-Identifier: Apache-2.0

package hbone

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// Many tunnels at once end in every way there is, at random moments, and each
// one still gets its own bytes and nothing else.
func TestManyStreamsEndInEveryWay(t *testing.T) {
	const workers, rounds = 64, 40
	small := Config{StreamWindow: 20_000, ConnWindow: 70_000, MaxStreams: 32}
	p := newPair(t, Config{}, small, func(_ context.Context, r *Request) {
		switch rand.IntN(10) {
		case 0:
			r.Reject(503, nil)
		case 1: // no answer at all
		default:
			if s, err := r.Accept(200, nil); err == nil {
				endSomehow(t, s, rand.IntN(4))
			}
		}
	})
	var wg sync.WaitGroup
	for worker := range workers {
		wg.Go(func() {
			for range rounds {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rand.IntN(50)+1)*time.Millisecond)
				s, err := p.client.Connect(ctx, "a:1", nil)
				cancel()
				if err == nil {
					useSomehow(t, s, byte(worker))
				}
			}
		})
	}
	within(t, "the streams to end", wg.Wait)
	eventually(t, "all streams to be gone", func() bool { return p.client.Streams() == 0 })
	if p.client.Err() != nil {
		t.Errorf("connection ended with %v", p.client.Err())
	}
}

func endSomehow(t *testing.T, s *Stream, way int) {
	switch way {
	case 0:
		echo(s)
	case 1:
		io.CopyN(s, s, int64(rand.IntN(50_000)))
		s.Reset(http2.ErrCodeConnect)
	case 2:
		io.Copy(s, s)
		s.CloseWrite()
	case 3:
		io.CopyN(io.Discard, s, int64(rand.IntN(50_000)))
		s.CloseWrite()
	}
}

// useSomehow writes one byte value and checks that no other comes back.
func useSomehow(t *testing.T, s *Stream, value byte) {
	written := make(chan struct{})
	go func() {
		defer close(written)
		b := bytes.Repeat([]byte{value}, 1+rand.IntN(60_000))
		s.Write(b)
		clear(b) // it is ours again
		switch rand.IntN(4) {
		case 0:
			s.Reset(http2.ErrCodeCancel)
		case 1:
			s.Close()
		default:
			s.CloseWrite()
		}
	}()
	got, _ := io.ReadAll(s)
	if bytes.Count(got, []byte{value}) != len(got) {
		t.Errorf("stream %d of %d got bytes of another", s.id, value)
	}
	s.Close()
	<-written
}

func TestEchoOverTLS(t *testing.T) {
	const size = 16 << 20
	a, b := tlsPair(t)
	p := pairOn(t, a, b, Config{}, Config{}, accept(t, echo))
	s := p.connect(t, "a:1")
	src, sent := randomBytes(3, size)
	go func() { io.Copy(s, src); s.CloseWrite() }()
	if got, n := hashOf(t, s); n != size || string(got) != string(sent.Sum(nil)) {
		t.Errorf("got %d bytes or a wrong checksum", n)
	}
}

// The socket ends in the middle of a frame.
func TestConnectionLostInAFrame(t *testing.T) {
	heard := make(chan error, 1)
	r, served := rawClient(t, Config{}, accept(t, func(s *Stream) {
		all, err := io.ReadAll(s)
		if string(all) != "whole" && string(all) != "wholehalf" {
			t.Errorf("read %q", all)
		}
		heard <- err
	}))
	r.connectRequest(1)
	next[*http2.MetaHeadersFrame](r, nil)
	r.WriteData(1, false, []byte("whole"))
	r.conn.Write(append([]byte{0, 0, 100, 0, 0, 0, 0, 0, 1}, "half"...))
	r.conn.Close()
	if err := <-heard; !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("stream: %v", err)
	}
	err := <-served
	served <- err
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("Serve: %v", err)
	}
}

func TestBufferWhileItIsFilled(t *testing.T) {
	var b recvBuffer
	copy(b.reserve(5), "hello")
	b.commit(5)
	space := b.reserve(5) // the read loop waits for these bytes
	k := b.take()
	if got := string(k.b[k.r:k.w]); got != "hello" || b.size != 0 {
		t.Errorf("took %q, %d bytes left", got, b.size)
	}
	k.free()
	copy(space, "world")
	b.commit(5)
	p := make([]byte, 10)
	if n := b.read(p); string(p[:n]) != "world" {
		t.Errorf("read %q", p[:n])
	}
	b.reserve(3)
	b.drop()
	b.commit(3)
	if b.size != 0 || b.reserve(1) != nil {
		t.Error("a dropped buffer takes bytes")
	}
}

func TestSendQueueDropsFromEverywhere(t *testing.T) {
	for drop := range 3 {
		var q sendQueue
		s := []*Stream{{id: 0}, {id: 1}, {id: 2}}
		for _, x := range s {
			q.push(x)
		}
		q.drop(s[drop])
		extra := &Stream{id: 3}
		q.push(extra)
		var got []uint32
		for q.head != nil {
			got = append(got, q.head.id)
			q.pop()
		}
		if len(got) != 3 || got[2] != 3 || s[drop].queued || q.tail != nil {
			t.Errorf("without %d: %v", drop, got)
		}
	}
}
