// SPDX-License-Identifier: Apache-2.0

// Package netns makes, enters and removes named network namespaces, the kind
// that `ip netns` shows.
package netns

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/ambient22/ambient22/internal/osthread"
)

// Dir is where named namespaces are mounted, as iproute2 has it.
const Dir = "/run/netns"

// Path is the file of a named namespace.
func Path(name string) string { return filepath.Join(Dir, name) }

// Exists reports whether a namespace of that name is there.
func Exists(name string) bool {
	_, err := os.Lstat(Path(name))
	return err == nil
}

// Create makes a new namespace. It is an error if one of that name exists.
func Create(name string) error {
	if err := prepareDir(); err != nil {
		return err
	}
	f, err := os.OpenFile(Path(name), os.O_RDONLY|os.O_CREATE|os.O_EXCL, 0o444)
	if err != nil {
		return fmt.Errorf("creating namespace %s: %w", name, err)
	}
	f.Close()
	err = osthread.Throwaway(func() error {
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("creating namespace %s: %w", name, err)
		}
		if err := unix.Mount(threadNetns(), Path(name), "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("mounting namespace %s: %w", name, err)
		}
		return nil
	})
	if err != nil {
		return errors.Join(err, os.Remove(Path(name)))
	}
	return nil
}

// prepareDir makes the folder a mount point of its own that passes mounts on,
// so that the namespaces are seen in every mount namespace (as iproute2 does).
func prepareDir() error {
	if err := os.MkdirAll(Dir, 0o755); err != nil {
		return fmt.Errorf("making %s: %w", Dir, err)
	}
	err := unix.Mount("", Dir, "none", unix.MS_SHARED|unix.MS_REC, "")
	if errors.Is(err, unix.EINVAL) { // not a mount point yet
		if err := unix.Mount(Dir, Dir, "none", unix.MS_BIND|unix.MS_REC, ""); err != nil {
			return fmt.Errorf("mounting %s: %w", Dir, err)
		}
		err = unix.Mount("", Dir, "none", unix.MS_SHARED|unix.MS_REC, "")
	}
	if err != nil {
		return fmt.Errorf("sharing %s: %w", Dir, err)
	}
	return nil
}

// Delete removes a namespace's name. The namespace itself goes when the last
// process in it ends. A name that is not there is no error.
func Delete(name string) error {
	err := unix.Unmount(Path(name), unix.MNT_DETACH)
	if err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("unmounting namespace %s: %w", name, err)
	}
	if err := os.Remove(Path(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing namespace %s: %w", name, err)
	}
	return nil
}

// Do runs fn on a thread inside the namespace. Sockets that fn opens itself
// belong to that namespace for good; goroutines that it starts do not run there.
func Do(name string, fn func() error) error {
	return osthread.Throwaway(func() error {
		if err := Enter(name); err != nil {
			return err
		}
		return fn()
	})
}

// Enter moves the calling thread into the namespace. Only for a locked thread
// that does not come back, or a process about to exec.
func Enter(name string) error {
	f, err := os.Open(Path(name))
	if err != nil {
		return fmt.Errorf("opening namespace %s: %w", name, err)
	}
	defer f.Close()
	if err := unix.Setns(int(f.Fd()), unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("entering namespace %s: %w", name, err)
	}
	return nil
}

func threadNetns() string { return fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()) }
