// SPDX-License-Identifier: Apache-2.0

package prove

import (
	"fmt"
	"net/netip"
)

// setLines makes the sets and remembers them for the rules.
func (s *scene) setLines() []string {
	var list []string
	for i := range s.IntN(4) {
		kind := pick(s.dice, "hash:ip", "hash:ip", "hash:net", "hash:ip,port", "hash:net,port", "hash:net,iface", "bitmap:port", "hash:ip,port,ip", "bitmap:ip", "hash:ip,port,net")
		one := set{name: fmt.Sprintf("set-%d", i), kind: kind, dimensions: 1}
		for _, c := range kind {
			if c == ',' {
				one.dimensions++
			}
		}
		create := "create " + one.name + " " + kind
		switch kind {
		case "bitmap:port":
			create += " range 0-65535"
		case "bitmap:ip":
			create += " range 10.0.0.0-10.0.255.255"
		case "hash:ip":
			create += pick(s.dice, "", "", " netmask 24", " comment")
		}
		list = append(list, create)
		for range s.between(0, 6) {
			list = append(list, "add -exist "+one.name+" "+s.element(kind))
		}
		s.sets = append(s.sets, one)
	}
	if n := len(s.sets); n > 1 && s.chance(3) && s.sets[0].dimensions == s.sets[1].dimensions {
		list = append(list, "create all list:set size 8", "add all "+s.sets[0].name, "add all "+s.sets[1].name)
		s.sets = append(s.sets, set{name: "all", kind: "list:set", dimensions: s.sets[0].dimensions})
	}
	return list
}

func (s *scene) element(kind string) string {
	net := func() string {
		for {
			if n := s.net(); n.Bits() > 0 {
				return n.String()
			}
		}
	}
	port := func() string { return fmt.Sprintf("%s:%d", pick(s.dice, "tcp", "tcp", "udp"), s.port()) }
	nomatch := ""
	if s.chance(5) {
		nomatch = " nomatch"
	}
	switch kind {
	case "hash:net":
		return net() + nomatch
	case "hash:ip,port":
		return s.host().String() + "," + port()
	case "hash:net,port":
		return net() + "," + port() + nomatch
	case "hash:net,iface":
		return net() + "," + s.dev() + nomatch
	case "bitmap:port":
		return fmt.Sprint(s.port())
	case "bitmap:ip":
		return netip.AddrFrom4([4]byte{10, 0, byte(s.IntN(3)), byte(s.IntN(5))}).String()
	case "hash:ip,port,net":
		return s.host().String() + "," + port() + "," + net() + nomatch
	case "hash:ip,port,ip":
		return s.host().String() + "," + port() + "," + s.host().String()
	}
	return s.host().String()
}
