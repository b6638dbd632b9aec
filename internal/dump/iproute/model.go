// SPDX-License-Identifier: Apache-2.0

// Package iproute reads and prints what iproute2 prints for people: ip rule,
// ip route show table all, ip -d addr. Words it does not know it keeps in their
// place and prints again. Print(Parse(text)) is text, byte for byte.
package iproute

import (
	"net/netip"

	"github.com/ambient22/ambient22/internal/dump/syntax"
)

// Word is what is kept and not understood, with its place: an option with its
// value, or several together, as printed.
type Word struct {
	After int // how many modelled options (or lines) stand before it
	Text  string
}

// Rule is one line of ip rule.
type Rule struct {
	Priority uint32
	Not      bool
	From, To netip.Prefix // the zero Prefix is "all"
	IIF, OIF string
	Mark     uint32
	Mask     uint32 // all ones where none is printed; 0 where the rule has no fwmark
	TOS      uint8
	// IIFDetached and OIFDetached tell that there is no such device now.
	IIFDetached, OIFDetached bool
	Protocol                 uint8     // ipproto; 0 none
	SPort                    [2]uint16 // from, to; zero: none
	DPort                    [2]uint16
	UIDs                     *UIDRange // nil: any
	// Action is "lookup", "goto", "nop", "blackhole", "unreachable", "prohibit"; ""
	// where the line has none that is known.
	Action string
	Table  uint32 // of lookup: 255 local, 254 main, 253 default, or see TableID
	// TableName is the table's name where only /etc/iproute2/rt_tables has its number.
	TableName string
	L3MDev    bool   // looks up the table of the packet's VRF; Table is 0
	Goto      uint32 // of goto: a priority
	// Unresolved tells that there is no rule of that priority; such a rule does nothing.
	Unresolved bool
	// SuppressPrefix drops a result whose prefix is that short or shorter; -1 not asked for.
	SuppressPrefix int
	// Extra are words that are not modelled. Where one stands before the action, it is a
	// condition: see Conditions.
	Extra []Word
	Line  int

	sep   string // between the priority's colon and what follows, if not a tab
	trail string
	kept  *syntax.Kept
}

// UIDRange are the users, first to last, whose sockets a rule is about.
type UIDRange struct{ First, Last uint32 }

// Route is one line of ip route show table all (or of one table), with the
// "nexthop" lines that follow it.
type Route struct {
	// Type is "unicast", "local", "broadcast", "multicast", "unreachable",
	// "blackhole", "prohibit", "throw".
	Type  string
	Dst   netip.Prefix // 0.0.0.0/0 for default
	Table uint32       // 254 where none is printed, or the table that was asked for
	// TableName is the table's name where only /etc/iproute2/rt_tables has its number.
	TableName string
	NHID      uint32     // of a nexthop object; 0 none
	Via       netip.Addr // of the other family where "inet6" is printed
	Dev       string
	Src       netip.Addr
	Metric    uint32
	TOS       uint8
	Scope     string // as printed; "" where not
	Proto     string
	MTU       uint32
	MTULock   bool
	// Flags are onlink, linkdown, dead, offload, ... as printed.
	Flags    []string
	Nexthops []Nexthop // more than one way; Via and Dev are empty then
	Extra    []Word
	// Lines are further lines of the route that are not modelled, as printed. After
	// counts the next hops.
	Lines []Word
	IPv6  bool // the line is about IPv6
	Line  int

	asked    uint32 // the table that ip was asked for; it doesn't print that one
	tabled   bool   // the table is printed
	detailed bool   // "unicast" is printed
	crossed  bool   // the gateway is of the other family
	trail    string
	kept     *syntax.Kept
}

// Nexthop is one way of a route with several.
type Nexthop struct {
	Via    netip.Addr
	Dev    string
	Weight uint32
	Flags  []string
	Extra  []Word

	trail string
}

// Link is one device of ip -d addr (or ip -d link).
type Link struct {
	Index int
	Name  string
	// Peer is what stands after "@": a device's name, "if12", "NONE".
	Peer      string
	PeerNetns string   // link-netnsid or link-netns, as printed
	Flags     []string // BROADCAST, UP, LOWER_UP, ...
	MTU       uint32
	Master    string
	State     string // UP, DOWN, UNKNOWN
	Kind      string // "veth", "geneve", "vxlan", "bridge", ...; "" for physical ones and lo
	Type      string // what stands after "link/": "ether", "loopback", "none"
	MAC       string
	Tunnel    *Tunnel
	Addrs     []Addr
	// Extra, HWExtra and KindExtra are the words of the first line, of the line
	// "link/...", and of the kind's line that are not modelled.
	Extra, HWExtra, KindExtra []Word
	// Lines are further lines as printed: alias, altname, statistics. After counts
	// the lines "link/...", the kind's line and each address.
	Lines []Word
	Line  int

	netns             string // "link-netnsid" or "link-netns"
	hwTrail, kndTrail string
	trail             string
	kept              *syntax.Kept
}

// Tunnel is what ip -d says of a Geneve or VXLAN device.
type Tunnel struct {
	VNI    uint32
	Remote netip.Addr // zero where there is none
	Port   uint16
	TTL    string // "auto", "inherit", "64"; "" where not printed
	// NoUDPChecksum is "noudpcsum"; ZeroChecksum6Rx is "udp6zerocsumrx".
	NoUDPChecksum, ZeroChecksum6Rx bool
}

// Addr is one address of a device.
type Addr struct {
	Prefix    netip.Prefix // the address itself with its prefix length
	Peer      netip.Prefix
	Broadcast netip.Addr
	Scope     string
	Flags     []string // secondary, dynamic, tentative, noprefixroute, ...
	Label     string   // IPv4 only: the device's name, or an alias "eth0:1"
	// Valid and Preferred are the lifetimes: "forever", "978sec"; "" where not printed.
	Valid, Preferred string
	Extra            []Word
	Line             int

	trail, lftTrail string
}
