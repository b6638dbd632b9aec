// SPDX-License-Identifier: Apache-2.0

package guest

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

type mount struct {
	source, target, kind string
	flags                uintptr
	options              string
}

const noPrograms = unix.MS_NOSUID | unix.MS_NOEXEC | unix.MS_NODEV

// kernelFilesystems are what this package itself needs, before there is a root file system.
var kernelFilesystems = []mount{
	{"dev", "/dev", "devtmpfs", unix.MS_NOSUID, "mode=0755"},
	{"proc", "/proc", "proc", noPrograms, ""},
	{"sys", "/sys", "sysfs", noPrograms, ""},
}

// ownFilesystems cover what the host's root has in these places with the machine's own.
var ownFilesystems = []mount{
	{"dev", "/dev", "devtmpfs", unix.MS_NOSUID, "mode=0755"},
	{"devpts", "/dev/pts", "devpts", unix.MS_NOSUID | unix.MS_NOEXEC, "mode=0620,gid=5,ptmxmode=0666"},
	{"shm", "/dev/shm", "tmpfs", unix.MS_NOSUID | unix.MS_NODEV, "mode=1777"},
	{"proc", "/proc", "proc", noPrograms, ""},
	{"sys", "/sys", "sysfs", noPrograms, ""},
	{"cgroup", "/sys/fs/cgroup", "cgroup2", noPrograms, ""},
	{"run", "/run", "tmpfs", unix.MS_NOSUID | unix.MS_NODEV, "mode=0755"},
}

// linkStreams makes the names under which shells and programs find their own
// open files; elsewhere udev does this.
func linkStreams() error {
	for name, target := range map[string]string{
		"/dev/fd": "/proc/self/fd", "/dev/stdin": "/proc/self/fd/0", "/dev/stdout": "/proc/self/fd/1", "/dev/stderr": "/proc/self/fd/2",
	} {
		if err := os.Symlink(target, name); err != nil {
			return fmt.Errorf("preparing /dev: %w", err)
		}
	}
	return nil
}

// shareOptions: the host's files are taken to stay as they are while the machine runs (cache=loose), because asking the
// host again for every look-up makes starting a program several times slower. What changes on the host meanwhile may
// be seen late, half, or never. msize is the biggest message, which QEMU's ring allows just so.
const shareOptions = "trans=virtio,version=9p2000.L,cache=loose,msize=512000"

func mountAll(mounts []mount) error {
	for _, m := range mounts {
		if err := m.do(); err != nil {
			return err
		}
	}
	return nil
}

func (m mount) do() error {
	if err := os.MkdirAll(m.target, 0o755); err != nil {
		return fmt.Errorf("mounting %s on %s: %w", m.kind, m.target, err)
	}
	if err := unix.Mount(m.source, m.target, m.kind, m.flags, m.options); err != nil {
		return fmt.Errorf("mounting %s on %s: %w", m.kind, m.target, err)
	}
	return nil
}

// enterHostRoot makes the host's files, under an overlay in memory, the root of this process and of the kernel's own
// helpers (modprobe).
func enterHostRoot() error {
	const lower, root, work = "/lower", "/root", "/work"
	for _, dir := range []string{UpperPath, work} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("preparing the root file system: %w", err)
		}
	}
	overlay := "lowerdir=" + lower + ",upperdir=" + UpperPath + ",workdir=" + work
	err := mountAll([]mount{
		{ShareTag, lower, "9p", unix.MS_RDONLY | unix.MS_NOATIME, shareOptions},
		{"overlay", root, "overlay", unix.MS_NOATIME, overlay},
	})
	if err != nil {
		return err
	}
	if err := os.Chdir(root); err != nil {
		return fmt.Errorf("entering the root file system: %w", err)
	}
	if err := unix.Mount(".", "/", "", unix.MS_MOVE, ""); err != nil {
		return fmt.Errorf("moving the root file system: %w", err)
	}
	if err := unix.Chroot("."); err != nil {
		return fmt.Errorf("entering the root file system: %w", err)
	}
	return os.Chdir("/")
}

// bindModuleTree shows modprobe the kernel's modules where it looks for them.
func bindModuleTree(tree, release string) error {
	return mount{source: tree, target: "/lib/modules/" + release, kind: "bind", flags: unix.MS_BIND}.do()
}
