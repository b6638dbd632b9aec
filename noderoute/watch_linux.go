// SPDX-License-Identifier: Apache-2.0

package noderoute

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/ambient22/ambient22/ipset"
	"github.com/ambient22/ambient22/noderoute/nlbatch"
	"golang.org/x/sys/unix"
)

const (
	// comparePeriod is how often what the kernel has no events for is compared
	// with what was there before.
	comparePeriod = 250 * time.Millisecond
	// compareShare is the part of a processor's time that comparing may take, as
	// one of so many: where there is much to compare, it is done less often, but
	// at least once per slowestCompare, and legacy rules see below.
	compareShare   = 200
	slowestCompare = time.Second
)

// Watch follows what happens to the node's data path until ctx ends, and calls
// changed with the kinds of things that somebody else has changed. The kernel
// announces links, addresses, routes, ip rules, rp_filter and nftables; changed is
// called within a millisecond of those. It tells nobody of the set, the legacy
// variant's rules and accept_local: these are compared every 250 ms, or less often
// where that would take more than half a percent of a processor.
//
// What changed is told by kinds, not by things: whether anything differs from the
// plan is for Repair to find out. Events of things that the data path does not
// depend on are passed over, and so are those of this Node's own routes, rules and
// links. Its other writes are told of, and a Repair finds nothing then.
//
// The first call is with Everything, when nothing can be missed any more, and so is
// one after the kernel had more events than it could keep. changed must not block
// for long; it is called from one goroutine. Before the first Apply, and after
// Cleanup, nothing is told.
func (n *Node) Watch(ctx context.Context, changed func(Kinds)) error {
	done := make(chan error, 1)
	go func() {
		// The thread is in the node's namespace and ends with this goroutine.
		runtime.LockOSThread()
		_, err := enter(n.netns)
		if err == nil {
			err = n.watch(ctx, changed)
		}
		done <- err
	}()
	return <-done
}

// watcher is one Watch's sockets, and what it compares with.
type watcher struct {
	node  *Node
	route *nlbatch.Conn
	nft   *nlbatch.Conn // nil where the kernel has no nftables
	stop  int           // an eventfd
	query *session      // to read with; it writes nothing

	set     *ipset.Listed
	sysctls map[Sysctl]string
	tables  map[string]*legacyDigest
	cost    time.Duration // of the latest comparison in the thread's own time, the tables left out
}

func (n *Node) watch(ctx context.Context, changed func(Kinds)) error {
	w := &watcher{node: n, stop: -1, query: &session{ctx: ctx, node: n, side: Host, ioctl: -1}}
	defer w.close()
	if err := w.open(); err != nil {
		return fmt.Errorf("watching the node: %w", err)
	}
	stopped := make(chan struct{})
	cancel := context.AfterFunc(ctx, func() {
		defer close(stopped)
		_, _ = unix.Write(w.stop, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	})
	defer func() {
		if !cancel() {
			<-stopped // it writes to a descriptor that is closed afterwards
		}
	}()
	if err := w.run(ctx, changed); err != nil && ctx.Err() == nil {
		return fmt.Errorf("watching the node: %w", err)
	}
	return nil
}

func (w *watcher) open() error {
	var err error
	if err = w.query.open(); err != nil {
		return err
	}
	if w.stop, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return fmt.Errorf("making an eventfd: %w", err)
	}
	w.route, err = nlbatch.Listen(unix.NETLINK_ROUTE, unix.RTNLGRP_LINK, unix.RTNLGRP_IPV4_IFADDR,
		unix.RTNLGRP_IPV4_ROUTE, unix.RTNLGRP_IPV4_RULE, unix.RTNLGRP_IPV4_NETCONF)
	if err != nil {
		return err
	}
	w.nft, err = nlbatch.Listen(unix.NETLINK_NETFILTER, unix.NFNLGRP_NFTABLES)
	if errors.Is(err, unix.EPROTONOSUPPORT) {
		w.nft, err = nil, nil
	}
	return err
}

func (w *watcher) close() {
	w.query.close()
	for _, c := range []*nlbatch.Conn{w.route, w.nft} {
		if c != nil {
			c.Close()
		}
	}
	if w.stop >= 0 {
		unix.Close(w.stop)
	}
}

// threadTime is how long the calling thread has been at work. What a comparison
// costs on a busy machine would be overrated by the time of day.
func threadTime() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts); err != nil {
		return 0 // then nothing is found to be dear
	}
	return time.Duration(ts.Nano())
}

// run waits for events, and compares in between.
func (w *watcher) run(ctx context.Context, changed func(Kinds)) error {
	fds := []unix.PollFd{{Fd: int32(w.stop), Events: unix.POLLIN}, {Fd: int32(w.route.FD()), Events: unix.POLLIN}}
	if w.nft != nil {
		fds = append(fds, unix.PollFd{Fd: int32(w.nft.FD()), Events: unix.POLLIN})
	}
	if _, err := w.compare(); err != nil {
		return err
	}
	changed(Everything)
	next := time.Now().Add(comparePeriod)
	for ctx.Err() == nil {
		wait := max(time.Until(next), 0)
		_, err := unix.Poll(fds, int((wait+time.Millisecond-1)/time.Millisecond))
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("waiting for events: %w", err)
		}
		kinds, err := w.events()
		if err != nil {
			return err
		}
		if start := time.Now(); !start.Before(next) {
			more, err := w.compare()
			if err != nil {
				return err
			}
			kinds |= more
			next = start.Add(min(max(comparePeriod, compareShare*w.cost), slowestCompare))
		}
		if kinds != 0 && w.node.interest.any() {
			changed(kinds)
		}
	}
	return nil
}
