// SPDX-License-Identifier: Apache-2.0

package hosts

import (
	"context"
	"fmt"
	"time"

	"github.com/vishvananda/netlink"
)

// carrierPatience is how long links may take to come up. The kernel announces
// changes of carrier once a second at most, and passes no packet before.
const carrierPatience = 10 * time.Second

// awaitLinks waits until every link of the lab passes packets.
func (n *Net) awaitLinks(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, carrierPatience)
	defer cancel()
	devices := map[string][]string{}
	for _, host := range n.Topology.Hosts() {
		devices[host] = []string{uplink}
	}
	for _, p := range n.Topology.Pods {
		devices[p.Node] = append(devices[p.Node], p.Veth)
	}
	for host, names := range devices {
		if err := n.awaitUp(ctx, host, names); err != nil {
			return fmt.Errorf("waiting for the links of %s: %w", host, err)
		}
	}
	return nil
}

func (n *Net) awaitUp(ctx context.Context, host string, names []string) error {
	h, err := handle(n.Namespace(host))
	if err != nil {
		return err
	}
	defer h.Close()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for _, name := range names {
		for {
			link, err := h.LinkByName(name)
			if err != nil {
				return fmt.Errorf("finding %s: %w", name, err)
			}
			if link.Attrs().OperState == netlink.OperUp {
				break
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("%s is %s: %w", name, link.Attrs().OperState, ctx.Err())
			case <-tick.C:
			}
		}
	}
	return nil
}
