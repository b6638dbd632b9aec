// SPDX-License-Identifier: Apache-2.0

package listener

import (
	"net/netip"

	"google.golang.org/protobuf/types/known/structpb"

	"github.com/ambient22/ambient22/internal/proxy/config"
)

// Namespaces and keys of dynamic metadata.
const (
	tunnelMetadata   = "tunnel" // set on endpoints, passed along by internal_upstream
	tunnelDst        = "destination"
	tunnelAddress    = "address"
	workloadMetadata = "envoy.filters.listener.workload_metadata"
	baggageKey       = "baggage"
)

// setDst takes the addresses of an in-process connection from the metadata that
// came with it: what it is for becomes its local address, and where the tunnel
// ends is where an ORIGINAL_DST cluster connects to. What is missing or no
// address is left alone; the cluster then finds no host.
func (c *connection) setDst() {
	fields := c.metadata[tunnelMetadata].GetFields()
	if dst, err := netip.ParseAddrPort(fields[tunnelDst].GetStringValue()); err == nil {
		c.local, c.restored = dst, true
	}
	if addr, err := netip.ParseAddrPort(fields[tunnelAddress].GetStringValue()); err == nil {
		c.override = addr
	}
}

// identify notes which workload the connection comes from.
func (c *connection) identify(w *config.Workloads) {
	who := w.ByIP(c.remote.Addr())
	if who == nil {
		return
	}
	if c.metadata == nil {
		c.metadata = make(map[string]*structpb.Struct)
	}
	c.metadata[workloadMetadata] = &structpb.Struct{Fields: map[string]*structpb.Value{
		baggageKey: structpb.NewStringValue(who.Baggage(c.listener.set.o.ClusterID)),
	}}
}
