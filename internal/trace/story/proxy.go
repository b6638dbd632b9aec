// SPDX-License-Identifier: Apache-2.0

package story

import (
	"github.com/ambient22/ambient22/internal/dump"
	"github.com/ambient22/ambient22/internal/trace/story/proxyview"
)

// Proxy is the ztunnel's configuration in one of the mesh's dumps. Without an error it
// is nil where the dump has no config_dump.
func (m *Mesh) Proxy(d *dump.Node) (*proxyview.Proxy, error) {
	for _, n := range m.nodes {
		if n.dump == d {
			return n.proxy, n.proxyErr
		}
	}
	return nil, nil
}
