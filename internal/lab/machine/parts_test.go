// SPDX-License-Identifier: Apache-2.0

package machine

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestFindKernelTakesTheNewestWholeOne(t *testing.T) {
	cache := t.TempDir()
	if _, err := FindKernel(cache); !errors.Is(err, ErrNoKernel) {
		t.Errorf("empty cache: %v, want %v", err, ErrNoKernel)
	}
	for _, release := range []string{"6.1.0-9-amd64", "6.1.0-56-amd64", "6.1.0-18-amd64"} {
		write(t, filepath.Join(cache, "kernel", release, "vmlinuz"), "")
		write(t, filepath.Join(cache, "kernel", release, "lib/modules", release, "modules.dep"), "")
	}
	write(t, filepath.Join(cache, "kernel", ".unpack.x", "tree", "vmlinuz"), "") // a fetch under way
	k, err := FindKernel(cache)
	if err != nil || k.Release != "6.1.0-56-amd64" {
		t.Fatalf("found %+v, %v", k, err)
	}
	if filepath.Base(k.Image()) != "vmlinuz" {
		t.Errorf("image %s", k.Image())
	}
	write(t, filepath.Join(k.Dir, "vmlinux"), "")
	if filepath.Base(k.Image()) != "vmlinux" {
		t.Errorf("image %s with an unpacked one there", k.Image())
	}
	if err := os.Remove(filepath.Join(k.ModuleTree(), "modules.dep")); err != nil {
		t.Fatal(err)
	}
	if _, err := FindKernel(cache); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("kernel without module index: %v", err)
	}
}

func TestReleaseOrder(t *testing.T) {
	sorted := []string{"5.10.0-30-amd64", "6.1", "6.1.0-9-amd64", "6.1.0-10-amd64", "6.1.0-10-amd64-x", "6.12.1-amd64", "10.0"}
	for i, a := range sorted {
		for j, b := range sorted {
			if got := releaseLess(a, b); got != (i < j) {
				t.Errorf("releaseLess(%q, %q) = %v", a, b, got)
			}
		}
	}
}

func write(t *testing.T, file, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestModulesComeAfterWhatTheyNeed(t *testing.T) {
	dir := t.TempDir()
	// modprobe's index lists a module's whole needs, nearest first.
	write(t, filepath.Join(dir, "modules.dep"), "k/a-b.ko: k/c.ko k/d.ko\nk/c.ko: k/d.ko\nk/d.ko:\nk/e.ko: k/d.ko\n")
	write(t, filepath.Join(dir, "modules.builtin"), "k/unix.ko\n")
	tree, err := readModuleTree(dir)
	if err != nil {
		t.Fatal(err)
	}
	loaded := map[string]bool{}
	first, err := tree.loadOrder([]string{"a_b", "unix"}, loaded)
	if err != nil || !slices.Equal(first, []string{"k/d.ko", "k/c.ko", "k/a-b.ko"}) {
		t.Errorf("first %q, %v", first, err)
	}
	then, err := tree.loadOrder([]string{"a-b", "e"}, loaded)
	if err != nil || !slices.Equal(then, []string{"k/e.ko"}) {
		t.Errorf("then %q, %v", then, err)
	}
	if _, err := tree.loadOrder([]string{"no_such"}, loaded); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("unknown module: %v", err)
	}
}

// TestArchiveIsWhatCpioReads unpacks with the program of that name, or busybox's.
func TestArchiveIsWhatCpioReads(t *testing.T) {
	from := filepath.Join(t.TempDir(), "from")
	write(t, from, strings.Repeat("0123456789", 1001))
	var archive bytes.Buffer
	c := newCpio(&archive)
	mode := func(dir string) uint32 { return map[string]uint32{"/a": 0o700, "/a/b": 0o755}[dir] }
	c.dir("/a/b", mode)
	c.dir("/a/b", mode)
	c.bytes("/a/b/odd", 0o640, []byte("abc"))
	c.bytes("/empty", 0o644, nil)
	if err := c.copyFile("/a/file", 0o4755, from); err != nil {
		t.Fatal(err)
	}
	if err := c.copyFile("/a/none", 0o644, from+".none"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("packing what is not there: %v", err)
	}
	if err := c.close(); err != nil {
		t.Fatal(err)
	}
	into := t.TempDir()
	unpack := exec.CommandContext(t.Context(), "busybox", "cpio", "-id")
	unpack.Dir, unpack.Stdin = into, &archive
	if out, err := unpack.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for name, want := range map[string]string{"a/b/odd": "abc", "empty": "", "a/file": strings.Repeat("0123456789", 1001)} {
		if got, err := os.ReadFile(filepath.Join(into, name)); err != nil || string(got) != want {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
	}
	for name, want := range map[string]os.FileMode{"a": os.ModeDir | 0o700, "a/b": os.ModeDir | 0o755, "a/b/odd": 0o640, "a/file": os.ModeSetuid | 0o755} {
		if info, err := os.Stat(filepath.Join(into, name)); err != nil || info.Mode() != want {
			t.Errorf("%s: mode %v, want %v (%v)", name, info.Mode(), want, err)
		}
	}
}

func TestConfigIsChecked(t *testing.T) {
	static := filepath.Join(t.TempDir(), "program")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", static, "./testdata/program")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for name, tt := range map[string]struct {
		config Config
		want   string
	}{
		"no state folder": {Config{Binary: static}, "no state folder"},
		"dynamic":         {Config{StateDir: "s", Binary: "/bin/sh"}, "dynamically linked"},
		"no program":      {Config{StateDir: "s", Binary: "/proc/version"}, "reading the machine's program"},
		"relative pack":   {Config{StateDir: "s", Binary: static, Pack: []string{"bin/x"}}, "not a clean absolute path"},
	} {
		if _, err := tt.config.complete(); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
	c, err := Config{StateDir: "s", Binary: static}.complete()
	if err != nil || !filepath.IsAbs(c.StateDir) || c.MemoryMB == 0 || c.CPUs == 0 || c.BootTimeout == 0 || c.Hostname == "" {
		t.Errorf("completed to %+v, %v", c, err)
	}
}

func TestStateFolderTellsWhoRuns(t *testing.T) {
	f := files{dir: t.TempDir()}
	if held, err := f.held(); held || err != nil {
		t.Errorf("fresh folder: held %v, %v", held, err)
	}
	lock, err := f.acquire()
	if err != nil {
		t.Fatal(err)
	}
	if held, err := f.held(); !held || err != nil {
		t.Errorf("locked folder: held %v, %v", held, err)
	}
	if _, err := f.acquire(); !errors.Is(err, ErrRunning) {
		t.Errorf("second lock: %v, want %v", err, ErrRunning)
	}
	if err := f.writeInfo(info{PID: os.Getpid()}); err != nil {
		t.Fatal(err)
	}
	m := &Machine{files: f}
	if err := m.signalSupervisor(9); err == nil || !strings.Contains(err.Error(), "not a machine's supervisor") {
		t.Errorf("signalling a process that is no supervisor: %v", err)
	}
	if _, err := Attach(f.dir); !errors.Is(err, ErrNotRunning) || !strings.Contains(err.Error(), "starting or stopping") {
		t.Errorf("attaching while it starts: %v", err)
	}
	lock.Close()
	if _, err := Attach(f.dir); !errors.Is(err, ErrNotRunning) || !strings.Contains(err.Error(), "supervisor was killed") {
		t.Errorf("attaching after a crash: %v", err)
	}
	f.clear()
	write(t, f.failure(), "the machine ended by itself\n")
	if _, err := Attach(f.dir); !errors.Is(err, ErrNotRunning) || !strings.Contains(err.Error(), "ended by itself") {
		t.Errorf("attaching after a failure: %v", err)
	}
}

func TestLastWordsLeaveOutTheNoise(t *testing.T) {
	f := files{dir: t.TempDir()}
	write(t, f.console(), strings.Join([]string{
		"\x1b[2J[    1.0] Kernel panic - not syncing: why", "[    1.1]  <TASK>", "[    1.1]  ? do_exit+0x1/0x2", "[    1.2] RAX: 0000 RBX: 0000",
		"[    1.2] Code: 20 48", "", "[    1.3] Kernel Offset: disabled\r", "",
	}, "\n"))
	write(t, f.qemuLog(), "qemu: no\n")
	want := "console.log: [2J[    1.0] Kernel panic - not syncing: why\nconsole.log: [    1.3] Kernel Offset: disabled\nqemu.log: qemu: no"
	if got := f.lastWords(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestAcceleratorNeedsTheProcessor(t *testing.T) {
	for text, want := range map[string]bool{
		"":                                false,
		"flags\t\t: fpu aes hypervisor\n": false,
		"vmx flags\t: fpu svm\n":          false,
		"processor\t: 0\nflags\t\t: fpu vmx ept\nbugs\t:\n": true,
		"flags\t\t: fpu svm\n":                              true,
	} {
		if got := hasVirtualization([]byte(text)); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
}

func TestHostHasGeneveCanBeTried(t *testing.T) {
	if _, err := HostHasGeneve(); err != nil {
		t.Error(err)
	}
}
