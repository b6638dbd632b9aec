// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"os"
	"os/signal"
	"sync"
	"syscall"
)

// reaper starts processes and collects every child's end, as PID 1 has to: its own children's and those of all
// processes whose parent has gone. Nothing else in this program may wait for a child.
type reaper struct {
	mu   sync.Mutex
	ours map[int]chan<- syscall.WaitStatus
}

func newReaper() *reaper {
	r := &reaper{ours: map[int]chan<- syscall.WaitStatus{}}
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGCHLD)
	go func() {
		for range ended {
			r.collect()
		}
	}()
	return r
}

// Spawn implements agent.Spawner. The lock is held from the start of a process until its number is known, so that collect
// can't see its end before.
func (r *reaper) Spawn(path string, argv []string, attr *syscall.ProcAttr) (int, <-chan syscall.WaitStatus, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	pid, err := syscall.ForkExec(path, argv, attr)
	if err != nil {
		return 0, nil, err
	}
	exited := make(chan syscall.WaitStatus, 1)
	r.ours[pid] = exited
	return pid, exited, nil
}

// collect takes all that have ended: signals merge, so one may stand for many.
func (r *reaper) collect() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
		if err == syscall.EINTR {
			continue
		}
		if err != nil || pid <= 0 {
			return
		}
		if exited, ok := r.ours[pid]; ok {
			delete(r.ours, pid)
			exited <- status
		}
	}
}
