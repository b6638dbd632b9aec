// SPDX-License-Identifier: Apache-2.0

package noderoute

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/ambient22/ambient22/geneve"
	"github.com/ambient22/ambient22/ipset"
)

// Plan is everything that should be in one network namespace. It is a plain
// value: two equal plans mean the same kernel state.
type Plan struct {
	Side    Side
	Devices []geneve.Device
	Sysctls []Sysctl
	Set     *ipset.Set // nil in the pod
	Tables  []Table    // in the order in which they are installed
	Rules   []Rule
	Routes  []Route // as they are added

	// Refused are the pods that were left out.
	Refused []*PodError

	// Drains are the ztunnels that still have connections of before.
	Drains []Drain

	// switches tells that the tunnels lead to another ztunnel than they are to;
	// begins is that one, if it has to drain; ending are slots that are to be
	// given up.
	switches bool
	begins   Drain
	ending   []Drain
	over     []netip.Addr
	host     netip.Addr
	// handover is the mangle table while the tunnels are turned over; nil where
	// it is no other than before or after.
	handover *Table
}

// Side is where a plan belongs.
type Side uint8

const (
	// Host is a node's own network namespace.
	Host Side = iota
	// InPod is a ztunnel pod's network namespace.
	InPod
)

// Ztunnel is a ztunnel pod as its node sees it.
type Ztunnel struct {
	IP   netip.Addr
	Veth string
}

// Sysctl is a setting of a device under net/ipv4/conf.
type Sysctl struct {
	Device string // or "all", "default"
	Key    string // rp_filter, accept_local
	Value  string
}

// String is the setting as sysctl(8) words it, with the slashes that keep dots
// in device names apart.
func (s Sysctl) String() string {
	return fmt.Sprintf("net/ipv4/conf/%s/%s=%s", s.Device, s.Key, s.Value)
}

// Chain is an iptables chain with its rules as iptables-save prints them after
// "-A CHAIN ".
type Chain struct {
	Name  string
	Rules []string
}

// Table is this project's part of an iptables table.
type Table struct {
	Name string
	// Own are chains that belong to this project with all their rules.
	Own []Chain
	// Head are rules that stand first in built-in chains, in this order.
	Head []Chain
}

// Rule is an ip rule. Where Goto is set, Table is not.
type Rule struct {
	Priority   uint32
	Mark, Mask uint32 // no fwmark where both are 0
	Table      uint32
	Goto       uint32
}

// String is the rule as `ip rule` prints it.
func (r Rule) String() string {
	s := fmt.Sprintf("%d:\tfrom all", r.Priority)
	if r.Mark != 0 || r.Mask != 0 {
		mark := "0" // as `ip rule` writes it
		if r.Mark != 0 {
			mark = fmt.Sprintf("%#x", r.Mark)
		}
		s += fmt.Sprintf(" fwmark %s/%#x", mark, r.Mask)
	}
	if r.Goto != 0 {
		return s + fmt.Sprintf(" goto %d", r.Goto)
	}
	return s + fmt.Sprintf(" lookup %d", r.Table)
}

// Scope of a route, as the kernel numbers it.
const (
	scopeUniverse = 0
	scopeLink     = 253
	scopeHost     = 254
)

// Route is an IPv4 route with one next hop. The zero values mean: unicast, no
// gateway, no preferred source, universe scope.
type Route struct {
	Table  uint32
	Local  bool // type local instead of unicast
	Dst    netip.Prefix
	Via    netip.Addr
	Dev    string
	Src    netip.Addr
	Scope  uint8
	OnLink bool
}

// String is the route as `ip route show table N` prints it.
func (r Route) String() string {
	var s strings.Builder
	if r.Local {
		s.WriteString("local ")
	}
	switch {
	case r.Dst.Bits() == 0:
		s.WriteString("default")
	case r.Dst.IsSingleIP():
		s.WriteString(r.Dst.Addr().String())
	default:
		s.WriteString(r.Dst.String())
	}
	if r.Via.IsValid() {
		s.WriteString(" via " + r.Via.String())
	}
	s.WriteString(" dev " + r.Dev)
	switch r.Scope {
	case scopeLink:
		s.WriteString(" scope link")
	case scopeHost:
		s.WriteString(" scope host")
	}
	if r.Src.IsValid() {
		s.WriteString(" src " + r.Src.String())
	}
	if r.OnLink {
		s.WriteString(" onlink")
	}
	return s.String()
}

// host is the /32 of an address.
func host(ip netip.Addr) netip.Prefix { return netip.PrefixFrom(ip, 32) }

// anywhere is the destination of a default route.
func anywhere() netip.Prefix { return netip.PrefixFrom(netip.IPv4Unspecified(), 0) }

// String words the whole plan for people: what the usual tools would print.
func (p Plan) String() string {
	var s strings.Builder
	section := func(title string, lines []string) {
		if len(lines) > 0 {
			fmt.Fprintf(&s, "# %s\n%s\n\n", title, strings.Join(lines, "\n"))
		}
	}
	section("devices", words(p.Devices))
	section("sysctls", words(p.Sysctls))
	if p.Set != nil {
		lines := []string{"create " + p.Set.Name + " " + ipset.TypeHashIP}
		for _, e := range p.Set.Entries {
			lines = append(lines, "add "+p.Set.Name+" "+e.String())
		}
		section("ipset", lines)
	}
	for _, t := range p.Tables {
		section("iptables -t "+t.Name, t.lines())
	}
	section("ip rule", words(p.Rules))
	for table := uint32(TableInbound); table <= tableLast; table++ {
		routes := slices.DeleteFunc(slices.Clone(p.Routes), func(r Route) bool { return r.Table != table })
		section(fmt.Sprintf("ip route show table %d", table), words(routes))
	}
	var refused []string
	for _, r := range p.Refused {
		refused = append(refused, r.Error())
	}
	section("left out", refused)
	return strings.TrimSuffix(s.String(), "\n")
}

func (t Table) lines() []string {
	var lines []string
	for _, chains := range [][]Chain{t.Head, t.Own} {
		for _, c := range chains {
			for _, r := range c.Rules {
				lines = append(lines, "-A "+c.Name+" "+r)
			}
		}
	}
	return lines
}

func words[T fmt.Stringer](values []T) []string {
	var out []string
	for _, v := range values {
		out = append(out, v.String())
	}
	return out
}
