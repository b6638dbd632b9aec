// SPDX-License-Identifier: Apache-2.0

// Package traces lists what a cluster could leave on a machine, so that a listing
// from before it and one from after it can be compared.
package traces

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/ambient22/ambient22/internal/lab/netns"
)

// List is one line for each thing, sorted: everything of the machine's own network,
// mounts and sysctls, whoever made it, and of named namespaces, processes, cgroups and
// folders those that carry the cluster's name or marker. (Of the latter, other
// programs' come and go at any time; they say nothing about the cluster.)
func List(cluster, marker, dir string) ([]string, error) {
	var lines []string
	for _, list := range []func() ([]string, error){
		commands,
		mounts,
		sysctls,
		func() ([]string, error) { return processes(marker + "=" + cluster) },
		func() ([]string, error) { return named("namespace", netns.Dir, cluster) },
		func() ([]string, error) { return cgroups(cluster) },
		func() ([]string, error) { return named("folder", filepath.Dir(dir), filepath.Base(dir)) },
	} {
		found, err := list()
		if err != nil {
			return nil, err
		}
		lines = append(lines, found...)
	}
	slices.Sort(lines)
	return lines, nil
}

// commands print the machine's own network.
func commands() ([]string, error) {
	var lines []string
	for _, argv := range [][]string{
		{"ip", "-oneline", "link", "show"},
		{"ip", "-brief", "address", "show"},
		{"ip", "route", "show", "table", "all"},
		{"ip", "rule", "show"},
		{"iptables-save"},
		{"iptables-legacy-save"},
		{"nft", "--stateless", "list", "ruleset"},
	} {
		path, err := exec.LookPath(argv[0])
		if err != nil {
			continue // a machine without it has none of what it lists
		}
		out, err := exec.Command(path, argv[1:]...).Output()
		if err != nil {
			return nil, fmt.Errorf("running %s: %w", strings.Join(argv, " "), err)
		}
		for line := range strings.Lines(string(out)) {
			if !strings.HasPrefix(line, "#") { // iptables-save's comments hold the time
				lines = append(lines, argv[0]+" "+strings.TrimSpace(running().ReplaceAllString(line, "")))
			}
		}
	}
	return lines, nil
}

// running matches numbers that change without anybody's doing: packet counters of
// chains, and the rest of a route's lifetime.
func running() *regexp.Regexp { return regexp.MustCompile(`\[[0-9]+:[0-9]+\]| expires [0-9]+sec`) }

// mounts are the machine's mounts but for the names of other namespaces.
func mounts() ([]string, error) {
	data, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return nil, fmt.Errorf("listing mounts: %w", err)
	}
	var lines []string
	for line := range strings.Lines(string(data)) {
		if fields := strings.Fields(line); len(fields) > 2 && filepath.Dir(fields[1]) != netns.Dir {
			lines = append(lines, "mount "+strings.Join(fields[:3], " "))
		}
	}
	return lines, nil
}

// sysctls are all settings of the machine but for those that are counters, or differ
// at every look.
func sysctls() ([]string, error) {
	changing := []string{
		"fs/aio-nr", "fs/dentry-state", "fs/file-nr", "fs/inode-nr", "fs/inode-state", "fs/quota", "kernel/ns_last_pid",
		"kernel/pty/nr", "kernel/random", "kernel/perf_event_max_sample_rate", "net/netfilter/nf_conntrack_count", "vm/stat_refresh",
	}
	var lines []string
	root := "/proc/sys"
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		name, _ := filepath.Rel(root, path)
		switch {
		case err != nil && os.IsNotExist(err): // a device has just gone
			return nil
		case err != nil:
			return err
		case slices.Contains(changing, name) && entry.IsDir():
			return fs.SkipDir
		case slices.Contains(changing, name) || entry.IsDir():
			return nil
		}
		// Some can only be written, and some belong to nothing.
		if value, err := os.ReadFile(path); err == nil {
			lines = append(lines, "sysctl "+name+"="+strings.Join(strings.Fields(string(value)), " "))
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("listing sysctls: %w", err)
	}
	return lines, nil
}

func processes(variable string) ([]string, error) {
	pids, err := netns.Processes()
	if err != nil {
		return nil, err
	}
	var lines []string
	for _, pid := range pids {
		environment, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		if err != nil || pid == os.Getpid() {
			continue // it has ended
		}
		if slices.Contains(strings.Split(string(environment), "\x00"), variable) {
			name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
			lines = append(lines, fmt.Sprintf("process %d %s", pid, bytes.TrimSpace(name)))
		}
	}
	return lines, nil
}

func cgroups(cluster string) ([]string, error) {
	var lines []string
	for _, pattern := range []string{"/sys/fs/cgroup/", "/sys/fs/cgroup/*/"} {
		found, err := filepath.Glob(pattern + cluster)
		if err != nil {
			return nil, fmt.Errorf("listing cgroups: %w", err)
		}
		for _, path := range found {
			lines = append(lines, "cgroup "+path)
		}
	}
	return lines, nil
}

// named lists the entries of a folder whose name starts with the cluster's.
func named(kind, folder, cluster string) ([]string, error) {
	entries, err := os.ReadDir(folder)
	if err != nil && !os.IsNotExist(err) {
		return nil, fmt.Errorf("listing %s: %w", folder, err)
	}
	var lines []string
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), cluster) {
			lines = append(lines, kind+" "+filepath.Join(folder, e.Name()))
		}
	}
	return lines, nil
}
