// SPDX-License-Identifier: Apache-2.0

package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// MakeCgroup makes a cgroup, given as its path below the root, in every hierarchy of
// the machine: a kubelet wants the root of its pods to be there.
func MakeCgroup(path string) error {
	hierarchies, err := hierarchies()
	if err != nil {
		return err
	}
	for _, root := range hierarchies {
		dir := root
		for _, part := range strings.Split(strings.Trim(path, "/"), "/") {
			if err := makeChild(dir, part); err != nil {
				return err
			}
			dir = filepath.Join(dir, part)
		}
	}
	return nil
}

// makeChild makes one cgroup usable: in version 2 its parent must hand on the
// controllers, in version 1 a cpuset starts empty and takes no process.
func makeChild(parent, name string) error {
	if controllers, err := os.ReadFile(filepath.Join(parent, "cgroup.controllers")); err == nil {
		for _, c := range strings.Fields(string(controllers)) {
			if err := os.WriteFile(filepath.Join(parent, "cgroup.subtree_control"), []byte("+"+c), 0); err != nil {
				return fmt.Errorf("handing on the controller %s: %w", c, err)
			}
		}
	}
	dir := filepath.Join(parent, name)
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("making a cgroup: %w", err)
	}
	for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
		if _, err := os.Stat(filepath.Join(parent, "cgroup.controllers")); err == nil {
			return nil
		}
		value, err := os.ReadFile(filepath.Join(parent, file))
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, file), value, 0)
		}
		if err != nil {
			return fmt.Errorf("filling a cpuset: %w", err)
		}
	}
	return nil
}

// RemoveCgroup removes a cgroup and all below it from every hierarchy. It waits a
// moment for those whose processes are still ending.
func RemoveCgroup(ctx context.Context, path string) error {
	hierarchies, err := hierarchies()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var errs []error
	for _, root := range hierarchies {
		errs = append(errs, removeTree(ctx, filepath.Join(root, path)))
	}
	return errors.Join(errs...)
}

func removeTree(ctx context.Context, top string) error {
	var dirs []string
	err := filepath.WalkDir(top, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			dirs = append(dirs, path)
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("listing cgroups: %w", err)
	}
	for _, dir := range slices.Backward(dirs) { // the inner ones first
		if err := removeEmpty(ctx, dir); err != nil {
			return fmt.Errorf("removing a cgroup: %w", err)
		}
	}
	return nil
}

func removeEmpty(ctx context.Context, dir string) error {
	for {
		err := unix.Rmdir(dir)
		if err == nil || errors.Is(err, unix.ENOENT) {
			return nil
		}
		if !errors.Is(err, unix.EBUSY) || ctx.Err() != nil {
			return fmt.Errorf("%s: %w", dir, err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// hierarchies are the folders in which the machine shows its cgroups.
func hierarchies() ([]string, error) {
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("looking for cgroups: %w", err)
	}
	var roots []string
	for line := range strings.Lines(string(data)) {
		before, after, _ := strings.Cut(line, " - ")
		fields, kind := strings.Fields(before), strings.Fields(after)
		if len(fields) > 4 && len(kind) > 0 && (kind[0] == "cgroup" || kind[0] == "cgroup2") {
			roots = append(roots, fields[4])
		}
	}
	if len(roots) == 0 {
		return nil, errors.New("looking for cgroups: the machine has none")
	}
	return roots, nil
}
