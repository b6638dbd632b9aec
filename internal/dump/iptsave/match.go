// SPDX-License-Identifier: Apache-2.0

package iptsave

// moduleParser is how a module's options are read; nil for a module that is not
// modelled.
func moduleParser(module string) func(*cursor) (Match, bool) {
	switch module {
	case "tcp", "udp", "sctp", "dccp", "udplite":
		return parsePorts(module)
	case "multiport":
		return parseMultiport
	case "mark":
		return parseMark
	case "connmark":
		return parseConnmark
	case "set":
		return parseSet
	case "comment":
		return parseComment
	case "conntrack", "state":
		return parseState(module)
	case "addrtype":
		return parseAddrType
	case "statistic":
		return parseStatistic
	case "owner":
		return parseOwner
	case "socket":
		return parseSocket
	case "limit":
		return parseLimit
	case "hashlimit":
		return parseHashLimit
	case "recent":
		return parseRecent
	case "icmp", "icmp6", "ipv6-icmp":
		return parseICMP(module)
	case "iprange":
		return parseIPRange
	case "physdev":
		return parsePhysDev
	case "nfacct":
		return parseAccount
	case "cpu":
		return parseCPU
	}
	return nil
}
