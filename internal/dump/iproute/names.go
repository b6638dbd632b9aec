// SPDX-License-Identifier: Apache-2.0

package iproute

import (
	"hash/fnv"
	"net/netip"
	"strconv"
	"strings"
)

// The tables that have a name on every machine.
const (
	TableUnspec  uint32 = 0
	TableDefault uint32 = 253
	TableMain    uint32 = 254
	TableLocal   uint32 = 255
)

// namedTable begins the numbers that stand for tables of which only the name is
// known: ip prints names from /etc/iproute2/rt_tables, which is not in its output.
const namedTable uint32 = 1 << 31

// TableID is the number of a table as ip prints it. A name of rt_tables gets a
// number of its own above 1<<31, the same for the same name in rules and routes;
// named tells that.
func TableID(word string) (id uint32, named bool) {
	switch word {
	case "local":
		return TableLocal, false
	case "main":
		return TableMain, false
	case "default":
		return TableDefault, false
	case "unspec":
		return TableUnspec, false
	}
	if n, err := strconv.ParseUint(word, 10, 32); err == nil {
		return uint32(n), false
	}
	h := fnv.New32a()
	h.Write([]byte(word))
	return namedTable | h.Sum32(), true
}

// tableWord is the table as ip prints it. name is the one it was read by.
func tableWord(id uint32, name string) string {
	if name != "" {
		if known, named := TableID(name); named && known == id {
			return name
		}
	}
	switch id {
	case TableLocal:
		return "local"
	case TableMain:
		return "main"
	case TableDefault:
		return "default"
	case TableUnspec:
		return "unspec"
	}
	return strconv.FormatUint(uint64(id), 10)
}

// protocols are the names that ip prints for IP protocols, from /etc/protocols.
var protocols = [...]struct {
	number uint8
	name   string
}{{1, "icmp"}, {2, "igmp"}, {4, "ipencap"}, {6, "tcp"}, {17, "udp"}, {33, "dccp"}, {41, "ipv6"}, {47, "gre"}, {50, "esp"},
	{51, "ah"}, {58, "ipv6-icmp"}, {89, "ospf"}, {103, "pim"}, {112, "vrrp"}, {115, "l2tp"}, {132, "sctp"}, {136, "udplite"}}

func protocolNumber(word string) (uint8, bool) {
	for _, p := range protocols {
		if p.name == word {
			return p.number, true
		}
	}
	n, err := strconv.ParseUint(strings.TrimPrefix(word, "ipproto-"), 10, 8)
	return uint8(n), err == nil
}

func protocolWord(n uint8) string {
	for _, p := range protocols {
		if p.number == n {
			return p.name
		}
	}
	return "ipproto-" + strconv.Itoa(int(n))
}

// prefix reads "10.0.0.0/8", "10.0.0.1", and "default", "all" or "any" for the zero Prefix.
func prefix(word string) (netip.Prefix, bool) {
	if word == "all" || word == "default" || word == "any" {
		return netip.Prefix{}, true
	}
	if strings.IndexByte(word, '/') >= 0 {
		p, err := netip.ParsePrefix(word)
		return p, err == nil
	}
	a, err := netip.ParseAddr(word)
	return netip.PrefixFrom(a, a.BitLen()), err == nil && a.Zone() == ""
}

// prefixWord leaves out the length of a single address, as ip does.
func prefixWord(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}

func number(word string) (uint32, bool) {
	n, err := strconv.ParseUint(word, 0, 32)
	return uint32(n), err == nil
}

func decimal(n uint32) string { return strconv.FormatUint(uint64(n), 10) }

// hex is the number as C's %#x writes it: 0 has no "0x".
func hex(n uint32) string {
	if n == 0 {
		return "0"
	}
	return "0x" + strconv.FormatUint(uint64(n), 16)
}
