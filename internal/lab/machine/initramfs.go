// SPDX-License-Identifier: Apache-2.0

package machine

import (
	"debug/elf"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"

	"github.com/ambient22/ambient22/internal/lab/machine/guest"
)

// writeInitramfs writes what the machine starts with: the program as /init, the modules, the guest's configuration, and
// the files that cover those of the host.
func writeInitramfs(w io.Writer, c Config, k Kernel) error {
	tree, err := readModuleTree(k.ModuleTree())
	if err != nil {
		return err
	}
	loaded := map[string]bool{}
	drivers, err := tree.loadOrder(driverModules(), loaded)
	if err != nil {
		return err
	}
	modules, err := tree.loadOrder(labModules(), loaded)
	if err != nil {
		return err
	}
	archive := newCpio(w)
	ordinary := func(string) uint32 { return 0o755 }
	for _, dir := range []string{"/dev", guest.ModulePath, guest.UpperPath} {
		archive.dir(dir, ordinary)
	}
	archive.charDevice("/dev/console", 0o600, 5, 1) // the kernel opens it for /init, before devtmpfs is there
	if err := archive.copyFile("/init", 0o755, c.Binary); err != nil {
		return err
	}
	for _, file := range append(append([]string{}, drivers...), modules...) {
		if err := archive.copyFile(path.Join(guest.ModulePath, path.Base(file)), 0o644, filepath.Join(tree.dir, file)); err != nil {
			return err
		}
	}
	if err := packFiles(archive, c.Pack); err != nil {
		return err
	}
	text, err := json.Marshal(guest.Config{
		Hostname: c.Hostname, Drivers: baseNames(drivers), Modules: baseNames(modules),
		ModuleTree: tree.dir, Release: k.Release, Env: c.Env,
	})
	if err != nil {
		return fmt.Errorf("encoding the guest's configuration: %w", err)
	}
	archive.bytes(guest.ConfigPath, 0o644, text)
	return archive.close()
}

// packFiles puts host files into the upper layer of the machine's root, at their own paths. The folders on the way
// cover the host's, so they take over those permissions.
func packFiles(archive *cpio, files []string) error {
	hostMode := func(dir string) uint32 {
		info, err := os.Stat(dir[len(guest.UpperPath):])
		if err != nil {
			return 0o755
		}
		return unixMode(info.Mode())
	}
	for _, file := range files {
		info, err := os.Stat(file)
		if err != nil {
			return fmt.Errorf("packing a file for the machine: %w", err)
		}
		archive.dir(path.Join(guest.UpperPath, path.Dir(file)), hostMode)
		if err := archive.copyFile(path.Join(guest.UpperPath, file), unixMode(info.Mode()), file); err != nil {
			return err
		}
	}
	return nil
}

func unixMode(m os.FileMode) uint32 {
	bits := uint32(m.Perm())
	for mode, bit := range map[os.FileMode]uint32{os.ModeSetuid: 0o4000, os.ModeSetgid: 0o2000, os.ModeSticky: 0o1000} {
		if m&mode != 0 {
			bits |= bit
		}
	}
	return bits
}

func baseNames(files []string) []string {
	names := make([]string, len(files))
	for i, f := range files {
		names[i] = path.Base(f)
	}
	return names
}

// checkStatic makes sure that file can be the machine's first process, which has no dynamic loader at hand.
func checkStatic(file string) error {
	f, err := elf.Open(file)
	if err != nil {
		return fmt.Errorf("reading the machine's program %s: %w", file, err)
	}
	defer f.Close()
	if f.Machine != elf.EM_X86_64 {
		return fmt.Errorf("using %s in the machine: it is for %v, the machine is x86_64", file, f.Machine)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			return fmt.Errorf("using %s in the machine: it is dynamically linked (build it with CGO_ENABLED=0)", file)
		}
	}
	return nil
}
