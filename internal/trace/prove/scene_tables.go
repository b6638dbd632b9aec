// SPDX-License-Identifier: Apache-2.0

package prove

import (
	"fmt"
	"strings"
)

// spot is where a rule stands: what it may ask for and do there.
type spot struct {
	table   string
	in, out bool // -i, -o may be asked for
	// sender: the owner of a socket may be asked for. before: at PREROUTING, the only
	// place for TPROXY.
	sender, before bool
}

// family is a number of user's chains that are reached from the same built-in ones.
type family struct {
	roots []string
	spot  spot
}

func families() []family {
	at := func(table string, in, out, sender, before bool, roots ...string) family {
		return family{roots, spot{table, in, out, sender, before}}
	}
	return []family{
		at("raw", true, false, false, false, "PREROUTING"),
		at("raw", false, true, true, false, "OUTPUT"),
		at("mangle", true, false, false, true, "PREROUTING"),
		at("mangle", true, false, false, false, "INPUT", "FORWARD"),
		at("mangle", false, true, true, false, "OUTPUT", "POSTROUTING"),
		at("nat", true, false, false, true, "PREROUTING"),
		at("nat", false, true, true, false, "OUTPUT"),
		at("nat", false, true, false, false, "POSTROUTING"),
		at("nat", true, false, false, false, "INPUT"),
		at("filter", true, false, false, false, "INPUT"),
		at("filter", true, true, false, false, "FORWARD"),
		at("filter", false, true, true, false, "OUTPUT"),
		at("security", true, false, false, false, "INPUT"),
		at("security", true, true, false, false, "FORWARD"),
		at("security", false, true, true, false, "OUTPUT"),
	}
}

// tables4 makes between ten and sixty rules and spreads them over some tables.
func (s *scene) tables4() []Table {
	var list []Table
	rules := s.between(10, 60)
	for _, w := range []weight[string]{{1, "raw"}, {6, "mangle"}, {4, "nat"}, {3, "filter"}, {0, "security"}} {
		if s.IntN(8) > w.n+1 {
			continue
		}
		var mine []family
		for _, f := range families() {
			if f.spot.table == w.of {
				mine = append(mine, f)
			}
		}
		t := Table{Name: w.of}
		s.fill(&t, mine, max(2, rules*w.n/14))
		list = append(list, t)
	}
	return list
}

// fill gives a table its built-in chains, some of a user's own, and rules.
func (s *scene) fill(t *Table, families []family, rules int) {
	for i, f := range families {
		var own []string
		for n := range s.IntN(4) {
			own = append(own, fmt.Sprintf("%s-own%d%d", t.Name, i, n))
		}
		for _, root := range f.roots {
			policy := "ACCEPT"
			if t.Name != "nat" && s.chance(15) {
				policy = "DROP"
			}
			t.Chains = append(t.Chains, fmt.Sprintf(":%s %s [0:0]", root, policy))
		}
		for _, name := range own {
			t.Chains = append(t.Chains, ":"+name+" - [0:0]")
		}
		chains := append(append([]string{}, f.roots...), own...)
		for range max(1, rules/len(families)) {
			at := s.IntN(len(chains))
			later := own[max(0, min(len(own), at-len(f.roots)+1)):]
			t.Rules = append(t.Rules, "-A "+chains[at]+" "+s.line(f.spot, at < len(f.roots), later))
		}
		if len(own) > 0 { // at least one of them is reached
			t.Rules = append(t.Rules, "-A "+f.roots[0]+" "+s.line(f.spot, true, nil, own[0]))
		}
	}
}

// line is a rule behind "-A CHAIN". later are the chains it may jump to.
func (s *scene) line(at spot, root bool, later []string, jump ...string) string {
	protocol := weighted(s.dice, []weight[string]{{5, ""}, {5, "tcp"}, {3, "udp"}, {1, "icmp"}})
	words := s.matches(at, root, protocol)
	if len(jump) > 0 {
		return strings.Join(append(words, "-j "+jump[0]), " ")
	}
	return strings.Join(append(words, s.target(at, protocol, later)), " ")
}

// matches are the conditions of a rule, none to four.
func (s *scene) matches(at spot, root bool, protocol string) []string {
	var words []string
	add := func(format string, args ...any) { words = append(words, fmt.Sprintf(format, args...)) }
	not := func() string {
		if s.chance(4) {
			return "! "
		}
		return ""
	}
	address := func(option string) {
		net, negation := s.net(), not()
		if net.Bits() == 0 && s.variant == "nft" {
			negation = "" // which this variant refuses
		}
		add("%s%s %s", negation, option, net)
	}
	if s.chance(4) {
		address("-s")
	}
	if s.chance(4) {
		address("-d")
	}
	if (at.in || !root) && s.chance(4) {
		add("%s-i %s", not(), s.pattern())
	}
	if (at.out || !root) && s.chance(5) {
		add("%s-o %s", not(), s.pattern())
	}
	if protocol != "" {
		add("%s-p %s", "", protocol)
	} else if s.chance(15) {
		add("! -p %s", pick(s.dice, "tcp", "udp", "icmp"))
	}
	if protocol == "tcp" || protocol == "udp" {
		words = append(words, s.portMatch(protocol)...)
	}
	if protocol == "icmp" && s.chance(2) {
		add("-m icmp --icmp-type %s", pick(s.dice, "8", "0", "3"))
	}
	for s.chance(2) && len(words) < 6 {
		more := s.module(at, not())
		if once := strings.Fields(more)[1]; once == "set" || !strings.Contains(strings.Join(words, " "), "-m "+once+" ") {
			words = append(words, more)
		}
	}
	return words
}

// pattern is a device in a rule, also with a "+".
func (s *scene) pattern() string {
	switch s.IntN(6) {
	case 0:
		return pick(s.dice, "eth+", "istio+", "veth+", "e+", "lo", "istioi+")
	case 1:
		return pick(s.dice, "eth0", "eth10", "istioin", "cali77")
	}
	return s.dev()
}

func (s *scene) portMatch(protocol string) []string {
	ports := func() string {
		low := s.port()
		if s.chance(4) && low < 65535 {
			return fmt.Sprintf("%d:%d", low, min(65535, int(low)+s.between(1, 9000)))
		}
		return fmt.Sprint(low)
	}
	not := ""
	if s.chance(5) {
		not = "! "
	}
	switch s.IntN(8) {
	case 0, 1, 2:
		return []string{fmt.Sprintf("-m %s %s--dport %s", protocol, not, ports())}
	case 3:
		return []string{fmt.Sprintf("-m %s %s--sport %s", protocol, not, ports())}
	case 4:
		return []string{fmt.Sprintf("-m multiport %s--%s %s,%s,%d", not, pick(s.dice, "dports", "sports", "ports"), ports(), ports(), s.port())}
	case 5:
		if protocol == "tcp" {
			return []string{fmt.Sprintf("-m tcp %s--tcp-flags %s", not, pick(s.dice, "SYN,ACK,FIN,RST SYN", "SYN,ACK SYN,ACK", "RST RST", "FIN,PSH ACK", "ACK NONE"))}
		}
	}
	return nil
}

// module is a condition of a module.
func (s *scene) module(at spot, not string) string {
	if s.chance(12) {
		return s.rarer(at, not)
	}
	switch s.IntN(9) {
	case 0, 1:
		return fmt.Sprintf("-m mark %s--mark %s", not, s.mark())
	case 2:
		return fmt.Sprintf("-m connmark %s--mark %s", not, s.mark())
	case 3, 4:
		if len(s.sets) > 0 {
			set := pick(s.dice, s.sets...)
			var directions []string
			for range set.dimensions {
				directions = append(directions, pick(s.dice, "src", "dst"))
			}
			return fmt.Sprintf("-m set %s--match-set %s %s", not, set.name, strings.Join(directions, ","))
		}
	case 5:
		return fmt.Sprintf("-m conntrack %s--ctstate %s", not, pick(s.dice, "NEW", "ESTABLISHED", "RELATED,ESTABLISHED", "INVALID", "DNAT", "SNAT", "NEW,UNTRACKED", "INVALID,NEW"))
	case 6:
		if s.chance(2) {
			return fmt.Sprintf("-m addrtype %s--src-type %s", not, pick(s.dice, "LOCAL", "UNICAST", "LOCAL,BROADCAST"))
		}
		limit := ""
		if s.chance(4) && at.in != at.out && !at.sender {
			limit = " --limit-iface-" + map[bool]string{true: "in", false: "out"}[at.in]
		}
		return fmt.Sprintf("-m addrtype %s--dst-type %s%s", not, pick(s.dice, "LOCAL", "UNICAST", "BROADCAST", "MULTICAST", "LOCAL,BROADCAST", "UNREACHABLE", "BLACKHOLE"), limit)
	case 7:
		if at.sender {
			return fmt.Sprintf("-m owner %s--%s", not, pick(s.dice, "uid-owner 1337", "gid-owner 40001", "uid-owner 1000-2000", "uid-owner 0"))
		}
	}
	return `-m comment --comment "` + pick(s.dice, "plain", "with words", "cali:abc-_") + `"`
}

// rarer are conditions that few rules of the ambient path have.
func (s *scene) rarer(at spot, not string) string {
	every := s.between(2, 4)
	switch s.IntN(6) {
	case 0:
		return fmt.Sprintf("-m statistic --mode nth %s--every %d --packet %d", not, every, s.IntN(every))
	case 1:
		return fmt.Sprintf("-m state %s--state %s", not, pick(s.dice, "NEW", "RELATED,ESTABLISHED", "INVALID", "UNTRACKED"))
	case 2:
		if at.before && at.table == "mangle" {
			return "-m socket" + pick(s.dice, "", " --transparent", " --nowildcard", " --restore-skmark", " --transparent --restore-skmark")
		}
	case 3:
		return fmt.Sprintf("-m addrtype --src-type %s --dst-type %s", pick(s.dice, "LOCAL", "UNICAST"), pick(s.dice, "LOCAL", "UNICAST"))
	case 4:
		return fmt.Sprintf("-m conntrack %s--ctstate %s --ctdir %s", "", pick(s.dice, "NEW", "ESTABLISHED"), pick(s.dice, "ORIGINAL", "REPLY"))
	}
	low := s.host()
	return fmt.Sprintf("-m iprange %s--%s-range %s-%s", not, pick(s.dice, "src", "dst"), low, later(low, s.IntN(300)))
}

// target is what a rule does.
func (s *scene) target(at spot, protocol string, later []string) string {
	if len(later) > 0 && s.chance(4) {
		return pick(s.dice, "-j ", "-j ", "-g ") + pick(s.dice, later...)
	}
	if s.chance(8) {
		return "-j RETURN"
	}
	if s.chance(25) {
		return `-j LOG --log-prefix "` + at.table + ` "`
	}
	if s.chance(14) {
		return "-j ACCEPT"
	}
	if s.chance(25) && at.table != "nat" {
		return "-j DROP"
	}
	switch at.table {
	case "raw":
		if s.chance(4) {
			return "-j CT --notrack"
		}
	case "nat":
		return s.natTarget(at, protocol)
	case "filter", "security":
		return s.filterTarget(at, protocol)
	}
	return s.mangleTarget(at, protocol)
}

func (s *scene) mangleTarget(at spot, protocol string) string {
	if at.before && at.table == "mangle" && (protocol == "tcp" || protocol == "udp") && s.chance(3) {
		ip := ""
		if s.chance(2) {
			ip = " --on-ip " + pick(s.dice, "127.0.0.1", s.host().String())
		}
		port := fmt.Sprint(pick(s.dice, listeners()...))
		if s.chance(8) {
			port = "0"
		}
		return fmt.Sprintf("-j TPROXY --on-port %s%s --tproxy-mark %s", port, ip, s.mark())
	}
	if s.chance(3) {
		return s.connmark()
	}
	if s.chance(5) {
		return fmt.Sprintf("-j MARK --%s %#x", pick(s.dice, "and-mark", "or-mark", "xor-mark"), s.mark().bits)
	}
	return fmt.Sprintf("-j MARK --%s %s", pick(s.dice, "set-xmark", "set-xmark", "set-mark"), s.mark())
}

func (s *scene) connmark() string {
	switch s.IntN(4) {
	case 0:
		return "-j CONNMARK --set-xmark " + s.mark().String()
	case 1:
		return pick(s.dice, "-j CONNMARK --save-mark", "-j CONNMARK --restore-mark")
	case 2:
		return fmt.Sprintf("-j CONNMARK --save-mark --nfmask %#x --ctmask %#x", s.mark().bits, s.mark().bits)
	}
	return fmt.Sprintf("-j CONNMARK --restore-mark --nfmask %#x --ctmask %#x", s.mark().bits, s.mark().bits)
}

func (s *scene) filterTarget(at spot, protocol string) string {
	switch s.IntN(6) {
	case 0:
		return "-j DROP"
	case 1:
		if at.table != "filter" {
			break
		}
		if protocol == "tcp" && s.chance(2) {
			return "-j REJECT --reject-with tcp-reset"
		}
		return "-j REJECT --reject-with " + pick(s.dice, "icmp-port-unreachable", "icmp-host-prohibited", "icmp-admin-prohibited")
	case 2:
		return "-j ACCEPT"
	}
	return "-j MARK --set-xmark " + s.mark().String()
}

func (s *scene) natTarget(at spot, protocol string) string {
	port := ""
	if protocol == "tcp" || protocol == "udp" {
		port = fmt.Sprint(s.port())
	}
	to := s.host().String()
	if port != "" && s.chance(2) {
		to += ":" + port
	}
	switch {
	case at.before || at.sender: // PREROUTING, OUTPUT
		if port != "" && s.chance(2) {
			return "-j REDIRECT --to-ports " + port
		}
		return pick(s.dice, "-j DNAT --to-destination "+to, "-j DNAT --to-destination "+to, "-j REDIRECT")
	case at.out && s.chance(2): // POSTROUTING
		return "-j MASQUERADE"
	}
	return "-j SNAT --to-source " + to
}

// listeners are the ports that a transparent socket listens on.
func listeners() []uint16 { return []uint16{15001, 15006, 15008, 15088} }
