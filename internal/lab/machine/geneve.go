// SPDX-License-Identifier: Apache-2.0

package machine

import (
	"errors"
	"fmt"
	"net"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/ambient22/ambient22/internal/osthread"
)

// HostHasGeneve tells whether this host's kernel can make Geneve devices, by making one in a network namespace of its own that
// ends with the call. It needs CAP_SYS_ADMIN and CAP_NET_ADMIN; the error is for when it could not be tried.
func HostHasGeneve() (bool, error) {
	var has bool
	err := osthread.Throwaway(func() error {
		var err error
		has, err = tryGeneve()
		return err
	})
	return has, err
}

func tryGeneve() (bool, error) {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return false, fmt.Errorf("making a network namespace: %w", err)
	}
	device := &netlink.Geneve{LinkAttrs: netlink.LinkAttrs{Name: "probe"}, ID: 1, Remote: net.IPv4(192, 0, 2, 1)}
	err := netlink.LinkAdd(device)
	if errors.Is(err, unix.EOPNOTSUPP) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("making a Geneve device: %w", err)
	}
	return true, nil
}
