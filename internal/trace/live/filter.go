// SPDX-License-Identifier: Apache-2.0

package live

import (
	"encoding/binary"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Filter says which packets are traced: those between a near and a far address, in
// either direction, with one of the ports on the far side; and tunnel packets
// that carry such a packet.
type Filter struct {
	Protocol   uint8 // 6 or 17
	Near, Far  []netip.Addr
	Ports      []uint16
	TunnelPort uint16 // of Geneve, 6081; 0: no tunnels
	// Untracked asks nothing about connections: asking would switch connection
	// tracking on in a namespace that does without.
	Untracked bool
}

// end is one side of the filter: a set of addresses, with or without the ports.
type end struct {
	set   *nftables.Set
	ports *nftables.Set // nil: any
}

// Places of what the filter looks at: in the packet itself, and in the one that a
// tunnel without options carries. Tunnel header and Ethernet header stand between.
const (
	innerAt     = udpHeader + 8 + 14 // of the inner IPv4 header, from the UDP header on
	offsetProto = 9
	offsetSrc   = 12
	offsetDst   = 16
	offsetSPort = 0
	offsetDPort = 2
	offsetFlags = 13 // in the TCP header
)

// field loads a part of the packet into register 1.
func field(base expr.PayloadBase, offset, size uint32) expr.Any {
	return &expr.Payload{DestRegister: 1, Base: base, Offset: offset, Len: size}
}

func equals(data ...byte) expr.Any {
	return &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: data}
}

func within(s *nftables.Set) expr.Any {
	return &expr.Lookup{SourceRegister: 1, SetName: s.Name, SetID: s.ID}
}

// matches are the conditions for a packet from one end to the other.
func (f *Filter) matches(from, to end) []expr.Any {
	all := []expr.Any{
		field(expr.PayloadBaseNetworkHeader, offsetSrc, 4), within(from.set),
		field(expr.PayloadBaseNetworkHeader, offsetDst, 4), within(to.set),
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1}, equals(f.Protocol),
	}
	if from.ports != nil {
		all = append(all, field(expr.PayloadBaseTransportHeader, offsetSPort, 2), within(from.ports))
	}
	if to.ports != nil {
		all = append(all, field(expr.PayloadBaseTransportHeader, offsetDPort, 2), within(to.ports))
	}
	return all
}

// carries are the conditions for a tunnel packet with such a packet inside.
func (f *Filter) carries(from, to end) []expr.Any {
	inner := func(offset, size uint32) expr.Any {
		return field(expr.PayloadBaseTransportHeader, innerAt+offset, size)
	}
	all := []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1}, equals(protoUDP),
		field(expr.PayloadBaseTransportHeader, offsetDPort, 2), equals(binary.BigEndian.AppendUint16(nil, f.TunnelPort)...),
		inner(offsetSrc, 4), within(from.set),
		inner(offsetDst, 4), within(to.set),
		inner(offsetProto, 1), equals(f.Protocol),
	}
	if from.ports != nil {
		all = append(all, inner(ipv4Header+offsetSPort, 2), within(from.ports))
	}
	if to.ports != nil {
		all = append(all, inner(ipv4Header+offsetDPort, 2), within(to.ports))
	}
	return all
}

// opening are the conditions for a TCP packet with SYN set, whose flags are that far
// behind the transport header's start.
func opening(offset uint32) []expr.Any {
	return []expr.Any{
		field(expr.PayloadBaseTransportHeader, offset+offsetFlags, 1),
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 1, Mask: []byte{flagSYN}, Xor: []byte{0}},
		equals(flagSYN),
	}
}

// At most so many packets a second are traced, that a busy connection does not
// drown the one that is looked for: those that open connections, and others.
const (
	openingRate, openingBurst = 50, 100
	otherRate, otherBurst     = 20, 60
)

func limited(rate uint64, burst uint32) expr.Any {
	return &expr.Limit{Type: expr.LimitTypePkts, Rate: rate, Unit: expr.LimitTimeSecond, Burst: burst}
}

// traceOn turns on the trace of a packet, in both variants of iptables.
func traceOn() []expr.Any {
	return []expr.Any{
		&expr.Immediate{Register: 1, Data: []byte{1}},
		&expr.Meta{Key: expr.MetaKeyNFTRACE, SourceRegister: true, Register: 1},
	}
}

func verdict(kind expr.VerdictKind, chain string) expr.Any {
	return &expr.Verdict{Kind: kind, Chain: chain}
}

// connmarkBit are the conditions for one bit of the connection's mark.
func connmarkBit(bit int) []expr.Any {
	mask := binary.NativeEndian.AppendUint32(nil, 1<<bit)
	return []expr.Any{
		&expr.Ct{Key: expr.CtKeyMARK, Register: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: mask, Xor: make([]byte, 4)},
		equals(mask...),
	}
}

// Bits of a packet's connection tracking state, as nf_tables has them.
const (
	stateInvalid     = 1 << 0
	stateEstablished = 1 << 1
	stateRelated     = 1 << 2
	stateNew         = 1 << 3
	stateUntracked   = 1 << 6
)

func connState(bit uint32) []expr.Any {
	mask := binary.NativeEndian.AppendUint32(nil, bit)
	return []expr.Any{
		&expr.Ct{Key: expr.CtKeySTATE, Register: 1},
		&expr.Bitwise{SourceRegister: 1, DestRegister: 1, Len: 4, Mask: mask, Xor: make([]byte, 4)},
		equals(mask...),
	}
}

// connReply are the conditions for a packet of a connection's second direction.
func connReply() []expr.Any {
	return []expr.Any{&expr.Ct{Key: expr.CtKeyDIRECTION, Register: 1}, equals(1)}
}

// chainHook is nf_tables' number of a hook.
func chainHook(hook uint32) *nftables.ChainHook {
	return nftables.ChainHookRef(nftables.ChainHook(hook))
}

const hookPrerouting, hookInput, hookForward, hookOutput, hookPostrouting = unix.NF_INET_PRE_ROUTING,
	unix.NF_INET_LOCAL_IN, unix.NF_INET_FORWARD, unix.NF_INET_LOCAL_OUT, unix.NF_INET_POST_ROUTING
