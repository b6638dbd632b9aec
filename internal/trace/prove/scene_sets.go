// SPDX-License-Identifier: Apache-2.0

package prove

import "fmt"

// setLines makes the sets and remembers them for the rules.
func (s *scene) setLines() []string {
	var list []string
	for i := range s.IntN(4) {
		kind := pick(s.dice, "hash:ip", "hash:ip", "hash:net", "hash:ip,port", "hash:net,port", "hash:net,iface", "bitmap:port", "hash:ip,port,ip")
		one := set{name: fmt.Sprintf("set-%d", i), kind: kind, dimensions: 1}
		for _, c := range kind {
			if c == ',' {
				one.dimensions++
			}
		}
		create := "create " + one.name + " " + kind
		if kind == "bitmap:port" {
			create += " range 0-65535"
		}
		list = append(list, create)
		for range s.between(0, 6) {
			list = append(list, "add -exist "+one.name+" "+s.element(kind))
		}
		s.sets = append(s.sets, one)
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
	case "hash:ip,port,ip":
		return s.host().String() + "," + port() + "," + s.host().String()
	}
	return s.host().String()
}
