// SPDX-License-Identifier: Apache-2.0

package prove

import (
	"fmt"
	"slices"
	"strings"
)

// routes fills the tables: few prefixes in each, so that longer and shorter ones
// compete and many addresses have none.
func (s *scene) routes() []string {
	var list []string
	for _, table := range append([]int{254, 254}, s.tables...) {
		for range s.between(0, 4) {
			list = append(list, s.route(table))
		}
		if s.chance(3) {
			list = append(list, s.routeTo("default", table))
		}
	}
	if s.chance(2) { // what TPROXY needs
		list = append(list, fmt.Sprintf("local default dev lo table %d", pick(s.dice, s.tables[:2]...)))
	}
	return unique(list)
}

func (s *scene) route(table int) string { return s.routeTo(s.net().String(), table) }

func (s *scene) routeTo(dst string, table int) string {
	suffix := fmt.Sprintf(" table %d", table)
	if s.chance(8) {
		suffix += fmt.Sprintf(" metric %d", s.between(1, 3))
	}
	if s.chance(20) {
		suffix += " tos 0x10"
	}
	if s.chance(5) {
		kind := pick(s.dice, "unreachable", "prohibit", "blackhole", "throw", "throw")
		return kind + " " + dst + suffix
	}
	// Where a gateway is found by a local route when its own route is added, the
	// kernel sends past it: nothing that a dump shows.
	local := table == s.tables[0] || table == s.tables[1]
	if local && s.chance(6) {
		return "local " + dst + " dev " + pick(s.dice, "lo", s.dev()) + suffix
	}
	if len(s.own) > 0 && s.chance(4) {
		suffix += " src " + pick(s.dice, s.own...).String()
	}
	l := pick(s.dice, s.links...)
	switch {
	case s.chance(3):
		return dst + " dev " + l.Name + " scope link" + suffix
	case local || len(l.Addrs) == 0 || s.chance(4):
		return dst + " via " + pick(s.dice, s.near...).String() + " dev " + l.Name + " onlink" + suffix
	}
	net := pick(s.dice, l.Addrs...)
	gateway := later(net.Masked().Addr(), s.between(3, 6))
	if !net.Contains(gateway) {
		return dst + " via " + gateway.String() + " dev " + l.Name + " onlink" + suffix
	}
	return dst + " via " + gateway.String() + " dev " + l.Name + suffix
}

// rules choose among the tables.
func (s *scene) rules() []string {
	priorities := []int{}
	for range s.between(2, 9) {
		priorities = append(priorities, pick(s.dice, s.between(1, 200), s.between(20000, 20005), s.between(32700, 32780)))
	}
	slices.Sort(priorities)
	priorities = slices.Compact(priorities)
	var list []string
	for i, priority := range priorities {
		list = append(list, s.rule(priority, priorities[i+1:]))
	}
	return list
}

func (s *scene) rule(priority int, later []int) string {
	words := []string{fmt.Sprintf("pref %d", priority)}
	if s.chance(8) {
		words = append(words, "not")
	}
	before := len(words)
	if s.chance(4) {
		words = append(words, "from "+s.net().String())
	}
	if s.chance(4) {
		words = append(words, "to "+s.net().String())
	}
	if s.chance(2) {
		words = append(words, "fwmark "+s.mark().String())
	}
	if s.chance(5) {
		words = append(words, "iif "+pick(s.dice, "lo", s.dev(), s.dev(), "gone0"))
	}
	if s.chance(9) {
		words = append(words, "oif "+s.dev())
	}
	if s.chance(20) {
		words = append(words, "tos 0x10")
	}
	if s.chance(9) && !strings.Contains(strings.Join(words, " "), "iif") { // of what a raw socket sends routing knows neither
		words = append(words, "iif "+s.dev(), "ipproto "+pick(s.dice, "tcp", "udp"))
		if s.chance(2) {
			words = append(words, fmt.Sprintf("%s %d", pick(s.dice, "sport", "dport"), s.port()))
		}
	}
	if s.chance(60) {
		words = append(words, "uidrange 1000-1400")
	}
	if len(words) == before && words[len(words)-1] == "not" {
		words = words[:before-1]
	}
	return strings.Join(append(words, s.action(priority, later)), " ")
}

func (s *scene) action(priority int, later []int) string {
	switch s.IntN(12) {
	case 0, 1:
		if len(later) > 0 && s.chance(2) {
			return fmt.Sprintf("goto %d", pick(s.dice, later...))
		}
		if priority < 32766 {
			return "goto 32766"
		}
	case 2:
		if s.chance(3) {
			return pick(s.dice, "blackhole", "unreachable", "prohibit", "nop")
		}
	case 3, 4:
		return fmt.Sprintf("lookup %d suppress_prefixlength %d", pick(s.dice, append(s.tables, 254)...), pick(s.dice, 0, 0, 8, 16))
	}
	return fmt.Sprintf("lookup %d", pick(s.dice, append(s.tables, 254)...))
}

// sysctls are those about where a packet may come from.
func (s *scene) sysctls() []string {
	var list []string
	add := func(dev, key string, values ...int) {
		list = append(list, fmt.Sprintf("net/ipv4/conf/%s/%s=%d", dev, key, pick(s.dice, values...)))
	}
	if s.chance(12) {
		list = append(list, "net/ipv4/ip_forward=0")
	}
	devices := []string{"all", "lo"}
	for _, l := range s.links {
		devices = append(devices, l.Name)
	}
	for _, dev := range devices {
		values := []int{0, 0, 1, 2}
		if dev == "all" {
			values = []int{0, 0, 0, 0, 0, 1, 2}
		}
		add(dev, "rp_filter", values...)
		add(dev, "accept_local", 0, 0, 0, 1)
		add(dev, "src_valid_mark", 0, 0, 1)
		add(dev, "route_localnet", 0, 0, 0, 0, 0, 1)
		if dev != "all" && s.chance(12) {
			add(dev, "forwarding", 0, 1)
		}
	}
	return list
}

func unique(list []string) []string {
	seen := map[string]bool{}
	return slices.DeleteFunc(list, func(s string) bool {
		again := seen[s]
		seen[s] = true
		return again
	})
}
