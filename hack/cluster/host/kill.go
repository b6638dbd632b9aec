// SPDX-License-Identifier: Apache-2.0

package host

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ambient22/ambient22/internal/lab/netns"
)

// patience is how long the kernel may take to end what was killed: the pods of a
// host are ended one after the other.
const patience = 20 * time.Second

// Kill ends everything that runs in hosts of a cluster, pods included, and waits
// until it has ended. A host that is not there is no error.
func Kill(ctx context.Context, cluster string, names ...string) error {
	var namespaces []string
	for _, name := range names {
		namespaces = append(namespaces, Namespace(cluster, name))
	}
	ids := netns.IDs(namespaces...)
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		pids, err := inside(ids)
		if err != nil || len(pids) == 0 {
			return err
		}
		for _, pid := range pids {
			if err := kill(ctx, pid, ids); err != nil {
				return err
			}
		}
	}
}

func inside(ids map[netns.ID]bool) ([]int, error) {
	all, err := netns.Processes()
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, pid := range all {
		if pid != os.Getpid() && netns.In(pid, ids) {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// kill ends one process and waits for its end; that of a host's first process comes
// after that of all others in the host. What the pidfd stands for is looked at once
// more, because the number may have become another's since it was found.
func kill(ctx context.Context, pid int, ids map[netns.ID]bool) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("opening process %d: %w", pid, err)
	}
	defer unix.Close(fd)
	if !netns.In(pid, ids) {
		return nil
	}
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("ending process %d: %w", pid, err)
	}
	return waitFor(ctx, fd, pid)
}

// waitFor waits for the end of the process that a pidfd stands for.
func waitFor(ctx context.Context, fd, pid int) error {
	waiting := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	for waiting[0].Revents == 0 {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("waiting for the end of process %d: %w", pid, err)
		}
		if _, err := unix.Poll(waiting, 100); err != nil && !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("waiting for the end of process %d: %w", pid, err)
		}
	}
	return nil
}
