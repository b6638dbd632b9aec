// SPDX-License-Identifier: Apache-2.0

package hbone

import (
	"bytes"
	"context"
	"net"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// raw is a peer that a test plays frame by frame.
type raw struct {
	*http2.Framer
	t    testing.TB
	conn net.Conn
	enc  *hpack.Encoder
	buf  bytes.Buffer

	silent bool // next does not answer SETTINGS, because another goroutine writes
}

func newRaw(t testing.TB, conn net.Conn) *raw {
	r := &raw{Framer: http2.NewFramer(conn, conn), t: t, conn: conn}
	r.AllowIllegalWrites = true
	r.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	r.enc = hpack.NewEncoder(&r.buf)
	conn.SetDeadline(time.Now().Add(patience))
	return r
}

// rawClient is a raw peer of Serve that has sent preface and settings.
func rawClient(t testing.TB, cfg Config, handle func(context.Context, *Request), settings ...http2.Setting) (*raw, chan error) {
	checkGoroutines(t)
	a, b := tcpPair(t)
	served := make(chan error, 1)
	ctx, cancel := context.WithCancel(context.Background())
	go func() { served <- Serve(ctx, b, cfg, handle) }()
	t.Cleanup(func() {
		a.Close()
		cancel()
		within(t, "Serve to return", func() { served <- <-served })
	})
	r := newRaw(t, a)
	a.Write([]byte(http2.ClientPreface))
	r.WriteSettings(settings...)
	return r, served
}

// rawServer is a raw peer of a Client that has sent settings.
func rawServer(t testing.TB, cfg Config, settings ...http2.Setting) (*raw, *Client) {
	checkGoroutines(t)
	a, b := tcpPair(t)
	client, err := NewClient(a, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close(); client.Close() })
	r := newRaw(t, b)
	preface := make([]byte, len(http2.ClientPreface))
	if _, err := b.Read(preface); err != nil || string(preface) != http2.ClientPreface {
		t.Fatalf("got preface %q, %v", preface, err)
	}
	r.WriteSettings(settings...)
	return r, client
}

// block encodes name, value, name, value, ...
func (r *raw) block(fields ...string) []byte {
	r.buf.Reset()
	for i := 0; i < len(fields); i += 2 {
		r.enc.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	return bytes.Clone(r.buf.Bytes())
}

func (r *raw) headers(id uint32, end bool, fields ...string) {
	r.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: r.block(fields...), EndStream: end, EndHeaders: true})
}

func (r *raw) connectRequest(id uint32) {
	r.headers(id, false, ":method", "CONNECT", ":authority", "10.4.3.20:9080")
}

// next returns the next frame for which match holds, answering SETTINGS on the
// way. It fails the test if there is none.
func next[F http2.Frame](r *raw, match func(F) bool) F {
	r.t.Helper()
	for {
		f, err := r.ReadFrame()
		if err != nil {
			var want F
			r.t.Fatalf("waiting for %T: %v", want, err)
		}
		if s, ok := f.(*http2.SettingsFrame); ok && !s.IsAck() && !r.silent {
			r.WriteSettingsAck()
		}
		if f, ok := f.(F); ok && (match == nil || match(f)) {
			return f
		}
	}
}

// wantGoAway waits for a GOAWAY with the code and the end of the connection.
func (r *raw) wantGoAway(code http2.ErrCode) {
	r.t.Helper()
	f := next[*http2.GoAwayFrame](r, func(f *http2.GoAwayFrame) bool { return f.ErrCode != http2.ErrCodeNo || code == http2.ErrCodeNo })
	if f.ErrCode != code {
		r.t.Errorf("got GOAWAY %s %q, want %s", f.ErrCode, f.DebugData(), code)
	}
}

func (r *raw) wantReset(id uint32, code http2.ErrCode) {
	r.t.Helper()
	f := next[*http2.RSTStreamFrame](r, nil)
	if f.StreamID != id || f.ErrCode != code {
		r.t.Errorf("got RST_STREAM %s on %d, want %s on %d", f.ErrCode, f.StreamID, code, id)
	}
}

// alive checks that the connection still answers.
func (r *raw) alive() {
	r.t.Helper()
	r.WritePing(false, [8]byte{1, 2, 3})
	next(r, func(f *http2.PingFrame) bool { return f.IsAck() && f.Data == [8]byte{1, 2, 3} })
}
