// SPDX-License-Identifier: Apache-2.0

package noderoute

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"

	"github.com/ambient22/ambient22/geneve"
	"github.com/ambient22/ambient22/ipset"
	"github.com/ambient22/ambient22/noderoute/nlbatch"
	"golang.org/x/sys/unix"
)

// session is one call's work: a thread in the node's network namespace, its
// netlink sockets, the state file's content, and what was done so far.
type session struct {
	ctx    context.Context
	node   *Node
	side   Side
	route  *nlbatch.Conn
	links  *geneve.Conn
	sets   *ipset.Conn
	ioctl  int
	state  *state
	listed map[Variant]saved // rules read on the way to something else
	result Result
}

// in runs f on a thread that is in the node's network namespace.
func (n *Node) in(ctx context.Context, side Side, f func(*session) error) (Result, error) {
	runtime.LockOSThread()
	back, err := enter(n.netns)
	if err != nil {
		runtime.UnlockOSThread()
		return Result{}, err
	}
	s := &session{ctx: ctx, node: n, side: side, ioctl: -1}
	err = s.open()
	if err == nil {
		err = f(s)
	}
	s.close()
	if backErr := back(); backErr != nil {
		// The thread stays locked and ends with its goroutine: it must not
		// serve anybody else in this namespace.
		return s.result, errors.Join(err, backErr)
	}
	runtime.UnlockOSThread()
	return s.result, err
}

// enter moves the calling, locked thread into a network namespace and returns
// the way back.
func enter(netns int) (back func() error, err error) {
	here, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("opening the thread's network namespace: %w", err)
	}
	same, err := sameFile(here, netns)
	if err != nil || same {
		return func() error { return nil }, errors.Join(err, unix.Close(here))
	}
	if err := unix.Setns(netns, unix.CLONE_NEWNET); err != nil {
		return nil, errors.Join(fmt.Errorf("entering the network namespace: %w", err), unix.Close(here))
	}
	return func() error {
		defer unix.Close(here)
		if err := unix.Setns(here, unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("leaving the network namespace: %w", err)
		}
		return nil
	}, nil
}

func sameFile(a, b int) (bool, error) {
	var x, y unix.Stat_t
	if err := errors.Join(unix.Fstat(a, &x), unix.Fstat(b, &y)); err != nil {
		return false, fmt.Errorf("comparing network namespaces: %w", err)
	}
	return x.Ino == y.Ino && x.Dev == y.Dev, nil
}

func (s *session) open() error {
	bootID, err := os.ReadFile(procSys + "/kernel/random/boot_id")
	if err != nil {
		return fmt.Errorf("reading the boot's identifier: %w", err)
	}
	var ns unix.Stat_t
	if err := unix.Fstat(s.node.netns, &ns); err != nil {
		return fmt.Errorf("reading the network namespace's identifier: %w", err)
	}
	if s.state, err = loadState(s.node.statePath(s.side), strings.TrimSpace(string(bootID)), ns.Ino); err != nil {
		return err
	}
	if s.route, err = nlbatch.Dial(unix.NETLINK_ROUTE); err != nil {
		return err
	}
	if s.links, err = geneve.Dial(); err != nil {
		return err
	}
	s.node.own.add(s.route.Port(), s.links.Port())
	if s.sets, err = ipset.Dial(); err != nil {
		return err
	}
	s.ioctl, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("opening a socket: %w", err)
	}
	return nil
}

func (s *session) close() {
	if s.route != nil {
		s.route.Close()
	}
	if s.links != nil {
		s.result.NetlinkWrites += s.links.Writes
		s.links.Close()
	}
	if s.sets != nil {
		s.result.NetlinkWrites += s.sets.Writes
		if s.sets.Writes > 0 {
			s.node.own.note(Set)
		}
		s.sets.Close()
	}
	if s.ioctl >= 0 {
		unix.Close(s.ioctl)
	}
	if s.result.SysctlWrites > 0 {
		s.node.own.note(Sysctls)
	}
	if s.result.Execs > 0 {
		s.node.own.note(Chains)
	}
}

func (s *session) saveState() error { return s.state.save(s.node.statePath(s.side)) }

// index is a device's interface index.
func (s *session) index(name string) (int, error) {
	req, err := unix.NewIfreq(name)
	if err == nil {
		err = unix.IoctlIfreq(s.ioctl, unix.SIOCGIFINDEX, req)
	}
	if err != nil {
		return 0, fmt.Errorf("looking up device %s: %w", name, err)
	}
	return int(req.Uint32()), nil
}

// name is the device of an interface index.
func (s *session) name(index int) (string, error) {
	req, err := unix.NewIfreq("")
	if err != nil {
		return "", fmt.Errorf("looking up device %d: %w", index, err)
	}
	req.SetUint32(uint32(index))
	if err := unix.IoctlIfreq(s.ioctl, unix.SIOCGIFNAME, req); err != nil {
		return "", fmt.Errorf("looking up device %d: %w", index, err)
	}
	return req.Name(), nil
}
