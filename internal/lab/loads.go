// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/ambient22/ambient22/internal/lab/app"
)

// LoadResult is one load on the path and what came of it.
type LoadResult struct {
	Name    string  `json:"name"`
	Result  string  `json:"result"`
	Seconds float64 `json:"seconds"`
	Error   string  `json:"error,omitempty"`
}

// bodyBytes is the length of the large bodies of a load.
const bodyBytes = 64 << 20

// Load puts the standard loads on the path from sleep to productpage: many
// requests one after another, many at once, and a large body each way. A load
// that fails is in the results; an error is for what kept them from running.
func (l *Lab) Load(ctx context.Context) ([]LoadResult, error) {
	loads := []struct {
		name string
		run  func(context.Context) (string, error)
	}{
		{"1,000 requests, one after another, a connection each", func(ctx context.Context) (string, error) {
			return l.Requests(ctx, callerHost, callURL, 1000, 1)
		}},
		{"50 callers at once, 20 requests each", func(ctx context.Context) (string, error) {
			return l.Requests(ctx, callerHost, callURL, 20, 50)
		}},
		{"64 MiB up", func(ctx context.Context) (string, error) {
			return l.Transfer(ctx, callerHost, callURL, bodyBytes, false)
		}},
		{"64 MiB down", func(ctx context.Context) (string, error) {
			return l.Transfer(ctx, callerHost, callURL, bodyBytes, true)
		}},
	}
	var results []LoadResult
	for _, load := range loads {
		start := time.Now()
		text, err := load.run(ctx)
		if ctx.Err() != nil {
			return results, ctx.Err()
		}
		r := LoadResult{Name: load.name, Result: text, Seconds: time.Since(start).Seconds()}
		if err != nil {
			r.Error = err.Error()
		}
		l.progress.Step("%s: %s%s", r.Name, r.Result, r.Error)
		results = append(results, r)
	}
	return results, nil
}

// Requests makes requests from a host, and fails unless every one is answered.
func (l *Lab) Requests(ctx context.Context, host, url string, each, concurrent int) (string, error) {
	out, err := l.Net.Output(ctx, host, l.bin("ambientctl"), "inside", "load",
		"--requests", strconv.Itoa(each), "--concurrent", strconv.Itoa(concurrent), url)
	if err != nil {
		return "", err
	}
	load := &app.Load{}
	if err := json.Unmarshal([]byte(out), load); err != nil {
		return "", fmt.Errorf("reading the load's result: %w", err)
	}
	text := fmt.Sprintf("%d of %d answered in %.1f s", load.OK, load.Requests, load.Took.Seconds())
	if load.OK != each*concurrent {
		return text, fmt.Errorf("calling %s from %s: %s: %s", url, host, text, load.FirstError)
	}
	return text, nil
}

// Transfer moves one large body, and fails unless it arrives whole.
func (l *Lab) Transfer(ctx context.Context, host, url string, bytes int64, down bool) (string, error) {
	argv := []string{l.bin("ambientctl"), "inside", "transfer", "--bytes", strconv.FormatInt(bytes, 10), strings.TrimSuffix(url, "/")}
	if down {
		argv = append(argv, "--down")
	}
	out, err := l.Net.Output(ctx, host, argv...)
	if err != nil {
		return "", err
	}
	t := &app.Transfer{}
	if err := json.Unmarshal([]byte(out), t); err != nil {
		return "", fmt.Errorf("reading the transfer's result: %w", err)
	}
	return fmt.Sprintf("whole, sha256 %.12s..., %.0f MiB/s", t.SHA256, float64(t.Bytes)/(1<<20)/t.Took.Seconds()), nil
}
