// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	// drainPoll is how often Envoy is asked whether connections are still open.
	drainPoll = 200 * time.Millisecond
	// quiet is for how long no connection may have come before it counts as certain
	// that the node leads new ones elsewhere; the embedded proxy waits as long.
	quiet = 2 * time.Second
)

// envoyDrain lets an Envoy that is to end finish what is open: an Envoy that gets
// SIGTERM breaks every connection at once.
type envoyDrain struct {
	admin string        // host and port of its admin interface
	limit time.Duration // how long it may take
	log   *slog.Logger
}

// run returns when nobody needs this Envoy any more: nothing is open and nobody has
// come for a while. It also does when the time is up, or when Envoy does not answer,
// which it doesn't after it ended. The node may lead new connections here until it has
// turned to another proxy, so Envoy serves on as before for as long as they come.
func (d envoyDrain) run() {
	if d.limit <= 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), d.limit)
	defer cancel()
	latest, told := time.Now(), false
	now, err := d.open(ctx)
	for before := now; err == nil; before = now {
		if now, err = d.open(ctx); err != nil {
			break
		}
		if now.total != before.total {
			latest = time.Now()
		}
		if time.Since(latest) >= quiet {
			if now.active == 0 {
				return
			}
			if !told {
				// From here on Envoy asks its peers to open no more streams, and takes
				// no more connections once its own drain time (drainSeconds) is up.
				told = true
				_, err = d.ask(ctx, http.MethodPost, "/drain_listeners?graceful")
			}
		}
		wait(ctx, drainPoll)
	}
	if ctx.Err() != nil {
		d.log.Warn("the drain time is up; open connections are broken", "open", now.active, "drain", d.limit)
	} else if err != nil {
		d.log.Info("Envoy is ended without letting connections finish", "err", err)
	}
}

// connections are those of Envoy's listeners, without those to the admin interface.
type connections struct{ active, total int }

func (d envoyDrain) open(ctx context.Context) (connections, error) {
	text, err := d.ask(ctx, http.MethodGet, "/stats?filter="+url.QueryEscape(`^listener\..*\.downstream_cx_(active|total)$`))
	if err != nil {
		return connections{}, err
	}
	var sum connections
	for lines := bufio.NewScanner(strings.NewReader(text)); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), ": ")
		n, err := strconv.Atoi(value)
		if err != nil {
			continue
		}
		if listener, ok := strings.CutSuffix(name, ".downstream_cx_active"); ok && ofListener(listener) {
			sum.active += n
		} else if listener, ok := strings.CutSuffix(name, ".downstream_cx_total"); ok && ofListener(listener) {
			sum.total += n
		}
	}
	return sum, nil
}

// ofListener tells a listener's whole count from that of one of its threads, and from
// the admin interface's.
func ofListener(stat string) bool {
	listener := strings.TrimPrefix(stat, "listener.")
	return listener != "admin" && !strings.Contains(listener, ".worker_") && !strings.HasSuffix(listener, ".main_thread")
}

func (d envoyDrain) ask(ctx context.Context, method, path string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, method, "http://"+d.admin+path, nil)
	if err != nil {
		return "", err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("asking Envoy for %s: %s", path, response.Status)
	}
	return string(text), err
}

func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
