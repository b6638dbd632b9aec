// SPDX-License-Identifier: Apache-2.0

package trace

// answer is what a condition says of a packet.
type answer uint8

const (
	no answer = iota
	yes
	maybe // the condition is not modelled, or the dump lacks what it asks about
)

func answerOf(b bool) answer {
	if b {
		return yes
	}
	return no
}

// protocols are the names that ipset prints; "" is a bare port.
var protocols = map[string]uint8{
	"": 0, "icmp": protoICMP, "tcp": protoTCP, "udp": protoUDP, "dccp": protoDCCP, "gre": 47,
	"esp": 50, "ah": 51, "sctp": protoSCTP, "udplite": protoUDPLite, "igmp": 2, "ipip": 4, "ipencap": 4,
}

// icmpNames are ICMP types and codes as ipset names them: type<<8 | code.
var icmpNames = map[string]uint16{
	"echo-reply": 0, "pong": 0, "network-unreachable": 3 << 8, "host-unreachable": 3<<8 | 1,
	"protocol-unreachable": 3<<8 | 2, "port-unreachable": 3<<8 | 3, "fragmentation-needed": 3<<8 | 4,
	"source-quench": 4 << 8, "echo-request": 8 << 8, "ping": 8 << 8, "ttl-zero-during-transit": 11 << 8,
	"timestamp-request": 13 << 8, "timestamp-reply": 14 << 8,
}

// addressTypes are addrtype's names, as the bit of the kernel's route type.
var addressTypes = map[string]uint16{
	"UNSPEC": 1 << 0, "UNICAST": 1 << typeUnicast, "LOCAL": 1 << typeLocal, "BROADCAST": 1 << typeBroadcast,
	"ANYCAST": 1 << 4, "MULTICAST": 1 << typeMulticast, "BLACKHOLE": 1 << typeBlackhole,
	"UNREACHABLE": 1 << typeUnreachable, "PROHIBIT": 1 << typeProhibit, "THROW": 1 << typeThrow,
	"NAT": 1 << 10, "XRESOLVE": 1 << 11,
}

// routeType is the kernel's number of a route's type.
type routeType uint8

const (
	typeUnicast     routeType = 1
	typeLocal       routeType = 2
	typeBroadcast   routeType = 3
	typeMulticast   routeType = 5
	typeBlackhole   routeType = 6
	typeUnreachable routeType = 7
	typeProhibit    routeType = 8
	typeThrow       routeType = 9
)

var routeTypes = map[string]routeType{
	"": typeUnicast, "unicast": typeUnicast, "local": typeLocal, "broadcast": typeBroadcast, "anycast": 4,
	"multicast": typeMulticast, "blackhole": typeBlackhole, "unreachable": typeUnreachable,
	"prohibit": typeProhibit, "throw": typeThrow,
}

var scopes = map[string]uint8{"": 0, "global": 0, "site": 200, "link": 253, "host": 254, "nowhere": 255}
