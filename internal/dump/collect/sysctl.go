// SPDX-License-Identifier: Apache-2.0

package collect

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// The sysctls that decide where packets go. None of them holds a secret, as
// tcp_fastopen_key would.
var (
	sysctlKeys = [...]string{
		"kernel/osrelease",
		"net/bridge/bridge-nf-call-iptables",
		"net/core/netdev_max_backlog",
		"net/ipv4/fib_multipath_hash_policy",
		"net/ipv4/fib_multipath_use_neigh",
		"net/ipv4/fwmark_reflect",
		"net/ipv4/ip_default_ttl",
		"net/ipv4/ip_early_demux",
		"net/ipv4/ip_forward",
		"net/ipv4/ip_local_port_range",
		"net/ipv4/ip_local_reserved_ports",
		"net/ipv4/ip_nonlocal_bind",
		"net/ipv4/ip_unprivileged_port_start",
		"net/ipv4/raw_l3mdev_accept",
		"net/ipv4/tcp_early_demux",
		"net/ipv4/tcp_fwmark_accept",
		"net/ipv4/tcp_l3mdev_accept",
		"net/ipv4/udp_early_demux",
		"net/ipv4/udp_l3mdev_accept",
		"net/ipv6/conf/all/disable_ipv6",
		"net/ipv6/conf/all/forwarding",
	}
	// deviceKeys are those of each device below net/ipv4/conf.
	deviceKeys = [...]string{
		"accept_local", "accept_redirects", "arp_announce", "arp_filter", "arp_ignore", "disable_policy", "disable_xfrm",
		"forwarding", "proxy_arp", "route_localnet", "rp_filter", "send_redirects", "src_valid_mark",
	}
	// trackingKeys are those of net/netfilter, by their beginnings.
	trackingKeys = [...]string{"nf_conntrack_", "nf_log/2"}
)

// sysctls reads the values in the thread's namespace. A key that the kernel does
// not have is left out.
func sysctls(l limits) (output, error) {
	const root = "/proc/sys/"
	keys := slices.Clone(sysctlKeys[:])
	devices, err := os.ReadDir(root + "net/ipv4/conf")
	if err != nil {
		return output{}, fmt.Errorf("listing the devices' sysctls: %w", err)
	}
	for _, device := range devices {
		for _, key := range deviceKeys {
			keys = append(keys, "net/ipv4/conf/"+device.Name()+"/"+key)
		}
	}
	for _, prefix := range trackingKeys {
		files, err := filepath.Glob(root + "net/netfilter/" + prefix + "*")
		if err != nil {
			return output{}, fmt.Errorf("listing the sysctls of connection tracking: %w", err)
		}
		for _, file := range files {
			keys = append(keys, strings.TrimPrefix(file, root))
		}
	}
	slices.Sort(keys)
	var b strings.Builder
	for _, key := range keys {
		value, err := os.ReadFile(root + key)
		if err != nil {
			continue
		}
		// As sysctl prints it: tabs between values, several lines as several.
		for line := range strings.Lines(string(value)) {
			fmt.Fprintf(&b, "%s = %s\n", dotted(key), strings.TrimRight(line, "\n"))
		}
	}
	text, full, err := keep(strings.NewReader(b.String()), l)
	if full {
		return output{text: text, cut: l.String()}, nil
	}
	return output{text: text}, err
}

// dotted is a key as sysctl writes it: dots for slashes, and slashes for the dots
// in a device's name.
func dotted(key string) string {
	return strings.Map(func(r rune) rune {
		switch r {
		case '/':
			return '.'
		case '.':
			return '/'
		}
		return r
	}, key)
}
