// SPDX-License-Identifier: Apache-2.0

package netns

import (
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// ID identifies a namespace for as long as it lives, under a name or not.
type ID struct{ dev, ino uint64 }

// IDs are the identities of the named namespaces that are there.
func IDs(names ...string) map[ID]bool {
	ids := map[ID]bool{}
	for _, name := range names {
		if id, ok := idOf(Path(name)); ok {
			ids[id] = true
		}
	}
	return ids
}

// In reports whether a process is in one of the namespaces, with at least one of
// its threads: a Go program that visited another namespace may have left its
// first thread there.
func In(pid int, ids map[ID]bool) bool {
	threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		return false // it has ended
	}
	for _, t := range threads {
		if id, ok := idOf(fmt.Sprintf("/proc/%d/task/%s/ns/net", pid, t.Name())); ok && ids[id] {
			return true
		}
	}
	return false
}

// Processes are the numbers of all processes.
func Processes() ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("listing processes: %w", err)
	}
	var pids []int
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// Pids are the processes in the named namespaces. A name that is not there has
// none.
func Pids(names ...string) ([]int, error) {
	ids := IDs(names...)
	all, err := Processes()
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, pid := range all {
		if In(pid, ids) {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

func idOf(path string) (ID, bool) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return ID{}, false
	}
	return ID{st.Dev, st.Ino}, true
}
