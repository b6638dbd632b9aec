// SPDX-License-Identifier: Apache-2.0

package netns

import (
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// Pids are the processes whose network namespace is one of the named ones. A
// name that is not there has no processes.
func Pids(names ...string) ([]int, error) {
	wanted := map[inode]bool{}
	for _, name := range names {
		if id, ok := inodeOf(Path(name)); ok {
			wanted[id] = true
		}
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, fmt.Errorf("listing processes: %w", err)
	}
	var pids []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		// A process that ends meanwhile has no namespace any more.
		if id, ok := inodeOf(fmt.Sprintf("/proc/%d/ns/net", pid)); ok && wanted[id] {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// inode identifies a namespace.
type inode struct{ dev, ino uint64 }

func inodeOf(path string) (inode, bool) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return inode{}, false
	}
	return inode{st.Dev, st.Ino}, true
}
