// SPDX-License-Identifier: Apache-2.0

package hosts

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ambient22/ambient22/internal/lab/netns"
)

// patience is how long a process may take to end by itself.
const patience = 3 * time.Second

// Destroy ends every process in the hosts and removes their namespaces and
// files. What is not there is no error, so it also finishes what an interrupted
// Build or Destroy left.
func (n *Net) Destroy(ctx context.Context) error {
	ids := netns.IDs(n.Namespaces()...)
	errs := []error{n.stopAll(ctx, ids)}
	for _, host := range n.Topology.Hosts() {
		errs = append(errs,
			netns.Delete(n.Namespace(host)),
			os.RemoveAll(filepath.Join(etcNetns, n.Namespace(host))))
	}
	// A process that was on its way in may have entered meanwhile. Now that the
	// names are gone, no other can.
	errs = append(errs, n.stopAll(ctx, ids))
	// The folder goes with the last lab in it; another lab's files keep it.
	if err := os.Remove(etcNetns); err != nil && !errors.Is(err, unix.ENOTEMPTY) && !errors.Is(err, os.ErrNotExist) {
		errs = append(errs, fmt.Errorf("removing %s: %w", etcNetns, err))
	}
	return errors.Join(errs...)
}

// killRounds is how often stopAll looks again: a process may start another one
// between being found and being killed.
const killRounds = 10

// stopAll ends the processes in the lab's namespaces, asking first. They are
// found by their namespace, so a daemon that this process did not start, or a
// shell somebody left open, ends as well.
func (n *Net) stopAll(ctx context.Context, ids map[netns.ID]bool) error {
	signal := unix.SIGTERM
	for range 1 + killRounds {
		pids, err := n.others(ids)
		if err != nil || len(pids) == 0 {
			return err
		}
		if err := stop(ctx, pids, signal); err != nil {
			return err
		}
		signal = unix.SIGKILL
	}
	pids, err := n.others(ids)
	if err == nil && len(pids) > 0 {
		err = fmt.Errorf("stopping the lab's processes: %v do not end", pids)
	}
	return err
}

// others are the processes in the lab's namespaces, or about to enter one, but
// not this process.
func (n *Net) others(ids map[netns.ID]bool) ([]int, error) {
	all, err := netns.Processes()
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, pid := range all {
		if pid != os.Getpid() && (netns.In(pid, ids) || n.entering(pid)) {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// entering reports whether a process is this lab's entry command, which becomes
// another program once it is inside.
func (n *Net) entering(pid int) bool {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil || len(n.Enter) == 0 {
		return false // it has ended
	}
	args := strings.Split(string(data), "\x00")
	own := len(args) > len(n.Enter)+1 && slices.Equal(args[:len(n.Enter)], n.Enter) && args[len(n.Enter)] == "--netns"
	return own && slices.Contains(n.Namespaces(), args[len(n.Enter)+1])
}

// stop signals the processes and waits for their end, patience at most. A
// pidfd can't mean another process that got the number meanwhile.
func stop(ctx context.Context, pids []int, signal unix.Signal) error {
	var waiting []unix.PollFd
	defer func() {
		for _, p := range waiting {
			unix.Close(int(p.Fd))
		}
	}()
	for _, pid := range pids {
		fd, err := unix.PidfdOpen(pid, 0)
		if errors.Is(err, unix.ESRCH) {
			continue
		}
		if err != nil {
			return fmt.Errorf("opening process %d: %w", pid, err)
		}
		waiting = append(waiting, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
		if err := unix.PidfdSendSignal(fd, signal, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("signalling process %d: %w", pid, err)
		}
	}
	return waitEnd(ctx, waiting, time.Now().Add(patience))
}

// waitEnd waits until every pidfd says that its process ended, or the time is
// up; who is left is found by the caller.
func waitEnd(ctx context.Context, waiting []unix.PollFd, until time.Time) error {
	for i := 0; i < len(waiting); {
		left := time.Until(until)
		if left <= 0 || ctx.Err() != nil {
			return nil
		}
		_, err := unix.Poll(waiting[i:i+1], int(min(left, 100*time.Millisecond)/time.Millisecond)+1)
		if err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("waiting for processes to end: %w", err)
		}
		if waiting[i].Revents != 0 {
			i++
		}
	}
	return nil
}
