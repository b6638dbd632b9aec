// SPDX-License-Identifier: Apache-2.0

package hbone

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// netHTTPServer serves one connection with the HTTP/2 server of x/net.
func netHTTPServer(t *testing.T, h http.HandlerFunc) *Client {
	checkGoroutines(t)
	a, b := tcpPair(t)
	go (&http2.Server{}).ServeConn(b, &http2.ServeConnOpts{Handler: h})
	client, err := NewClient(a, Config{})
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

// netHTTPClient is the HTTP/2 client of x/net on one connection to our server.
func netHTTPClient(t *testing.T, handle func(context.Context, *Request)) *http2.ClientConn {
	checkGoroutines(t)
	a, b := tcpPair(t)
	served := make(chan error, 1)
	go func() { served <- Serve(t.Context(), b, Config{}, handle) }()
	tr := &http2.Transport{AllowHTTP: true, DialTLSContext: func(context.Context, string, string, *tls.Config) (net.Conn, error) { return a, nil }}
	cc, err := tr.NewClientConn(a)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cc.Close()
		within(t, "Serve to return", func() { <-served })
	})
	return cc
}

func TestServerAgainstNetHTTP(t *testing.T) {
	const size = 16 << 20
	cc := netHTTPClient(t, func(_ context.Context, r *Request) {
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
			req, _ := http.NewRequestWithContext(t.Context(), http.MethodConnect, "https://10.4.3.20:9080", io.NopCloser(src))
			resp, err := cc.RoundTrip(req)
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
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://10.4.3.20:9080/productpage", nil)
	resp, err := cc.RoundTrip(req)
	if err != nil || resp.StatusCode != 404 {
		t.Errorf("GET: %v, %v", resp, err)
	}
}

func TestServerResetsNetHTTP(t *testing.T) {
	cc := netHTTPClient(t, accept(t, func(s *Stream) { s.Reset(http2.ErrCodeConnect) }))
	body, end := io.Pipe()
	defer end.Close()
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodConnect, "https://a:1", body)
	resp, err := cc.RoundTrip(req)
	if err == nil {
		_, err = resp.Body.Read(make([]byte, 1))
	}
	var se http2.StreamError
	if !errors.As(err, &se) || se.Code != http2.ErrCodeConnect {
		t.Errorf("got %v, want CONNECT_ERROR", err)
	}
}
