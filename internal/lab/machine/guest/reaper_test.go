// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"errors"
	"os"
	"strconv"
	"sync"
	"syscall"
	"testing"
)

// TestReaperTellsEachProcessItsOwnEnd must be the only test here that starts processes: a reaper takes every child.
func TestReaperTellsEachProcessItsOwnEnd(t *testing.T) {
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	attr := &syscall.ProcAttr{Files: []uintptr{null.Fd(), null.Fd(), null.Fd()}}
	r := newReaper()
	var all sync.WaitGroup
	for code := range 100 {
		all.Go(func() {
			_, exited, err := r.Spawn("/bin/sh", []string{"sh", "-c", "exit " + strconv.Itoa(code)}, attr)
			if err != nil {
				t.Error(err)
				return
			}
			if status := <-exited; status.ExitStatus() != code {
				t.Errorf("process %d ended with %d", code, status.ExitStatus())
			}
		})
		all.Go(func() {
			if _, _, err := r.Spawn("/no/such/program", nil, attr); !errors.Is(err, syscall.ENOENT) {
				t.Errorf("starting what is not there: %v", err)
			}
		})
	}
	all.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.ours) != 0 {
		t.Errorf("still waiting for %d processes", len(r.ours))
	}
}
