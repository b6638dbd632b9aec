// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	adminv3 "github.com/envoyproxy/go-control-plane/envoy/admin/v3"

	"github.com/ambient22/ambient22/internal/proxy/state"
	"github.com/ambient22/ambient22/internal/proxy/stats"
)

// Config is what the administration interface shows and steers.
type Config struct {
	Source  state.Source    // required
	Stats   *stats.Registry // nil: no statistics
	Loggers []Logger        // empty: /logging has nothing to set
	Version string          // the build, for /server_info
	// Quit begins the proxy's graceful end. It returns at once. nil: refused.
	Quit func()
	// Draining reports whether the proxy has begun to end; nil: never.
	Draining func() bool
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// server answers the requests. It has no state of its own.
type server struct {
	Config
	pages []page
}

// page is one path of the interface, with the line that /help shows of it.
type page struct {
	path   string
	help   string
	post   bool // it changes something, and a GET must not
	handle http.HandlerFunc
}

// New is the handler of every path of the interface.
func New(c Config) http.Handler {
	s := newServer(c)
	s.pages = []page{
		{path: "/certs", help: "print certs on machine", handle: s.certs},
		{path: "/clusters", help: "upstream cluster status (?format=json)", handle: s.clusters},
		{path: "/config_dump", help: "dump current configs (?include_eds, ?resource=FIELD, ?name_regex=REGEX)", handle: s.configDump},
		{path: "/help", help: "print out list of admin commands", handle: s.help},
		{path: "/listeners", help: "print listener info (?format=json)", handle: s.listeners},
		{path: "/logging", help: "query or change logging levels (POST ?level=LEVEL or ?NAME=LEVEL to change)", handle: s.logging},
		{path: "/quitquitquit", help: "exit the server", post: true, handle: s.quit},
		{path: "/ready", help: "print server state, return 200 if LIVE, otherwise return 503", handle: s.ready},
		{path: "/server_info", help: "print server version/status information", handle: s.serverInfo},
		{path: "/stats", help: "print server stats (?filter=REGEX, ?usedonly, ?format=json|prometheus|text)", handle: s.statsPage},
		{path: "/stats/prometheus", help: "print server stats in prometheus format", handle: s.prometheus},
	}
	slices.SortFunc(s.pages, func(a, b page) int { return cmp.Compare(a.path, b.path) })
	mux := http.NewServeMux()
	for _, p := range s.pages {
		mux.HandleFunc(p.path, p.serve)
	}
	mux.HandleFunc("/{$}", s.help)
	mux.HandleFunc("/", s.unknown)
	return mux
}

func newServer(c Config) *server {
	if c.Now == nil {
		c.Now = time.Now
	}
	return &server{Config: c}
}

func (p page) serve(w http.ResponseWriter, r *http.Request) {
	if p.post && r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		text(w, http.StatusMethodNotAllowed, fmt.Sprintf("Method %s not allowed, POST required.\n", r.Method))
		return
	}
	p.handle(w, r)
}

func (s *server) help(w http.ResponseWriter, _ *http.Request) {
	text(w, http.StatusOK, s.helpText())
}

func (s *server) unknown(w http.ResponseWriter, _ *http.Request) {
	text(w, http.StatusNotFound, "invalid path. "+s.helpText())
}

func (s *server) helpText() string {
	var b strings.Builder
	b.WriteString("admin commands are:\n")
	for _, p := range s.pages {
		method := ""
		if p.post {
			method = " (POST)"
		}
		fmt.Fprintf(&b, "  %s%s: %s\n", p.path, method, p.help)
	}
	return b.String()
}

func (s *server) ready(w http.ResponseWriter, _ *http.Request) {
	now := s.state()
	code := http.StatusServiceUnavailable
	if now == adminv3.ServerInfo_LIVE {
		code = http.StatusOK
	}
	text(w, code, now.String()+"\n")
}

// state is where the proxy is between its start and its end.
func (s *server) state() adminv3.ServerInfo_State {
	switch {
	case s.Draining != nil && s.Draining():
		return adminv3.ServerInfo_DRAINING
	case s.Source.Ready():
		return adminv3.ServerInfo_LIVE
	}
	return adminv3.ServerInfo_INITIALIZING
}

func (s *server) quit(w http.ResponseWriter, _ *http.Request) {
	if s.Quit == nil {
		text(w, http.StatusNotImplemented, "this proxy can't be stopped from here\n")
		return
	}
	text(w, http.StatusOK, "OK\n")
	s.Quit()
}

// text answers with plain text, under the headers by which Envoy keeps browsers
// and caches from making more of it.
func text(w http.ResponseWriter, code int, body string) {
	reply(w, code, "text/plain; charset=UTF-8", []byte(body))
}

func reply(w http.ResponseWriter, code int, contentType string, body []byte) {
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Cache-Control", "no-cache, max-age=0")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(code)
	_, _ = w.Write(body) // the reader has gone; nobody is left to tell
}

// ErrNotLoopback is why Listen refuses an address.
var ErrNotLoopback = errors.New("whoever reaches the admin interface can read the configuration and stop the proxy, so it listens on loopback only")

// Listen opens the interface's socket. An address that others can reach is
// ErrNotLoopback unless anywhere is set.
func Listen(ctx context.Context, addr netip.AddrPort, anywhere bool) (net.Listener, error) {
	if !anywhere && !addr.Addr().IsLoopback() {
		return nil, fmt.Errorf("listening for administration on %s: %w", addr, ErrNotLoopback)
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", addr.String())
	if err != nil {
		return nil, fmt.Errorf("listening for administration: %w", err)
	}
	return l, nil
}

// shutdownTime is how long requests under way may take once the server ends.
const shutdownTime = 2 * time.Second

// Serve answers on the listener until the context ends, then lets requests under
// way finish and closes the listener. It returns nil when the context ended it.
func Serve(ctx context.Context, l net.Listener, h http.Handler) error {
	srv := &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute}
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(l) }()
	select {
	case err := <-ended:
		return fmt.Errorf("serving %s: %w", l.Addr(), err)
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTime)
	defer cancel()
	if err := srv.Shutdown(stop); err != nil {
		_ = srv.Close()
	}
	<-ended
	return nil
}
