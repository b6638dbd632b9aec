// SPDX-License-Identifier: Apache-2.0

package daemon

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

func TestLogFlags(t *testing.T) {
	for _, c := range []struct{ args, line, err string }{
		{"", "level=INFO msg=hello", ""},
		{"--log-format=json", `"level":"INFO","msg":"hello"`, ""},
		{"--log-level=warn", "", ""},
		{"--log-level=loud", "", "--log-level: "},
		{"--log-format=xml", "", `--log-format: "xml" is neither text nor json`},
	} {
		var l Log
		flags := pflag.NewFlagSet("", pflag.ContinueOnError)
		l.Register(flags)
		if err := flags.Parse(strings.Fields(c.args)); err != nil {
			t.Fatal(err)
		}
		var out strings.Builder
		log, err := l.Logger(&out)
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%s: %v", c.args, err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		log.Info("hello")
		if got := out.String(); !strings.Contains(got, c.line) || c.line == "" && got != "" {
			t.Errorf("%s: %q", c.args, got)
		}
	}
}

func TestServeHTTP(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := busy.Addr().String()
	if err := ServeHTTP(t.Context(), http.NotFoundHandler(), addr); err == nil || !strings.Contains(err.Error(), addr) {
		t.Errorf("an address in use: %v", err)
	}
	busy.Close()
	ctx, cancel := context.WithCancel(t.Context())
	asked := make(chan struct{})
	done := make(chan error)
	go func() {
		done <- ServeHTTP(ctx, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, "ok")
			close(asked)
		}), addr)
	}()
	for {
		response, err := http.Get("http://" + addr)
		if err != nil {
			continue // it does not listen yet
		}
		body, _ := io.ReadAll(response.Body)
		response.Body.Close()
		if string(body) != "ok" {
			t.Errorf("answered %q", body)
		}
		break
	}
	<-asked
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
