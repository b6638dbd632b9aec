// SPDX-License-Identifier: Apache-2.0

package cni

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// ErrMissing says that no controller answers.
var ErrMissing = errors.New("the node controller does not answer")

// Client asks the controller on a socket.
type Client struct {
	Socket string
}

// margin is how much longer than the controller the plugin waits, so that it is
// told why.
const margin = 2 * time.Second

// Add reports a pod with its addresses and waits up to wait. The error is a *Refusal,
// or wraps ErrMissing.
func (c Client) Add(ctx context.Context, p Pod, wait time.Duration) (Answer, error) {
	return c.call(ctx, "add", p, wait)
}

// Check asks how a pod stands.
func (c Client) Check(ctx context.Context, p Pod, wait time.Duration) (Answer, error) {
	return c.call(ctx, "check", p, wait)
}

// Del says that a pod's network goes.
func (c Client) Del(ctx context.Context, p Pod, wait time.Duration) error {
	_, err := c.call(ctx, "del", p, wait)
	return err
}

func (c Client) call(ctx context.Context, what string, p Pod, wait time.Duration) (Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, wait+margin)
	defer cancel()
	body, err := json.Marshal(request{Pod: p, WaitMilliseconds: wait.Milliseconds()})
	if err != nil {
		return Answer{}, fmt.Errorf("writing the request: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://ambient-node/v1/"+what, bytes.NewReader(body))
	if err != nil {
		return Answer{}, fmt.Errorf("writing the request: %w", err)
	}
	transport := &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", c.Socket)
		},
	}
	response, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return Answer{}, fmt.Errorf("%w: %w", ErrMissing, err)
	}
	defer response.Body.Close()
	content, err := io.ReadAll(io.LimitReader(response.Body, maxRequestBytes))
	if err != nil {
		return Answer{}, fmt.Errorf("%w: reading its answer: %w", ErrMissing, err)
	}
	if response.StatusCode != http.StatusOK {
		refusal := &Refusal{}
		if err := json.Unmarshal(content, refusal); err != nil || refusal.What == "" {
			refusal = &Refusal{Again: true, What: fmt.Sprintf("the node controller answers %s", response.Status)}
		}
		return Answer{}, refusal
	}
	var answer Answer
	if err := json.Unmarshal(content, &answer); err != nil {
		return Answer{}, fmt.Errorf("%w: reading its answer: %w", ErrMissing, err)
	}
	return answer, nil
}
