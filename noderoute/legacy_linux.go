// SPDX-License-Identifier: Apache-2.0

package noderoute

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"slices"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// legacyTables are the tables that the legacy variant has in this network
// namespace. Looking at a table with its own tools would make it.
func legacyTables() []string {
	text, err := os.ReadFile("/proc/thread-self/net/ip_tables_names")
	if err != nil {
		return nil // the kernel's module is not there, so its tables are not either
	}
	return strings.Fields(string(text))
}

// The kernel's numbers, from linux/netfilter_ipv4/ip_tables.h: a table is read
// with two socket options, its size with the first and all of it with the
// second.
const (
	iptGetInfo    = 64
	iptGetEntries = 65

	iptNameLen    = 32
	iptInfoLen    = iptNameLen + 4 + 5*4 + 5*4 + 4 + 4 // struct ipt_getinfo
	iptEntriesLen = iptNameLen + 4 + 4                 // struct ipt_get_entries, padded to its alignment
)

// noLegacyChains tells whether the legacy variant surely has no chain of ours.
// A table's bytes hold the names of its chains, so that no program has to print
// the whole of it: on a node with thousands of services that takes seconds.
func (s *session) noLegacyChains() bool {
	tables := legacyTables()
	for _, name := range []string{"mangle", "nat"} {
		if !slices.Contains(tables, name) {
			continue
		}
		blob, err := s.legacyBlob(name)
		if err != nil || bytes.Contains(blob, []byte(chainPrefix)) {
			return false
		}
	}
	return true
}

func (s *session) legacyBlob(table string) ([]byte, error) {
	info, err := s.legacyInfo(table)
	if err != nil {
		return nil, err
	}
	size := binary.NativeEndian.Uint32(info[iptInfoLen-4:])
	blob := make([]byte, iptEntriesLen+int(size))
	copy(blob, table)
	binary.NativeEndian.PutUint32(blob[iptNameLen:], size)
	if err := getsockopt(s.ioctl, iptGetEntries, blob); err != nil {
		return nil, fmt.Errorf("reading legacy table %s: %w", table, err)
	}
	return blob[iptEntriesLen:], nil
}

// getsockopt passes a buffer both ways, which x/sys has no function for.
func getsockopt(fd, option int, buf []byte) error {
	size := uint32(len(buf))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_IP, uintptr(option),
		uintptr(unsafe.Pointer(&buf[0])), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return errno
	}
	return nil
}
