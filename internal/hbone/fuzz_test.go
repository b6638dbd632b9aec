// SPDX-License-Identifier: Apache-2.0

package hbone

import (
	"bytes"
	"context"
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// FuzzServe gives Serve whatever bytes after the preface. It must neither
// panic nor hang nor leave a goroutine behind. Its seeds run with every test;
// "go test -fuzz FuzzServe -fuzztime 60s" looks for more.
func FuzzServe(f *testing.F) {
	for _, seed := range fuzzSeeds(f) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, frames []byte) {
		checkGoroutines(t)
		conn := &script{in: io.MultiReader(bytes.NewReader([]byte(http2.ClientPreface)), bytes.NewReader(frames))}
		within(t, "Serve to return", func() {
			Serve(context.Background(), conn, Config{StreamWindow: 1000, MaxStreams: 8, MaxHeaderBytes: 4096}, func(_ context.Context, r *Request) {
				if s, err := r.Accept(200, r.Header); err == nil {
					echo(s)
				}
			})
		})
	})
}

// FuzzClient plays the server in the same way.
func FuzzClient(f *testing.F) {
	for _, seed := range fuzzSeeds(f) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, frames []byte) {
		checkGoroutines(t)
		conn := &script{in: bytes.NewReader(frames)}
		client, err := NewClient(conn, Config{StreamWindow: 1000})
		if err != nil {
			t.Fatal(err)
		}
		within(t, "Connect and Close to return", func() {
			if s, err := client.Connect(context.Background(), "a:1", nil); err == nil {
				io.Copy(io.Discard, s)
				s.Close()
			}
			client.Close()
		})
	})
}

func fuzzSeeds(f *testing.F) [][]byte {
	var all [][]byte
	seed := func(write func(r *raw)) {
		var buf bytes.Buffer
		r := newRaw(f, &script{out: &buf})
		r.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 100})
		write(r)
		all = append(all, buf.Bytes())
	}
	seed(func(r *raw) {
		r.connectRequest(1)
		r.WriteData(1, false, []byte("hello"))
		r.WriteDataPadded(1, true, []byte("bye"), make([]byte, 3))
	})
	seed(func(r *raw) {
		r.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: r.block(":method", "CONNECT")})
		r.WriteContinuation(1, true, r.block(":authority", "a:1"))
		r.WriteRSTStream(1, http2.ErrCodeCancel)
		r.WriteGoAway(0, http2.ErrCodeNo, nil)
	})
	seed(func(r *raw) {
		r.headers(1, false, ":status", "100")
		r.headers(1, false, ":status", "200", "server", "envoy")
		r.WriteData(1, false, make([]byte, 2000))
		r.headers(1, true, "trailer", "x")
	})
	seed(func(r *raw) {
		r.WritePing(false, [8]byte{1})
		r.WriteWindowUpdate(0, 1000)
		r.WriteWindowUpdate(1, 0)
		r.WriteSettingsAck()
		r.WriteRawFrame(0xfa, 1, 2, []byte("?"))
	})
	return all
}

// script is a connection that reads what it was given and then ends.
type script struct {
	in  io.Reader
	out io.Writer
	net.Conn
}

func (s *script) Read(p []byte) (int, error) { return s.in.Read(p) }

func (s *script) Write(p []byte) (int, error) {
	if s.out == nil {
		return len(p), nil
	}
	return s.out.Write(p)
}

func (s *script) Close() error                     { return nil }
func (s *script) SetDeadline(time.Time) error      { return nil }
func (s *script) SetReadDeadline(time.Time) error  { return nil }
func (s *script) SetWriteDeadline(time.Time) error { return nil }
