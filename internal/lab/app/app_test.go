// SPDX-License-Identifier: Apache-2.0

package app

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func serve(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- Serve(ctx, l, "productpage") }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return "http://" + l.Addr().String()
}

func TestGetSaysWhoCalled(t *testing.T) {
	base := serve(t)
	call, err := Client{}.Get(t.Context(), base+"/")
	if err != nil {
		t.Fatal(err)
	}
	if call.Status != 200 || call.Peer != call.Local || "http://"+call.Remote != base {
		t.Errorf("got %+v, want peer = local and remote = %s", call, base)
	}
	for _, want := range []string{Title, call.Local} {
		if !strings.Contains(call.Body, want) {
			t.Errorf("the page lacks %q:\n%s", want, call.Body)
		}
	}
}

func TestLoadCountsEveryAnswer(t *testing.T) {
	base := serve(t)
	for _, keepAlive := range []bool{false, true} {
		l := Client{KeepAlive: keepAlive}.Load(t.Context(), base+"/productpage", 20, 10)
		if l.OK != 200 || l.Requests != 200 || l.FirstError != "" {
			t.Errorf("keep-alive %v: got %+v, want 200 of 200", keepAlive, l)
		}
	}
	if l := (Client{}).Load(t.Context(), base+"/nothing", 2, 2); l.OK != 0 || l.FirstError == "" {
		t.Errorf("a page that is not there: got %+v, want no success and an error", l)
	}
}

func TestBodiesArriveWhole(t *testing.T) {
	base := serve(t)
	for _, n := range []int64{0, 1, 128<<10 + 7, 5 << 20} {
		up, err := Client{}.Upload(t.Context(), base, n)
		if err != nil {
			t.Fatal(err)
		}
		down, err := Client{}.Download(t.Context(), base, n)
		if err != nil {
			t.Fatal(err)
		}
		if up.SHA256 != down.SHA256 {
			t.Errorf("%d bytes: up has %s, down %s", n, up.SHA256, down.SHA256)
		}
	}
}

func TestADamagedBodyIsFound(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if _, err := w.Write([]byte("other bytes")); err != nil {
			t.Error(err)
		}
	}))
	defer server.Close()
	if _, err := (Client{}).Download(t.Context(), server.URL, 11); !errors.Is(err, ErrNotWhole) {
		t.Errorf("download: got %v, want ErrNotWhole", err)
	}
	if _, err := (Client{}).Upload(t.Context(), server.URL, 11); !errors.Is(err, ErrNotWhole) {
		t.Errorf("upload: got %v, want ErrNotWhole", err)
	}
}
