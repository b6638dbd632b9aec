// SPDX-License-Identifier: Apache-2.0

package host

import (
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// shielded are the settings of the whole machine that a kubelet writes when it
// starts. In a host they are plain files, so the kubelet finds what it wrote and the
// machine never changes.
func shielded() []string {
	return []string{
		"kernel/keys/root_maxbytes", "kernel/keys/root_maxkeys",
		"kernel/panic", "kernel/panic_on_oops",
		"vm/overcommit_memory", "vm/panic_on_oom",
	}
}

// mount is one step of making a host's view of the files.
type mount struct {
	source, target, kind string
	flags                uintptr
	data                 string
}

// ownMounts gives this process, which has a mount namespace of its own, the host's
// files. Everything that lies in Dir is mounted before Dir itself may disappear
// behind another mount.
func (s *Spec) ownMounts() error {
	cgroups, err := s.makeFolders()
	if err != nil {
		return err
	}
	steps := []mount{
		{"", "/", "", unix.MS_PRIVATE | unix.MS_REC, ""},
		{"proc", "/proc", "proc", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, ""},
		// /sys/class/net shows the devices of the namespace it was mounted in; the
		// cgroups are carried over to the new /sys.
		{"/sys/fs/cgroup", cgroups, "", unix.MS_BIND | unix.MS_REC, ""},
		{"sysfs", "/sys", "sysfs", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, ""},
		{cgroups, "/sys/fs/cgroup", "", unix.MS_BIND | unix.MS_REC, ""},
		{s.Binaries, filepath.Join(s.Opt(), "kubernetes/bin"), "", unix.MS_BIND, ""},
	}
	for _, name := range shielded() {
		path := filepath.Join("/proc/sys", name)
		steps = append(steps, mount{filepath.Join(s.Dir, "sysctl", name), path, "", unix.MS_BIND, ""})
	}
	overlay := fmt.Sprintf("lowerdir=/etc,upperdir=%s,workdir=%s.work", s.Etc(), s.Etc())
	steps = append(steps,
		mount{"overlay", "/etc", "overlay", 0, overlay},
		mount{s.Opt(), "/opt", "", unix.MS_BIND | unix.MS_REC, ""},
		mount{"tmpfs", "/run", "tmpfs", unix.MS_NOSUID | unix.MS_NODEV, "mode=0755"},
		mount{s.Var(), "/var", "", unix.MS_BIND, ""},
		// Pods may ask for mounts that pass on to the host and back.
		mount{"", "/", "", unix.MS_SHARED | unix.MS_REC, ""},
	)
	for _, m := range steps {
		if err := unix.Mount(m.source, m.target, m.kind, m.flags, m.data); err != nil {
			return fmt.Errorf("mounting %s at %s: %w", m.source, m.target, err)
		}
	}
	return nil
}

// makeFolders makes what ownMounts mounts, and returns the folder in which it keeps
// the cgroups for a moment.
func (s *Spec) makeFolders() (cgroups string, err error) {
	cgroups = filepath.Join(s.Dir, "cgroup")
	for _, dir := range []string{
		cgroups, s.Etc(), s.Etc() + ".work", filepath.Join(s.Opt(), "kubernetes/bin"),
		filepath.Join(s.Var(), "lib"), filepath.Join(s.Var(), "log"), filepath.Join(s.Var(), "cache"), filepath.Join(s.Var(), "tmp"),
	} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return "", fmt.Errorf("making a host's folders: %w", err)
		}
	}
	if err := os.Symlink("/run", filepath.Join(s.Var(), "run")); err != nil {
		return "", fmt.Errorf("making a host's folders: %w", err)
	}
	for _, name := range shielded() {
		if err := copySysctl(name, filepath.Join(s.Dir, "sysctl", name)); err != nil {
			return "", err
		}
	}
	return cgroups, nil
}

func copySysctl(name, to string) error {
	value, err := os.ReadFile(filepath.Join("/proc/sys", name))
	if err != nil {
		return fmt.Errorf("reading a sysctl: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return fmt.Errorf("making a host's folders: %w", err)
	}
	if err := os.WriteFile(to, value, 0o644); err != nil {
		return fmt.Errorf("copying a sysctl: %w", err)
	}
	return nil
}
