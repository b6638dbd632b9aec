// SPDX-License-Identifier: Apache-2.0

package live

import (
	"fmt"
	"net"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/ambient22/ambient22/internal/osthread"
)

// Space is a network namespace to watch.
type Space struct {
	Name string // what it is called in events
	// Path is a file of the namespace ("/run/netns/x", "/proc/123/ns/net"); "" is
	// the one the process is in.
	Path string
	// held keeps the namespace reachable, whatever becomes of its file; nil where
	// nothing does. It is closed when nobody refers to it any more.
	held *os.File
}

// hold is the namespace that a file names now. The file may go: it may be that of a
// process that ends, whose number another process then gets.
func hold(path string) (Space, error) {
	f, err := os.Open(path)
	if err != nil {
		return Space{}, fmt.Errorf("opening the network namespace %s: %w", path, err)
	}
	return Space{Name: path, Path: fmt.Sprintf("/proc/self/fd/%d", f.Fd()), held: f}, nil
}

// Do runs fn on a thread inside the namespace. Sockets that fn opens stay there.
func (s Space) Do(fn func() error) error {
	if s.Path == "" {
		return fn()
	}
	defer runtime.KeepAlive(s.held)
	return osthread.Throwaway(func() error {
		f, err := os.Open(s.Path)
		if err != nil {
			return fmt.Errorf("opening the network namespace of %s: %w", s.Name, err)
		}
		defer f.Close()
		if err := unix.Setns(int(f.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("entering the network namespace of %s: %w", s.Name, err)
		}
		return fn()
	})
}

// devices are the names of the namespace's devices by index.
func (s Space) devices() (map[int]string, error) {
	names := map[int]string{}
	err := s.Do(func() error {
		links, err := net.Interfaces()
		for _, l := range links {
			names[l.Index] = l.Name
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listing the devices of %s: %w", s.Name, err)
	}
	return names, nil
}
