// SPDX-License-Identifier: Apache-2.0

// Package iproute reads and prints what iproute2 prints for people: ip rule,
// ip route show table all, ip -d addr. Words it does not know it keeps in their
// place and prints again. Print(Parse(text)) is text, byte for byte.
package iproute

import "net/netip"

// Word is an option that is kept and not understood, with its place.
type Word struct {
	After int // how many modelled words stand before it
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
	Protocol uint8     // ipproto; 0 none
	SPort    [2]uint16 // from, to; zero: none
	DPort    [2]uint16
	// Action is "lookup", "goto", "nop", "blackhole", "unreachable", "prohibit".
	Action string
	Table  uint32 // of lookup: 255 local, 254 main, 253 default
	Goto   uint32 // of goto: a priority
	// SuppressPrefix drops a result whose prefix is that short or shorter; -1 not asked for.
	SuppressPrefix int
	Extra          []Word
	Line           int

	layout []string
}

// Route is one line of ip route show table all (or of one table), with the
// "nexthop" lines that follow it.
type Route struct {
	// Type is "unicast", "local", "broadcast", "multicast", "unreachable",
	// "blackhole", "prohibit", "throw".
	Type   string
	Dst    netip.Prefix // 0.0.0.0/0 for default
	Table  uint32       // 254 where none is printed, or the table that was asked for
	Via    netip.Addr
	Dev    string
	Src    netip.Addr
	Metric uint32
	TOS    uint8
	Scope  string // as printed; "" where not
	Proto  string
	MTU    uint32
	// Flags are onlink, linkdown, dead, offload, ... as printed.
	Flags    []string
	Nexthops []Nexthop // more than one way; Via and Dev are empty then
	Extra    []Word
	IPv6     bool // the line is about IPv6: kept, not modelled
	Line     int

	layout []string
}

// Nexthop is one way of a route with several.
type Nexthop struct {
	Via    netip.Addr
	Dev    string
	Weight uint32
	Flags  []string
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
	MAC       string
	Tunnel    *Tunnel
	Addrs     []Addr
	Line      int

	layout []string
}

// Tunnel is what ip -d says of a Geneve or VXLAN device.
type Tunnel struct {
	VNI    uint32
	Remote netip.Addr
	Port   uint16
}

// Addr is one address of a device.
type Addr struct {
	Prefix    netip.Prefix // the address itself with its prefix length
	Peer      netip.Prefix
	Broadcast netip.Addr
	Scope     string
	Flags     []string
}
