// SPDX-License-Identifier: Apache-2.0

package hosts

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/ambient22/ambient22/internal/lab/netns"
)

// Entry is how a command enters a host.
type Entry struct {
	Namespace string
	Pod       bool   // hide the names of the namespaces, which a pod does not see
	Tools     string // folder put before PATH
}

// EnterMain moves this process into a host and becomes the command; it returns
// only on error. The process has its own view of /sys, of the files that
// /etc/netns has for the namespace, and in a pod of /run/netns.
func EnterMain(e Entry, argv []string) error {
	if len(argv) == 0 {
		return errors.New("entering a host: no command")
	}
	runtime.LockOSThread() // namespaces belong to the thread that execs
	if err := netns.Enter(e.Namespace); err != nil {
		return err
	}
	if err := ownMounts(e); err != nil {
		return err
	}
	if e.Tools != "" {
		if err := os.Setenv("PATH", e.Tools+":"+os.Getenv("PATH")); err != nil {
			return fmt.Errorf("setting PATH: %w", err)
		}
	}
	path, err := exec.LookPath(argv[0])
	if err != nil {
		return err
	}
	if err := unix.Exec(path, argv, os.Environ()); err != nil {
		return fmt.Errorf("running %s: %w", argv[0], err)
	}
	return nil
}

func ownMounts(e Entry) error {
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("making a mount namespace: %w", err)
	}
	if err := unix.Mount("", "/", "none", unix.MS_SLAVE|unix.MS_REC, ""); err != nil {
		return fmt.Errorf("separating the mount namespace: %w", err)
	}
	// /sys/class/net shows the devices of the namespace it was mounted in.
	if err := unix.Unmount("/sys", unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("unmounting /sys: %w", err)
	}
	if err := unix.Mount("sysfs", "/sys", "sysfs", 0, ""); err != nil {
		return fmt.Errorf("mounting /sys: %w", err)
	}
	if err := bindEtc(e.Namespace); err != nil {
		return err
	}
	if e.Pod {
		if err := unix.Mount("none", netns.Dir, "tmpfs", 0, "size=4k,mode=0755"); err != nil {
			return fmt.Errorf("hiding %s: %w", netns.Dir, err)
		}
	}
	return nil
}

func bindEtc(namespace string) error {
	dir := filepath.Join(etcNetns, namespace)
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading %s: %w", dir, err)
	}
	for _, entry := range entries {
		target := filepath.Join("/etc", entry.Name())
		if err := unix.Mount(filepath.Join(dir, entry.Name()), target, "none", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("mounting over %s: %w", target, err)
		}
	}
	return nil
}
