// SPDX-License-Identifier: Apache-2.0

package machine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// ErrNoKernel means that the cache folder holds no kernel for the machine.
var ErrNoKernel = errors.New("no kernel in the cache")

// Kernel is a kernel in the cache folder, laid out as hack/fetch-kernel.sh leaves it.
type Kernel struct {
	Dir     string // the kernel's own folder
	Release string // what uname -r prints
}

// Image is the file to start: unpacked where there is one, because a machine without hardware acceleration takes seconds to unpack it.
func (k Kernel) Image() string {
	unpacked := filepath.Join(k.Dir, "vmlinux")
	if _, err := os.Stat(unpacked); err == nil {
		return unpacked
	}
	return filepath.Join(k.Dir, "vmlinuz")
}

// ModuleTree is the folder that belongs at /lib/modules/RELEASE.
func (k Kernel) ModuleTree() string { return filepath.Join(k.Dir, "lib", "modules", k.Release) }

// DefaultCacheDir is $AMBIENT22_CACHE, or ambient22 in the user's cache folder.
func DefaultCacheDir() (string, error) {
	if dir := os.Getenv("AMBIENT22_CACHE"); dir != "" {
		return filepath.Abs(dir)
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("finding the cache folder: %w", err)
	}
	return filepath.Join(dir, "ambient22"), nil
}

// FetchKernel runs the project's hack/fetch-kernel.sh, which puts Debian's kernel into cacheDir unless there is one.
// Its progress goes to progress.
func FetchKernel(ctx context.Context, script, cacheDir string, progress io.Writer) (Kernel, error) {
	var stdout bytes.Buffer
	cmd := exec.CommandContext(ctx, script)
	cmd.Env = append(os.Environ(), "AMBIENT22_CACHE="+cacheDir)
	cmd.Stdout, cmd.Stderr = &stdout, progress
	if err := cmd.Run(); err != nil {
		return Kernel{}, fmt.Errorf("fetching the kernel with %s: %w", script, err)
	}
	return kernelIn(strings.TrimSpace(stdout.String()))
}

// FindKernel returns the newest kernel in cacheDir, or ErrNoKernel.
func FindKernel(cacheDir string) (Kernel, error) {
	images, err := filepath.Glob(filepath.Join(cacheDir, "kernel", "*", "vmlinuz"))
	if err != nil {
		return Kernel{}, fmt.Errorf("looking for a kernel: %w", err)
	}
	newest := ""
	for _, image := range images {
		if dir := filepath.Dir(image); newest == "" || releaseLess(filepath.Base(newest), filepath.Base(dir)) {
			newest = dir
		}
	}
	if newest == "" {
		return Kernel{}, fmt.Errorf("looking in %s: %w (hack/fetch-kernel.sh puts one there)", filepath.Join(cacheDir, "kernel"), ErrNoKernel)
	}
	return kernelIn(newest)
}

func kernelIn(dir string) (Kernel, error) {
	k := Kernel{Dir: dir, Release: filepath.Base(dir)}
	for _, need := range []string{filepath.Join(dir, "vmlinuz"), filepath.Join(k.ModuleTree(), "modules.dep")} {
		if _, err := os.Stat(need); err != nil {
			return Kernel{}, fmt.Errorf("using the kernel in %s: %w", dir, err)
		}
	}
	return k, nil
}

// releaseLess compares kernel releases, runs of digits as numbers: 6.1.0-9 comes before 6.1.0-56.
func releaseLess(a, b string) bool {
	for a != "" && b != "" {
		x, restA := leadingRun(a)
		y, restB := leadingRun(b)
		if x != y {
			if isDigit(x[0]) && isDigit(y[0]) {
				x, y = strings.TrimLeft(x, "0"), strings.TrimLeft(y, "0")
				if len(x) != len(y) {
					return len(x) < len(y)
				}
			}
			return x < y
		}
		a, b = restA, restB
	}
	return len(a) < len(b)
}

// leadingRun cuts s where it changes between digits and other characters.
func leadingRun(s string) (run, rest string) {
	i := 1
	for i < len(s) && isDigit(s[i]) == isDigit(s[0]) {
		i++
	}
	return s[:i], s[i:]
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
