// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"net/netip"
	"testing"
	"time"
)

// TestHowSoonPodsAreCaptured has 500 pods come to and go from a node, one after the
// other and all at once, and looks at when the kernel captures them.
func TestHowSoonPodsAreCaptured(t *testing.T) {
	const pods, ns = 500, "scale"
	s := newCrowd(t, ns, pods)
	s.nodes(place{harness, harnessAddress, harnessPods})
	s.namespace(pods / 10)
	s.join()
	s.each(pods, func(ctx context.Context, i int) error {
		return s.pod(ctx, ns, name(i), harness, account(i%(pods/10)), nil)
	})
	s.ztunnel()
	c := s.room.start(t)
	c.untilReady(t)
	s.follow()
	const one = 200
	s.enrol("20 each second", oneByOne, 0, one)
	s.enrol("all at once", allAtOnce, one, pods)
	figure(t, "500 pods captured: %s", c.cost(t))
	s.release("20 each second", oneByOne, 0, one/2, pods)
	s.release("all at once", allAtOnce, one/2, pods, pods)
	figure(t, "none captured: %s", c.cost(t))
}

// TestLargeCluster has a controller follow a cluster of 5,000 pods and 1,000 services
// on 50 nodes, 100 of the pods on its own. Five pods are behind each service, and
// have a service account of their own.
func TestLargeCluster(t *testing.T) {
	const nodes, podsOfNode, services, late = 50, 100, 1000, 60
	s := newCrowd(t, "large", podsOfNode)
	places := []place{{harness, harnessAddress, harnessPods}}
	for i := 1; i < nodes; i++ {
		places = append(places, place{fmt.Sprintf("far-%d", i), fmt.Sprintf("10.168.20.%d", i), fmt.Sprintf("10.5.%d.0/24", i)})
	}
	begun := time.Now()
	s.nodes(places...)
	s.namespace(services)
	// Pod i is number i/nodes of its node, and behind service i/nodes*10+i%10.
	ip := func(i int) netip.Addr {
		if i%nodes == 0 {
			return address(1 + i/nodes)
		}
		return netip.AddrFrom4([4]byte{10, 5, byte(i % nodes), byte(2 + i/nodes)})
	}
	service := func(i int) int { return i/nodes*services/podsOfNode + i%(services/podsOfNode) }
	s.each(nodes*podsOfNode, func(ctx context.Context, i int) error {
		n := fmt.Sprintf("far-%d", i)
		if i%nodes == 0 {
			n = name(i / nodes)
		}
		err := s.pod(ctx, s.ns, n, places[i%nodes].name, account(service(i)), map[string]string{"app": fmt.Sprintf("app-%d", service(i))})
		if err == nil && (i%nodes > 0 || i/nodes < late) {
			err = s.runs(ctx, s.ns, n, ip(i))
		}
		return err
	})
	behind := make([][]netip.Addr, services)
	for i := range nodes * podsOfNode {
		behind[service(i)] = append(behind[service(i)], ip(i))
	}
	s.each(services, func(ctx context.Context, i int) error {
		return s.service(ctx, s.ns, fmt.Sprintf("service-%d", i), behind[i])
	})
	s.ztunnel()
	figure(t, "the API server has them after %.1f s", time.Since(begun).Seconds())

	c := s.room.start(t)
	c.untilReady(t)
	figure(t, "5,000 pods and 1,000 services, none in the mesh: %s", c.cost(t))
	s.follow()
	begun = time.Now()
	s.join()
	eventually(t, "the pods' capture", func() error { return s.kernel.captures(span(0, late)) })
	figure(t, "all in the mesh, %d pods of the node captured after %.2f s: %s", late, s.kernel.last().Sub(begun).Seconds(), c.cost(t))
	s.enrol("20 each second", oneByOne, late, podsOfNode)
	figure(t, "%d pods of the node captured: %s", podsOfNode, c.cost(t))
}
