// SPDX-License-Identifier: Apache-2.0

package app

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"
)

// PeerHeader carries the address and port that the server saw the caller at.
const PeerHeader = "X-Lab-Peer"

// Title stands in every page, and must not stand in any packet between the
// nodes.
const Title = "Simple Bookstore App"

// mostBytes is the largest body the server sends, 4 GiB.
const mostBytes = 4 << 30

// Handler is the server's pages: / and /productpage, /upload (answers with the
// count and SHA-256 of the body), /download?bytes=N and /echo.
func Handler(name string) http.Handler {
	mux := http.NewServeMux()
	page := func(w http.ResponseWriter, r *http.Request) { writePage(w, r, name) }
	mux.HandleFunc("GET /{$}", page)
	mux.HandleFunc("GET /productpage", page)
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("POST /upload", upload)
	mux.HandleFunc("GET /download", download)
	mux.HandleFunc("POST /echo", func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(w, r.Body); err != nil {
			panic(http.ErrAbortHandler) // the caller must not take it for whole
		}
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(PeerHeader, r.RemoteAddr)
		mux.ServeHTTP(w, r)
	})
}

func writePage(w http.ResponseWriter, r *http.Request, name string) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	local := r.Context().Value(http.LocalAddrContextKey)
	fmt.Fprintf(w, `<!DOCTYPE html>
<html>
<head><title>%s</title></head>
<body>
<h1>The Comedy of Errors</h1>
<p>Served by %s at %v for Host %s.</p>
<p>The caller's address as seen here: %s</p>
</body>
</html>
`, Title, name, local, r.Host, r.RemoteAddr)
}

func upload(w http.ResponseWriter, r *http.Request) {
	sum := sha256.New()
	n, err := io.Copy(sum, r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	fmt.Fprintf(w, "%d %s\n", n, hex.EncodeToString(sum.Sum(nil)))
}

func download(w http.ResponseWriter, r *http.Request) {
	n, err := strconv.ParseInt(r.URL.Query().Get("bytes"), 10, 64)
	if err != nil || n < 0 || n > mostBytes {
		http.Error(w, "bytes must be a number from 0 to 4294967296", http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.FormatInt(n, 10))
	if _, err := io.CopyBuffer(onlyWriter{w}, newStream(n), make([]byte, 128<<10)); err != nil {
		panic(http.ErrAbortHandler)
	}
}

// onlyWriter keeps io.CopyBuffer on its buffer.
type onlyWriter struct{ io.Writer }

// Serve answers until ctx ends.
func Serve(ctx context.Context, l net.Listener, name string) error {
	server := &http.Server{Handler: Handler(name), ReadHeaderTimeout: 30 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(l) }()
	select {
	case err := <-failed:
		return fmt.Errorf("serving HTTP: %w", err)
	case <-ctx.Done():
	}
	if err := server.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("closing the server: %w", err)
	}
	return nil
}
