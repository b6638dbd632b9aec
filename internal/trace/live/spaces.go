// SPDX-License-Identifier: Apache-2.0

package live

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// places are where network namespaces have names: of processes, of ip netns, of
// Docker.
var places = [...]string{"/proc/[0-9]*/ns/net", "/run/netns/*", "/var/run/netns/*", "/run/docker/netns/*", "/var/run/docker/netns/*"}

// FindPods finds the namespaces next to a node's that have one of the addresses.
// What is not found is not in the map.
func FindPods(host Space, wanted map[netip.Addr]string) (map[string]Space, error) {
	found := map[string]Space{}
	err := host.Do(func() error {
		seen := map[uint64]bool{}
		for _, pattern := range places {
			files, err := filepath.Glob(pattern)
			if err != nil {
				return err
			}
			for _, path := range files {
				if len(found) == len(wanted) {
					return nil
				}
				tryPod(path, wanted, seen, found)
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("looking for the pods of %s: %w", host.Name, err)
	}
	return found, nil
}

// tryPod passes over what is gone, and what is no neighbour of the thread's namespace.
func tryPod(path string, wanted map[netip.Addr]string, seen map[uint64]bool, found map[string]Space) {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil || seen[st.Ino] {
		return
	}
	seen[st.Ino] = true
	s, err := hold(path)
	if err != nil || !neighbour(s.held) {
		return
	}
	var addrs []net.Addr
	err = s.Do(func() (err error) {
		addrs, err = net.InterfaceAddrs()
		return err
	})
	if err != nil {
		return // gone meanwhile
	}
	for _, a := range addrs {
		if ip, ok := a.(*net.IPNet); ok {
			if addr, ok := netip.AddrFromSlice(ip.IP.To4()); ok && wanted[addr] != "" {
				found[wanted[addr]] = s
			}
		}
	}
}

// neighbour reports whether a device of the thread's namespace leads to that one:
// only such namespaces have a number there.
func neighbour(f *os.File) bool {
	id, err := netlink.GetNetNsIdByFd(int(f.Fd()))
	return err == nil && id >= 0
}
