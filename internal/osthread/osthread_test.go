// SPDX-License-Identifier: Apache-2.0

package osthread_test

import (
	"errors"
	"os"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ambient22/ambient22/internal/osthread"
)

func TestTheProcessStaysInItsNamespace(t *testing.T) {
	process := func() string {
		link, err := os.Readlink("/proc/self/ns/net")
		if err != nil {
			t.Fatal(err)
		}
		return link
	}
	before := process()
	failed := errors.New("returned as it is")
	// Often enough that the scheduler would give the first thread away, too.
	for range 200 {
		err := osthread.Throwaway(func() error {
			if unix.Gettid() == unix.Getpid() {
				t.Error("ran on the process's first thread")
			}
			if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
				return err
			}
			inside, err := os.Readlink("/proc/thread-self/ns/net")
			if err == nil && inside == before {
				t.Error("the thread is still in the process's namespace")
			}
			return failed
		})
		if !errors.Is(err, failed) {
			t.Fatal(err)
		}
		runtime.Gosched()
	}
	if after := process(); after != before {
		t.Errorf("the process moved from %s to %s", before, after)
	}
}
