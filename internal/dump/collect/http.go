// SPDX-License-Identifier: Apache-2.0

package collect

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"

	"golang.org/x/sys/unix"

	"github.com/ambient22/ambient22/internal/dump"
)

// get reads a URL from the namespace of the calling thread, which must be locked.
// more tells that the answer is longer than most bytes.
func get(ctx context.Context, url string, most int) (body []byte, more bool, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, false, err
	}
	// A socket belongs to the namespace of the thread that makes it, and the
	// transport dials on threads of its own: so it is dialled here.
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", req.URL.Host)
	if err != nil {
		return nil, false, err
	}
	defer conn.Close()
	dialled := false
	transport := &http.Transport{DisableKeepAlives: true, DialContext: func(context.Context, string, string) (net.Conn, error) {
		if dialled {
			return nil, errors.New("the connection was lost")
		}
		dialled = true
		return conn, nil
	}}
	client := &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		return nil, false, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, false, fmt.Errorf("%s answers %s", url, resp.Status)
	}
	body, err = io.ReadAll(io.LimitReader(resp.Body, int64(most)+1))
	if err != nil {
		return nil, false, fmt.Errorf("reading %s: %w", url, err)
	}
	return body, len(body) > most, nil
}

// askNode reads what the node controller knows, in the caller's namespace.
func (c *collector) askNode(ctx context.Context) (*dump.Workloads, error) {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	url := "http://" + c.NodeAddr + dump.WorkloadsPath
	var known dump.Workloads
	err := c.space(dump.HostSpace, int(c.here.Fd())).inside(func() error {
		body, more, err := get(ctx, url, min(c.MaxFile, max(c.left, 0)))
		if errors.Is(err, unix.ECONNREFUSED) {
			return fmt.Errorf("no node controller listens at %s", c.NodeAddr)
		}
		if err != nil {
			return err
		}
		if more {
			return fmt.Errorf("%s answers over %d bytes", url, min(c.MaxFile, max(c.left, 0)))
		}
		if err := json.Unmarshal(body, &known); err != nil {
			return fmt.Errorf("reading the answer of %s: %w", url, err)
		}
		c.left -= len(body)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return &known, nil
}

// configDump reads the configuration of the ztunnel in the thread's namespace,
// and takes out what is secret.
func (s *space) configDump(ctx context.Context, l limits) (output, error) {
	url := "http://" + s.AdminAddr + "/config_dump?include_eds"
	body, more, err := get(ctx, url, l.bytes)
	switch {
	case errors.Is(err, unix.ECONNREFUSED):
		return output{}, fmt.Errorf("nothing listens at the admin address %s", s.AdminAddr)
	case err != nil:
		return output{}, err
	case more:
		return output{}, fmt.Errorf("it has over %d bytes, and a part of it can't be read", l.bytes)
	}
	text, err := redact(body)
	if err != nil {
		return output{}, fmt.Errorf("reading the answer of %s: %w", url, err)
	}
	return output{text: text}, nil
}
