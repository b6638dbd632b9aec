// SPDX-License-Identifier: Apache-2.0

package hbone

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// cleartextHTTP2 makes net/http speak HTTP/2 without TLS, and nothing else.
func cleartextHTTP2() *http.Protocols {
	p := new(http.Protocols)
	p.SetUnencryptedHTTP2(true)
	return p
}

// netHTTPServer serves one connection with net/http's HTTP/2 server.
func netHTTPServer(t *testing.T, h http.HandlerFunc) *Client {
	checkGoroutines(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: h, Protocols: cleartextHTTP2()}
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	client, err := NewClient(conn, Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

// echoHandler is a CONNECT proxy's handler as net/http lets one write it.
func echoHandler(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodConnect || r.Header.Get("X-Envoy-Original-Dst-Host") != r.Host {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	rc := http.NewResponseController(w)
	w.WriteHeader(http.StatusOK)
	rc.Flush()
	buf := make([]byte, 32<<10)
	for {
		n, err := r.Body.Read(buf)
		w.Write(buf[:n])
		rc.Flush()
		if err != nil {
			return
		}
	}
}

func TestClientAgainstNetHTTP(t *testing.T) {
	const size = 16 << 20
	client := netHTTPServer(t, echoHandler)
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			s, err := client.Connect(t.Context(), "10.4.3.20:9080",
				[]hpack.HeaderField{{Name: "x-envoy-original-dst-host", Value: "10.4.3.20:9080"}})
			if err != nil {
				t.Error(err)
				return
			}
			src, sent := randomBytes(byte(i), size)
			go func() { io.Copy(s, src); s.CloseWrite() }()
			got, n := hashOf(t, s)
			if n != size || string(got) != string(sent.Sum(nil)) {
				t.Errorf("got %d bytes or a wrong checksum", n)
			}
		})
	}
	wg.Wait()
	_, err := client.Connect(t.Context(), "10.4.3.20:9080", nil)
	var status *StatusError
	if !errors.As(err, &status) || status.Status != 404 {
		t.Errorf("got %v, want status 404", err)
	}
}

func TestClientIsResetByNetHTTP(t *testing.T) {
	client := netHTTPServer(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusOK)
		http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	s, err := client.Connect(t.Context(), "a:1", nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Read(make([]byte, 1))
	wantReset(t, err, http2.ErrCodeInternal, true)
}

// netHTTPClient is net/http's HTTP/2 client, and every connection it makes
// leads to our server.
func netHTTPClient(t *testing.T, handle func(context.Context, *Request)) *http.Transport {
	checkGoroutines(t)
	ctx, cancel := context.WithCancel(context.Background())
	var serving sync.WaitGroup
	tr := &http.Transport{Protocols: cleartextHTTP2()}
	tr.DialContext = func(context.Context, string, string) (net.Conn, error) {
		a, b := tcpPair(t)
		serving.Go(func() { Serve(ctx, b, Config{}, handle) })
		return a, nil
	}
	t.Cleanup(func() {
		cancel()
		within(t, "Serve to return", serving.Wait)
	})
	return tr
}

func TestServerAgainstNetHTTP(t *testing.T) {
	const size = 16 << 20
	tr := netHTTPClient(t, func(_ context.Context, r *Request) {
		if r.Method != "CONNECT" {
			r.Reject(404, nil)
			return
		}
		if s, err := r.Accept(200, nil); err == nil {
			echo(s)
		}
	})
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			src, sent := randomBytes(byte(i), size)
			req, _ := http.NewRequestWithContext(t.Context(), http.MethodConnect, "http://10.4.3.20:9080", io.NopCloser(src))
			resp, err := tr.RoundTrip(req)
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			got, n := hashOf(t, resp.Body)
			if n != size || string(got) != string(sent.Sum(nil)) {
				t.Errorf("got %d bytes or a wrong checksum", n)
			}
		})
	}
	wg.Wait()
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://10.4.3.20:9080/productpage", nil)
	resp, err := tr.RoundTrip(req)
	if err != nil || resp.StatusCode != 404 {
		t.Errorf("GET: %v, %v", resp, err)
	}
}

func TestServerResetsNetHTTP(t *testing.T) {
	tr := netHTTPClient(t, accept(t, func(s *Stream) { s.Reset(http2.ErrCodeConnect) }))
	body, end := io.Pipe()
	defer end.Close()
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodConnect, "http://a:1", body)
	resp, err := tr.RoundTrip(req)
	if err == nil {
		_, err = resp.Body.Read(make([]byte, 1))
	}
	var se http2.StreamError
	if !errors.As(err, &se) || se.Code != http2.ErrCodeConnect {
		t.Errorf("got %v, want CONNECT_ERROR", err)
	}
}
