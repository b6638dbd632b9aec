// SPDX-License-Identifier: Apache-2.0

package noderoute

import "net/netip"

// Packet marks on the node. They live in the low twelve bits, away from the
// bits that kube-proxy (0x4000, 0x8000) and the common CNI plugins use, and
// every match has a mask, so that other bits of a packet's mark do not matter.
const (
	// OutboundMark is put on TCP from an enrolled pod: to the tunnel that
	// leads into ztunnel's outbound listener (listing 02).
	OutboundMark = 0x100
	OutboundMask = 0x100

	// SkipMark says "leave this packet alone": the main table routes it.
	SkipMark = 0x200
	SkipMask = 0x200

	// ConnSkipMark contains SkipMark and is saved in the connection's mark,
	// so that the answers of a skipped connection are skipped too.
	ConnSkipMark = 0x220
	ConnSkipMask = 0x220

	// OwnMark is on what a hardened node sends itself: the table of enrolled pods
	// does not lead it, all other tables do. It is the bit of ConnSkipMark that
	// SkipMark lacks; alone it is not saved in the connection's mark.
	OwnMark = 0x020
	OwnMask = 0x020

	// ProxyMark contains SkipMark as well. It is on what ztunnel sends with a
	// pod's source address, and saved in the connection's mark: the answers
	// must go back to ztunnel, not to that pod.
	ProxyMark = 0x210
	ProxyMask = 0x210

	// ProxyReturnMark is put on those answers (listing 02).
	ProxyReturnMark = 0x040
	ProxyReturnMask = 0x040
)

// Packet marks inside the ztunnel pod (listing 07). They are numbers, not
// bits, so the mask covers all twelve bits.
const (
	// TproxyMark is on what TPROXY hands to a listener: delivered locally.
	TproxyMark = 0x400
	// OutboundReplyMark is on the outbound listener's answers.
	OutboundReplyMark = 0x401
	// InboundReplyMark is on the inbound listeners' answers.
	InboundReplyMark = 0x402
	// OriginalSrcReplyMark is on answers to connections that the proxy made
	// with a pod's source address, the ones it marks 0x4d2.
	OriginalSrcReplyMark = 0x4d3

	PodMarkMask = 0xfff
)

// Routing tables. The numbers are the same on the node and in the pod, which
// have a network namespace each.
const (
	// TableInbound holds a route per enrolled pod, into the inbound tunnel;
	// in the pod, the route that makes every address local.
	TableInbound = 100
	// TableOutbound leads captured packets into the outbound tunnel.
	TableOutbound = 101
	// TableProxyReturn leads answers back: on the node to ztunnel's veth, in
	// the pod into the inbound tunnel.
	TableProxyReturn = 102

	tableMain = 254
)

// Priorities of the ip rules (listings 02 and 07). On the node they come
// before everything but the local table, because a captured packet must not
// be routed by anything else; in the pod nothing competes.
const (
	PrioritySkip        = 100
	PriorityOutbound    = 101
	PriorityProxyReturn = 102
	PriorityInbound     = 103

	PriorityTproxy           = 20000
	PriorityOutboundReply    = 20001
	PriorityInboundReply     = 20002
	PriorityOriginalSrcReply = 20003

	// priorityMain is where the kernel's own rule for the main table stands;
	// a skipped packet jumps there, over everything in between.
	priorityMain = 32766
)

// Devices on the node and their peers in the ztunnel pod.
const (
	DeviceInbound     = "istioin"
	DeviceOutbound    = "istioout"
	PodDeviceInbound  = "pistioin"
	PodDeviceOutbound = "pistioout"

	VNIInbound  = 1000
	VNIOutbound = 1001
)

// Ports inside the ztunnel pod.
const (
	PortOutbound  = 15001 // captured outbound TCP
	PortPlaintext = 15006 // inbound TCP that did not come through a tunnel of the mesh
	PortHBONE     = 15008 // inbound tunnels of the mesh
	PortDNS       = 15053 // captured DNS
	PortNodeLocal = 15088 // a tunnel that stays on the node; redirected to PortHBONE
)

// SetName is the set of the enrolled pods' addresses.
const SetName = "ztunnel-pods-ips"

// chainPrefix stands before the name of the built-in chain that jumps there.
const chainPrefix = "ztunnel-"

// podInterface is the pod's device towards its node.
const podInterface = "eth0"

// logPrefixLimit is where iptables cuts the prefix of a LOG rule, in bytes.
const logPrefixLimit = 29

func inboundHostAddr() netip.Prefix  { return netip.MustParsePrefix("192.168.126.1/30") }
func inboundPodAddr() netip.Prefix   { return netip.MustParsePrefix("192.168.126.2/30") }
func outboundHostAddr() netip.Prefix { return netip.MustParsePrefix("192.168.127.1/30") }
func outboundPodAddr() netip.Prefix  { return netip.MustParsePrefix("192.168.127.2/30") }
