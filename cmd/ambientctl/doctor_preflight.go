// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"

	"github.com/ambient22/ambient22/geneve"
	"github.com/ambient22/ambient22/internal/doctor"
	"github.com/ambient22/ambient22/internal/dump"
	"github.com/ambient22/ambient22/noderoute"
)

// preflight looks for what stands in the way on this node. The tunnel is of the kind
// that the node has already; Geneve where it has none.
func (o *doctorFlags) preflight(ctx context.Context, n *dump.Node) *doctor.Preflight {
	node, err := noderoute.New(noderoute.Options{StateDir: o.stateDir})
	if err != nil {
		return &doctor.Preflight{Err: err}
	}
	defer node.Close()
	problems, err := node.Preflight(ctx, o.tunnelOf(n))
	return &doctor.Preflight{Problems: problems, Err: err}
}

func (o *doctorFlags) tunnelOf(n *dump.Node) noderoute.HostConfig {
	var c noderoute.HostConfig
	if kind, err := geneve.ParseKind(o.tunnel); err == nil {
		c.Tunnel = kind
		return c
	}
	if n.Host == nil {
		return c
	}
	for _, l := range n.Host.Links {
		if l.Tunnel == nil || l.Name != noderoute.DeviceInbound && l.Name != noderoute.DeviceOutbound {
			continue
		}
		if kind, err := geneve.ParseKind(l.Kind); err == nil {
			c.Tunnel, c.TunnelPort = kind, l.Tunnel.Port
		}
	}
	return c
}
