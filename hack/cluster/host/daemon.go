// SPDX-License-Identifier: Apache-2.0

package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ambient22/ambient22/internal/lab/netns"
)

// stoppedDir is where a host's first process sees which daemons are to stay away: a
// file for each.
const stoppedDir = "/run/stopped-daemons"

// ErrNoDaemon says that a host has no daemon of that name running.
var ErrNoDaemon = errors.New("no such daemon runs there")

// StopDaemon ends a daemon at once (an API server that is asked to end waits a minute
// for its clients), and keeps the host from starting it again before StartDaemon.
func StopDaemon(ctx context.Context, cluster, name, daemon string) error {
	init, err := first(cluster, name)
	if err != nil {
		return err
	}
	pid, err := daemonOf(init, Namespace(cluster, name), daemon)
	if err != nil {
		return fmt.Errorf("stopping %s on %s: %w", daemon, name, err)
	}
	mark := stopMark(init, daemon)
	err = os.MkdirAll(filepath.Dir(mark), 0o755)
	if err == nil {
		err = os.WriteFile(mark, nil, 0o644)
	}
	if err == nil {
		err = end(ctx, pid)
	}
	if err != nil {
		return fmt.Errorf("stopping %s on %s: %w", daemon, name, err)
	}
	return nil
}

// StartDaemon lets the host start a daemon again, which it does within restartAfter.
// One that was not stopped is no error.
func StartDaemon(cluster, name, daemon string) error {
	init, err := first(cluster, name)
	if err != nil {
		return err
	}
	if err := os.Remove(stopMark(init, daemon)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("starting %s on %s: %w", daemon, name, err)
	}
	return nil
}

// stopMark is a daemon's file in stoppedDir, seen from outside the host.
func stopMark(init int, daemon string) string {
	return filepath.Join("/proc", strconv.Itoa(init), "root", stoppedDir, filepath.Base(daemon))
}

// stopped reports, in the host, whether a daemon is to stay away.
func stopped(daemon string) bool {
	_, err := os.Lstat(filepath.Join(stoppedDir, daemon))
	return err == nil
}

// daemonOf is the child of the host's first process that runs a program of that name.
func daemonOf(init int, namespace, daemon string) (int, error) {
	pids, err := netns.Pids(namespace)
	if err != nil {
		return 0, err
	}
	for _, pid := range pids {
		command, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err != nil {
			continue // it has ended
		}
		program, _, _ := strings.Cut(string(command), "\x00")
		if filepath.Base(program) == daemon && parent(pid) == init {
			return pid, nil
		}
	}
	return 0, ErrNoDaemon
}

// parent is the process that a process is a child of, 0 where that is not known.
func parent(pid int) int {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		if number, ok := strings.CutPrefix(line, "PPid:"); ok {
			ppid, _ := strconv.Atoi(strings.TrimSpace(number))
			return ppid
		}
	}
	return 0
}

// end kills a process and waits until it has ended.
func end(ctx context.Context, pid int) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("opening process %d: %w", pid, err)
	}
	defer unix.Close(fd)
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("ending process %d: %w", pid, err)
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return waitFor(ctx, fd, pid)
}
