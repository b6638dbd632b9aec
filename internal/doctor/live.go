// SPDX-License-Identifier: Apache-2.0

package doctor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Live is what the running programs of a node say.
type Live struct {
	// Addr is where the node controller serves HTTP.
	Addr string
	// Silent is why the node controller does not answer; nil where it does.
	Silent error
	// Unready is what its /readyz says where that is not "ok".
	Unready string
	// Metrics are the controller's.
	Metrics Metrics
	// Certs are the certificates that the ztunnel uses; CertsErr says why they
	// could not be had.
	Certs    []Certificate
	CertsErr error
}

// longestAnswer bounds what is read of one answer, in bytes.
const longestAnswer = 16 << 20

// Ask asks the node controller at an address like 127.0.0.1:15014 how it does, and
// gives each answer at most that long. Certificates are left to the caller.
func Ask(ctx context.Context, addr string, timeout time.Duration) *Live {
	l := &Live{Addr: addr}
	status, text, err := get(ctx, "http://"+addr+"/readyz", timeout)
	if err != nil {
		l.Silent = err
		return l
	}
	if status != http.StatusOK {
		l.Unready = strings.TrimSpace(text)
	}
	if _, text, err = get(ctx, "http://"+addr+"/metrics", timeout); err == nil {
		l.Metrics = readMetrics(text)
	}
	return l
}

func get(ctx context.Context, url string, timeout time.Duration) (status int, text string, err error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, "", fmt.Errorf("asking %s: %w", url, err)
	}
	transport := &http.Transport{DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return 0, "", short(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, longestAnswer))
	if err != nil {
		return 0, "", fmt.Errorf("reading the answer of %s: %w", url, err)
	}
	return resp.StatusCode, string(body), nil
}

// short leaves out of an error what the reader has just been told.
func short(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return errors.New("no answer in time")
	}
	for inner := errors.Unwrap(err); inner != nil; inner = errors.Unwrap(err) {
		err = inner
	}
	return err
}

// Metrics are samples by name and labels as Prometheus' text has them:
// `ambient22_xds_rejected_resources{type="listener"}`.
type Metrics map[string]float64

func readMetrics(text string) Metrics {
	m := Metrics{}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		at := strings.LastIndexByte(line, ' ')
		if at < 0 || line[0] == '#' {
			continue
		}
		if v, err := strconv.ParseFloat(line[at+1:], 64); err == nil {
			m[line[:at]] = v
		}
	}
	return m
}

// above are the label values of a family's samples that are more than 0, with their
// values. The family has one label.
func (m Metrics) above(family string) map[string]float64 {
	out := map[string]float64{}
	for name, v := range m {
		rest, ok := strings.CutPrefix(name, family+"{")
		if !ok || v <= 0 {
			continue
		}
		_, label, _ := strings.Cut(rest, `="`)
		out[strings.TrimSuffix(label, `"}`)] = v
	}
	return out
}
