// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/ambient22/ambient22/ipset"
	"github.com/ambient22/ambient22/noderoute"
)

// lookAgain is how long the set is left alone while it has not followed the routes:
// the kernel tells of routes, but of sets nobody is told.
const lookAgain = 500 * time.Microsecond

// kernel follows which pods a node's kernel captures: those that have a route in the
// table for it and are in the set.
type kernel struct {
	set *ipset.Conn

	mu     sync.Mutex
	routed map[netip.Addr]bool
	listed map[netip.Addr]bool
	since  map[netip.Addr]time.Time // when one of the two was seen to change last
	err    error
}

// watch follows the kernel of a room until the test's end.
func (r *room) watch(t *testing.T) *kernel {
	t.Helper()
	k := &kernel{routed: map[netip.Addr]bool{}, listed: map[netip.Addr]bool{}, since: map[netip.Addr]time.Time{}}
	var err error
	r.do(func() { k.set, err = ipset.Dial() })
	if err != nil {
		t.Fatal(err)
	}
	handle, err := netns.GetFromPath(r.path)
	if err != nil {
		t.Fatal(err)
	}
	defer handle.Close()
	routes, done := make(chan netlink.RouteUpdate, 1<<12), make(chan struct{})
	err = netlink.RouteSubscribeWithOptions(routes, done, netlink.RouteSubscribeOptions{
		Namespace: &handle, ListExisting: true, ReceiveBufferSize: 8 << 20, ReceiveBufferForceSize: true,
		ErrorCallback: func(err error) { k.fail(fmt.Errorf("following routes: %w", err)) },
	})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		k.follow(routes)
	}()
	t.Cleanup(func() {
		close(done)
		for range routes { // until it is closed
		}
		<-ended
		k.set.Close()
	})
	return k
}

// follow notes changes until there are none to come.
func (k *kernel) follow(routes <-chan netlink.RouteUpdate) {
	var again <-chan time.Time
	for {
		select {
		case u, more := <-routes:
			if !more {
				return
			}
			if !k.route(u) || len(routes) > 0 {
				continue
			}
		case <-again:
		}
		again = nil
		if k.look() {
			again = time.After(lookAgain)
		}
	}
}

// route notes a change of the table of captured pods.
func (k *kernel) route(u netlink.RouteUpdate) (noted bool) {
	if u.Table != noderoute.TableInbound || u.Dst == nil {
		return false
	}
	ip, ok := netip.AddrFromSlice(u.Dst.IP.To4())
	if ones, _ := u.Dst.Mask.Size(); !ok || ones != ip.BitLen() || ip == address(0) {
		return false // the ztunnel has a route there too, and is captured by nobody
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.note(k.routed, ip, u.Type == unix.RTM_NEWROUTE)
	return true
}

// look lists the set, and reports whether it still differs from the routes.
func (k *kernel) look() (differs bool) {
	found, err := k.set.List(noderoute.SetName)
	if err != nil {
		k.fail(fmt.Errorf("listing the set: %w", err))
		return false
	}
	now := map[netip.Addr]bool{}
	if found != nil {
		for _, e := range found.Entries {
			now[e.IP] = true
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for ip := range now {
		k.note(k.listed, ip, true)
	}
	for ip := range k.listed {
		k.note(k.listed, ip, now[ip])
	}
	for ip := range k.routed {
		differs = differs || !k.listed[ip]
	}
	return differs || len(k.listed) != len(k.routed)
}

// note takes over whether an address is in one of the two; the caller holds the lock.
func (k *kernel) note(in map[netip.Addr]bool, ip netip.Addr, is bool) {
	if in[ip] == is {
		return
	}
	k.since[ip] = time.Now()
	if is {
		in[ip] = true
	} else {
		delete(in, ip)
	}
}

func (k *kernel) fail(err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.err == nil {
		k.err = err
	}
}

// captures reports whether the kernel captures exactly these, and says what differs.
func (k *kernel) captures(want []netip.Addr) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.err != nil {
		return k.err
	}
	missing := 0
	for _, ip := range want {
		if !k.routed[ip] || !k.listed[ip] {
			missing++
		}
	}
	if missing > 0 || len(k.routed) != len(want) || len(k.listed) != len(want) {
		return fmt.Errorf("%d are to be captured, %d are not; there are %d routes and %d entries of the set", len(want), missing, len(k.routed), len(k.listed))
	}
	return nil
}

// changed is when the kernel was seen to change last about each of these.
func (k *kernel) changed(ips []netip.Addr) []time.Time {
	k.mu.Lock()
	defer k.mu.Unlock()
	at := make([]time.Time, len(ips))
	for i, ip := range ips {
		at[i] = k.since[ip]
	}
	return at
}

// last is when the kernel was seen to change last.
func (k *kernel) last() time.Time {
	k.mu.Lock()
	defer k.mu.Unlock()
	var last time.Time
	for _, at := range k.since {
		if at.After(last) {
			last = at
		}
	}
	return last
}
