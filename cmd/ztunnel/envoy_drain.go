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

// drainPoll is how often Envoy is asked whether connections are still open.
const drainPoll = 200 * time.Millisecond

// envoyDrain lets an Envoy that is to end finish what is open: an Envoy that gets
// SIGTERM breaks every connection at once.
type envoyDrain struct {
	admin string        // host and port of its admin interface
	limit time.Duration // how long it may take
	log   *slog.Logger
}

// run returns when nothing is open any more, when the time is up, or when Envoy does
// not answer, which it doesn't after it ended.
func (d envoyDrain) run() {
	if d.limit <= 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), d.limit)
	defer cancel()
	// From here on Envoy asks its peers to open no more streams, and takes no more
	// connections once its own drain time (drainSeconds) is up.
	_, err := d.ask(ctx, http.MethodPost, "/drain_listeners?graceful")
	open := 1
	for err == nil && open > 0 {
		if open, err = d.open(ctx); open > 0 {
			wait(ctx, drainPoll)
		}
	}
	if ctx.Err() != nil {
		d.log.Warn("the drain time is up; open connections are broken", "open", open, "drain", d.limit)
	} else if err != nil {
		d.log.Info("Envoy is ended without letting connections finish", "err", err)
	}
}

// open is how many connections there are, those to the admin interface left out.
func (d envoyDrain) open(ctx context.Context) (int, error) {
	text, err := d.ask(ctx, http.MethodGet, "/stats?filter="+url.QueryEscape(`^listener\..*\.downstream_cx_active$`))
	if err != nil {
		return 0, err
	}
	sum := 0
	for lines := bufio.NewScanner(strings.NewReader(text)); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), ": ")
		if n, err := strconv.Atoi(value); err == nil && ofListener(name) {
			sum += n
		}
	}
	return sum, nil
}

// ofListener tells a listener's whole count from that of one of its threads, and from
// the admin interface's.
func ofListener(stat string) bool {
	listener := strings.TrimSuffix(strings.TrimPrefix(stat, "listener."), ".downstream_cx_active")
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
