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
	originalDst      = "envoy.filters.listener.original_dst" // the same in an unchanged Envoy
	originalLocal    = "local"
	originalRemote   = "remote"
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

// restoreInternal takes both addresses of an in-process connection from the
// metadata that came with it. One that is missing or no address is left alone.
func (c *connection) restoreInternal() {
	fields := c.metadata[originalDst].GetFields()
	if local, err := netip.ParseAddrPort(fields[originalLocal].GetStringValue()); err == nil {
		c.local, c.restored = local, true
	}
	if remote, err := netip.ParseAddrPort(fields[originalRemote].GetStringValue()); err == nil {
		c.remote = remote
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
