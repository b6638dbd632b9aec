// SPDX-License-Identifier: Apache-2.0

package prove

import (
	"fmt"
	"net/netip"
	"strings"
)

// World is a network namespace to build, as the words that the programs of a node
// take: anything can be left out again to find out what matters.
type World struct {
	// Name says where it comes from, with the seed that makes it again.
	Name string
	// Variant of iptables: "nft" or "legacy".
	Variant string
	Links   []Link
	// Sysctls are "net/ipv4/conf/eth0/rp_filter=1", as paths below /proc/sys.
	Sysctls []string
	// Routes and Rules are what stands behind "ip route add" and "ip rule add".
	Routes, Rules []string
	// NoMainRules leaves out the rules 32766 and 32767 that every namespace begins with.
	NoMainRules bool
	// Sets are lines for ipset restore.
	Sets   []string
	Tables []Table
	// Listeners are the ports with a transparent socket, TCP and UDP, on every address.
	Listeners []uint16
}

// Link is a device: a TAP.
type Link struct {
	Name  string
	Addrs []netip.Prefix
}

// Table is a table of iptables.
type Table struct {
	Name   string
	Chains []string // ":PREROUTING ACCEPT [0:0]", ":own - [0:0]"
	Rules  []string // "-A ..."
}

// restore is what iptables-restore reads.
func restore(tables []Table) string {
	var b strings.Builder
	for _, t := range tables {
		fmt.Fprintf(&b, "*%s\n", t.Name)
		for _, line := range t.Chains {
			b.WriteString(line + "\n")
		}
		for _, line := range t.Rules {
			b.WriteString(line + "\n")
		}
		b.WriteString("COMMIT\n")
	}
	return b.String()
}

// text is the world for people.
func (w World) text() string {
	var b strings.Builder
	for _, l := range w.Links {
		fmt.Fprintf(&b, "device %s %v\n", l.Name, l.Addrs)
	}
	for _, part := range []struct {
		title string
		lines []string
	}{{"sysctl", w.Sysctls}, {"ip route add", w.Routes}, {"ip rule add", w.Rules}, {"ipset", w.Sets}} {
		for _, line := range part.lines {
			fmt.Fprintf(&b, "%s %s\n", part.title, line)
		}
	}
	return b.String() + restore(w.Tables)
}
