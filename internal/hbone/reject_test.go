// SPDX-License-Identifier: Apache-2.0

package hbone

import (
	"context"
	"errors"
	"io"
	"net/http"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

func refuseWithText(_ context.Context, r *Request) {
	r.RejectText(403, []hpack.HeaderField{{Name: "content-type", Value: "text/plain"}}, "RBAC: access denied")
}

func TestRejectTextAgainstNetHTTP(t *testing.T) {
	tr := netHTTPClient(t, refuseWithText)
	for range 3 {
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodConnect, "http://10.4.3.20:9080", nil)
		resp, err := tr.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != 403 || string(body) != "RBAC: access denied" || resp.ContentLength != 19 {
			t.Errorf("status %d, length %d, body %q, %v", resp.StatusCode, resp.ContentLength, body, err)
		}
	}
}

func TestRejectTextAgainstOurClient(t *testing.T) {
	p := newPair(t, Config{}, Config{}, refuseWithText)
	for range 3 {
		_, err := p.client.Connect(t.Context(), "a:1", nil)
		var status *StatusError
		if !errors.As(err, &status) || status.Status != 403 {
			t.Fatalf("got %v", err)
		}
	}
	eventually(t, "the streams to go", func() bool { return p.client.Streams() == 0 })
}

// A client that admits no byte is answered all the same.
func TestRejectTextWithoutRoom(t *testing.T) {
	r, _ := rawClient(t, Config{}, refuseWithText, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
	r.connectRequest(1)
	if f := next[*http2.MetaHeadersFrame](r, nil); !f.StreamEnded() || f.PseudoValue("status") != "403" {
		t.Errorf("answered %v", f)
	}
	r.conn.Close()
}

// A refused request can be told from one that was acted upon.
func TestRefuse(t *testing.T) {
	p := newPair(t, Config{}, Config{}, func(_ context.Context, r *Request) { r.Refuse() })
	_, err := p.client.Connect(t.Context(), "a:1", nil)
	var unprocessed *UnprocessedError
	if !errors.As(err, &unprocessed) {
		t.Errorf("got %v", err)
	}
}
