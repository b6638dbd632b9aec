// SPDX-License-Identifier: Apache-2.0

package netns

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

func namespace(t *testing.T, which string) string {
	t.Helper()
	name := fmt.Sprintf("n%d%s", os.Getpid(), which)
	if err := Create(name); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for range 2 { // the second finds nothing
			if err := Delete(name); err != nil {
				t.Error(err)
			}
		}
		if Exists(name) {
			t.Errorf("%s is still there", name)
		}
	})
	return name
}

// ownID is the namespace that the process shows as its own.
func ownID(t *testing.T) ID {
	t.Helper()
	id, ok := idOf(fmt.Sprintf("/proc/%d/ns/net", os.Getpid()))
	if !ok {
		t.Fatal("this process has no namespace")
	}
	return id
}

func TestDoIsInsideAndLeavesNothing(t *testing.T) {
	name := namespace(t, "a")
	before := ownID(t)
	var visits sync.WaitGroup
	for range 50 {
		visits.Go(func() {
			err := Do(name, func() error {
				links, err := net.Interfaces()
				if err == nil && (len(links) == 0 || links[0].Name != "lo" || links[0].Flags&net.FlagUp != 0) {
					err = fmt.Errorf("devices %v, want a lo that is down", links)
				}
				if unix.Gettid() == unix.Getpid() {
					err = errors.Join(err, errors.New("on the first thread"))
				}
				return err
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	visits.Wait()
	if ownID(t) != before {
		t.Error("the process is in another namespace now")
	}
}

func TestCreateRefusesATakenName(t *testing.T) {
	name := namespace(t, "b")
	if err := Create(name); !errors.Is(err, os.ErrExist) {
		t.Errorf("got %v, want that it exists", err)
	}
	if err := Do("n-nowhere", func() error { return nil }); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v, want that it does not exist", err)
	}
}

// A process counts as being in a namespace if any of its threads is.
func TestPidsLooksAtEveryThread(t *testing.T) {
	name := namespace(t, "c")
	if pids, err := Pids(name); err != nil || len(pids) > 0 {
		t.Errorf("got %v %v, want none", pids, err)
	}
	err := Do(name, func() error {
		pids, err := Pids(name)
		if err == nil && !slices.Contains(pids, os.Getpid()) {
			err = fmt.Errorf("got %v, want this process", pids)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
