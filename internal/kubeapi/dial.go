// SPDX-License-Identifier: Apache-2.0

package kubeapi

import (
	"context"
	"errors"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// dialTimeout and dialKeepAlive are those of client-go's own dialer.
	dialTimeout   = 30 * time.Second
	dialKeepAlive = 30 * time.Second
	// knockEvery is how often a refused connection is tried again, knockFor how long
	// until it counts as refused.
	knockEvery = 500 * time.Millisecond
	knockFor   = 20 * time.Second
)

// dial connects to the API server. One that is being restarted refuses connections;
// client-go's informers would wait longer after each refusal, up to a minute, and
// follow the cluster again only that long after the API server is back.
func dial(ctx context.Context, network, address string) (net.Conn, error) {
	return knock(ctx, network, address, knockEvery, knockFor)
}

func knock(ctx context.Context, network, address string, every, patience time.Duration) (net.Conn, error) {
	dialer := &net.Dialer{Timeout: dialTimeout, KeepAlive: dialKeepAlive}
	last := time.Now().Add(patience)
	for {
		conn, err := dialer.DialContext(ctx, network, address)
		if !errors.Is(err, unix.ECONNREFUSED) || time.Now().After(last) {
			return conn, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(every):
		}
	}
}
