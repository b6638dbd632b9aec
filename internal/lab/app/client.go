// SPDX-License-Identifier: Apache-2.0

package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Call is what one request saw.
type Call struct {
	Status int           `json:"status"`
	Local  string        `json:"local"`  // the socket's own address
	Remote string        `json:"remote"` // the address that answers, as the socket has it
	Peer   string        `json:"peer"`   // the address the server saw
	Body   string        `json:"body"`
	Took   time.Duration `json:"took_ns"`
}

// Client calls the server. Its zero value is ready.
type Client struct {
	Timeout   time.Duration // of one request, 0 for none
	KeepAlive bool          // many requests over one connection
}

func (c Client) http(conns int) *http.Client {
	return &http.Client{
		Timeout: c.Timeout,
		Transport: &http.Transport{
			DialContext:         (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
			DisableKeepAlives:   !c.KeepAlive,
			MaxIdleConnsPerHost: conns,
			DisableCompression:  true,
			WriteBufferSize:     128 << 10,
			ReadBufferSize:      128 << 10,
		},
	}
}

// Get makes one request.
func (c Client) Get(ctx context.Context, url string) (*Call, error) {
	h := c.http(1)
	defer h.CloseIdleConnections()
	return get(ctx, h, url)
}

func get(ctx context.Context, h *http.Client, url string) (*Call, error) {
	call := &Call{}
	trace := &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
		call.Local, call.Remote = info.Conn.LocalAddr().String(), info.Conn.RemoteAddr().String()
	}}
	req, err := http.NewRequestWithContext(httptrace.WithClientTrace(ctx, trace), http.MethodGet, url, nil)
	if err != nil {
		return nil, fmt.Errorf("calling %s: %w", url, err)
	}
	start := time.Now()
	resp, err := h.Do(req)
	if err != nil {
		return nil, fmt.Errorf("calling %s: %w", url, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("reading the answer of %s: %w", url, err)
	}
	call.Status, call.Body, call.Peer = resp.StatusCode, string(body), resp.Header.Get(PeerHeader)
	call.Took = time.Since(start)
	return call, nil
}

// Load is what many requests gave.
type Load struct {
	Requests   int           `json:"requests"`
	Concurrent int           `json:"concurrent"`
	OK         int           `json:"ok"`
	FirstError string        `json:"first_error,omitempty"`
	Took       time.Duration `json:"took_ns"`
	Slowest    time.Duration `json:"slowest_ns"`
}

// Load makes the given number of requests from each of several callers at once.
// An answer counts only with status 200 and the page's title in it.
func (c Client) Load(ctx context.Context, url string, requests, concurrent int) *Load {
	h := c.http(concurrent)
	defer h.CloseIdleConnections()
	l := &Load{Requests: requests * concurrent, Concurrent: concurrent}
	var ok atomic.Int64
	var mu sync.Mutex
	start := time.Now()
	var callers sync.WaitGroup
	for range concurrent {
		callers.Go(func() {
			for range requests {
				call, err := get(ctx, h, url)
				if err == nil && (call.Status != http.StatusOK || !strings.Contains(call.Body, Title)) {
					err = fmt.Errorf("status %d and %d bytes, not the page", call.Status, len(call.Body))
				}
				mu.Lock()
				switch {
				case err == nil:
					ok.Add(1)
					l.Slowest = max(l.Slowest, call.Took)
				case l.FirstError == "":
					l.FirstError = err.Error()
				}
				mu.Unlock()
			}
		})
	}
	callers.Wait()
	l.OK, l.Took = int(ok.Load()), time.Since(start)
	return l
}

// Transfer is what one large body gave.
type Transfer struct {
	Direction string        `json:"direction"` // up or down
	Bytes     int64         `json:"bytes"`
	SHA256    string        `json:"sha256"`
	Took      time.Duration `json:"took_ns"`
}

// ErrNotWhole says that a body arrived with other bytes than were sent.
var ErrNotWhole = errors.New("the body did not arrive whole")

// Upload sends n bytes and holds the server's checksum against its own.
func (c Client) Upload(ctx context.Context, base string, n int64) (*Transfer, error) {
	h := c.http(1)
	defer h.CloseIdleConnections()
	body := newStream(n)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/upload", body)
	if err != nil {
		return nil, fmt.Errorf("uploading: %w", err)
	}
	req.ContentLength = n
	start := time.Now()
	resp, err := h.Do(req)
	if err != nil {
		return nil, fmt.Errorf("uploading: %w", err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("uploading: %w", err)
	}
	if want := fmt.Sprintf("%d %s\n", n, body.Sum()); string(answer) != want {
		return nil, fmt.Errorf("uploading %d bytes: %w: server has %q, sent %q", n, ErrNotWhole, answer, want)
	}
	return &Transfer{Direction: "up", Bytes: n, SHA256: body.Sum(), Took: time.Since(start)}, nil
}

// Download receives n bytes and holds their checksum against what it must be.
func (c Client) Download(ctx context.Context, base string, n int64) (*Transfer, error) {
	h := c.http(1)
	defer h.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("%s/download?bytes=%d", base, n), nil)
	if err != nil {
		return nil, fmt.Errorf("downloading: %w", err)
	}
	start := time.Now()
	resp, err := h.Do(req)
	if err != nil {
		return nil, fmt.Errorf("downloading: %w", err)
	}
	defer resp.Body.Close()
	got, sum, err := digest(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("downloading: %w after %d bytes", err, got)
	}
	took := time.Since(start)
	want, err := expected(n)
	if err != nil {
		return nil, fmt.Errorf("downloading: %w", err)
	}
	if got != n || sum != want {
		return nil, fmt.Errorf("downloading %d bytes: %w: got %d with %s, want %s", n, ErrNotWhole, got, sum, want)
	}
	return &Transfer{Direction: "down", Bytes: n, SHA256: sum, Took: took}, nil
}
