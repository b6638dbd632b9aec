// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"errors"
	"net/netip"
)

var (
	errNotRange = errors.New("is not a range of IP addresses")
	errNotIP    = errors.New("is not an IP address")
	errIPv6     = errors.New("is an IPv6 address, and this data path carries IPv4 only")
	errNoHost   = errors.New("is no address that a host can have")
)

// parseIPv4 reads the address of one host.
func parseIPv4(s string) (netip.Addr, error) {
	ip, err := netip.ParseAddr(s)
	switch {
	case err != nil:
		return netip.Addr{}, errNotIP
	case !ip.Is4():
		return netip.Addr{}, errIPv6
	case ip.IsUnspecified(), ip.IsMulticast(), ip.IsLoopback(), ip == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return netip.Addr{}, errNoHost
	}
	return ip, nil
}
