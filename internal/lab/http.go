// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"

	"github.com/ambient22/ambient22/internal/lab/netns"
)

// Get reads a URL from inside a host. Any status but 200 is an error.
func (l *Lab) Get(ctx context.Context, host, url string) (string, error) {
	ns := l.Net.Namespace(host)
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, addr string) (conn net.Conn, err error) {
			err = netns.Do(ns, func() error {
				conn, err = (&net.Dialer{}).DialContext(ctx, network, addr)
				return err
			})
			return conn, err
		},
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", fmt.Errorf("reading %s in %s: %w", url, host, err)
	}
	resp, err := client.Do(req)
	if err != nil {
		return "", fmt.Errorf("reading %s in %s: %w", url, host, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", fmt.Errorf("reading %s in %s: %w", url, host, err)
	}
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("reading %s in %s: %s: %.200s", url, host, resp.Status, body)
	}
	return string(body), nil
}
