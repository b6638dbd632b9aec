// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// settle waits until the nodes' devices have their link-local addresses for
// good: for a second or two a new one is on trial (RFC 4862, section 5.4), and
// `ip addr` says so.
func (l *Lab) settle(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, l.Timeout)
	defer cancel()
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for _, node := range l.Net.Topology.Nodes {
		for {
			text, err := l.Net.Output(ctx, node.Host, "ip", "-6", "addr", "show", "tentative")
			if err != nil {
				return err
			}
			if strings.TrimSpace(text) == "" {
				break
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("waiting for the addresses of %s: %w:\n%s", node.Host, ctx.Err(), text)
			case <-tick.C:
			}
		}
	}
	return nil
}
