// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"fmt"
	"strings"
	"testing"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
)

// TestFirstListenersComeTogether holds that a proxy is not ready early: it starts
// working with the first answer of listeners, however large they are.
func TestFirstListenersComeTogether(t *testing.T) {
	s, w := start(t, func(s *Server) { s.deltaBytes = 1 }), newWorld(t)
	w.internal["outbound_tunnel_lis"] = "alpha"
	w.set(s.Server)
	c := s.delta()
	c.send(subscribe(listeners))
	wantDelta(c, "listener outbound_tunnel_lis ztunnel_inbound ztunnel_outbound")

	// A later change is no less of one piece.
	w.listeners["ztunnel_inbound"], w.listeners["ztunnel_outbound"] = "beta", "alpha"
	w.set(s.Server)
	wantDelta(c, "listener ztunnel_inbound ztunnel_outbound")
}

// TestEndpointsDontWaitForEndpoints holds that a proxy whose ACK is still on its
// way, or being read, is sent the next change of endpoints all the same; in state
// of the world that ACK names everything. A proxy that answers none is not.
func TestEndpointsDontWaitForEndpoints(t *testing.T) {
	s, w := start(t, func(s *Server) { s.ackWait = time.Hour }), newWorld(t)
	w.set(s.Server)

	c := s.sotw()
	c.send(ask(clusters))
	c.send(ack(c.next()))
	c.send(ask(endpoints, "alpha", "beta"))
	var a *discoveryv3.DiscoveryResponse
	for i := range pipelined {
		a = c.next()
		if k, _ := kindOf(a.TypeUrl); k != endpoints {
			t.Fatalf("response %d is of %s", i, a.TypeUrl)
		}
		w.addresses["alpha"] = fmt.Sprintf("10.9.0.%d", i)
		w.set(s.Server)
	}
	// That makes as many unanswered as may be: the change just made waits.
	c.send(ask(extensions, "workload_metadata"))
	last := c.next()
	if k, _ := kindOf(last.TypeUrl); k != extensions {
		t.Fatalf("a proxy that answers nothing was sent %s", last.TypeUrl)
	}
	w.addresses["alpha"] = "10.9.9.9"
	w.set(s.Server)
	c.quiet()
	c.send(ack(a, "alpha", "beta"))
	latest := c.next()
	if len(latest.Resources) != 1 || !strings.Contains(string(latest.Resources[0].Value), "10.9.9.9") {
		t.Fatalf("after the ACK came %v, not the latest alone", latest)
	}
}

// TestEndpointsWaitForClusters holds that what endpoints do depend on is waited for.
func TestEndpointsWaitForClusters(t *testing.T) {
	s, w := start(t, func(s *Server) { s.ackWait = time.Hour }), newWorld(t)
	w.set(s.Server)
	c := s.delta()
	c.send(subscribe(clusters))
	wantDelta(c, "cluster alpha beta")
	c.send(subscribe(endpoints, "alpha"))
	wantDelta(c, "endpoint alpha")

	w.clusters["alpha"] += time.Second
	w.addresses["alpha"] = "10.9.0.1"
	w.set(s.Server)
	changed := c.next()
	if got := describeDelta(changed); got != "cluster alpha" {
		t.Fatal(got)
	}
	c.send(subscribe(extensions, "workload_metadata"))
	if got := describeDelta(c.next()); got != "extension workload_metadata" {
		t.Fatalf("before the cluster was accepted came %s", got)
	}
	c.send(deltaAck(changed))
	wantDelta(c, "endpoint alpha")
}
