// SPDX-License-Identifier: Apache-2.0

package collect

import (
	"context"
	"fmt"
	"os"

	"github.com/ambient22/ambient22/internal/dump"
)

// Certs asks the node's ztunnel which certificates it uses: the JSON of its admin
// address's /certs, which has names and times and no keys. It needs root, as
// Collect does.
func Certs(ctx context.Context, o Options) ([]byte, error) {
	here, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return nil, fmt.Errorf("opening the network namespace: %w", err)
	}
	defer here.Close()
	c := &collector{Options: o.withDefaults(), here: here, archive: &dump.Archive{}}
	c.left = c.MaxTotal
	known, _ := c.askNode(ctx) // nil is fine: it only helps to find the ztunnel
	var found *neighbours
	err = c.space(dump.HostSpace, int(here.Fd())).inside(func() (err error) {
		found, err = findNeighbours()
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("looking for the ztunnel: %w", err)
	}
	defer found.close()
	ztunnel, err := found.ztunnel(known)
	if err != nil {
		return nil, fmt.Errorf("looking for the ztunnel: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	var body []byte
	err = c.space(dump.ZtunnelSpace, ztunnel.fd()).inside(func() (err error) {
		body, _, err = get(ctx, "http://"+c.AdminAddr+"/certs", c.MaxFile)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("asking the ztunnel for its certificates: %w", err)
	}
	return body, nil
}
