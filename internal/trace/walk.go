// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"net/netip"

	"github.com/ambient22/ambient22/internal/dump/iproute"
	"github.com/ambient22/ambient22/internal/dump/iptsave"
)

// Packet is what a namespace gets, or sends.
type Packet struct {
	Protocol uint8 // 6, 17, 1
	Src, Dst netip.AddrPort
	Mark     uint32
	// In is the device it comes in by; "" for one that a local process sends.
	In string
	// TCPFlags as in the header: SYN 0x02, ACK 0x10, ...
	TCPFlags uint8
	// Bound is what the sending socket is tied to, for a packet sent locally.
	UID    uint32
	GID    uint32
	OIF    string // SO_BINDTODEVICE
	TOS    uint8
	Length int
	// ICMPType and ICMPCode are for ICMP, where Src's port is the echo's identifier:
	// 8 is an echo request, 0 its reply.
	ICMPType, ICMPCode uint8
}

// Verdict is how a walk ends.
type Verdict uint8

// The verdicts.
const (
	Unknown    Verdict = iota // the walk met something it does not model; Walk.Doubt says what
	Sent                      // left by Walk.Out, to Walk.Via
	Delivered                 // to a local socket (Walk.Packet.Dst; after TPROXY, Walk.Socket)
	Dropped                   // by a rule or policy
	Rejected                  // by REJECT, an unreachable or prohibit route
	Unroutable                // no route
	Martian                   // source address refused: rp_filter, accept_local, martian
)

// Walk is a packet's way through one namespace.
type Walk struct {
	// Record is the caller's: whether Steps are wanted. Without, a walk is faster.
	Record  bool
	Steps   []Step
	Verdict Verdict
	// Packet is the packet as it leaves or is delivered: after NAT, with its mark.
	Packet   Packet
	Connmark uint32
	Out      string     // device, where Sent
	Via      netip.Addr // gateway; zero: the destination itself is the neighbour
	// Socket is where TPROXY gives it to; zero otherwise.
	Socket netip.AddrPort
	State  TrackState // what connection tracking made of the packet
	// Doubt is what kept the walk from going on, or what it passed by with a
	// reservation (a module not modelled which could have matched).
	Doubt []string

	run *run // kept between walks for its memory
}

// TrackState is a packet's state in the eyes of connection tracking.
type TrackState uint8

// The states.
const (
	Untouched   TrackState = iota // connection tracking has not seen it yet
	Invalid                       // it belongs to no connection and begins none
	Untracked                     // a rule said so
	New                           // its connection has had no answer yet
	Established                   // its connection has had one
	Reply                         // it is an answer itself; established, too
)

var trackStates = [...]string{"", "INVALID", "UNTRACKED", "NEW", "ESTABLISHED", "ESTABLISHED"}

// String is the state as -m conntrack names it; "" where there is none yet.
func (t TrackState) String() string { return trackStates[t] }

var verdicts = [...]string{"unknown", "sent", "delivered", "dropped", "rejected", "unroutable", "martian"}

// String is the verdict in one word.
func (v Verdict) String() string { return verdicts[v] }

// StepKind says what a step is.
type StepKind uint8

// The kinds of steps.
const (
	StepHook   StepKind = iota // a netfilter hook begins: Hook, Table say which
	StepRule                   // a rule was looked at: Rule, Matched, Failed
	StepPolicy                 // a built-in chain's policy decided
	StepReturn                 // the end of a user's chain
	StepTrack                  // connection tracking: State says what it made of the packet
	StepNAT                    // addresses changed, by a rule or by an earlier packet's
	StepIPRule                 // an ip rule was looked at: IPRule, Matched
	StepRoute                  // a route was chosen: Route, or none in that table
	StepFilter                 // source validation (rp_filter, accept_local)
	StepSocket                 // an established or listening socket took it
	StepOut                    // handed to a device
)

// Hook is a netfilter hook.
type Hook uint8

// The hooks.
const (
	Prerouting Hook = iota
	Input
	Forward
	Output
	Postrouting
)

// Step is one thing that happened on the way. It points into the dump and costs
// no text; Why words it.
type Step struct {
	Kind    StepKind
	Hook    Hook
	Table   string // "mangle"; "" outside iptables
	Chain   string
	Rule    *iptsave.Rule
	IPRule  *iproute.Rule
	Route   *iproute.Route
	TableID uint32 // of the routing table that was looked up
	Matched bool
	// Failed is the index in Rule.Matches of the first condition that did not
	// hold, -1 where all did.
	Failed int
	// Mark and Connmark are before this step, MarkAfter and ConnmarkAfter behind it.
	Mark, MarkAfter         uint32
	Connmark, ConnmarkAfter uint32
	// Packet fields that a condition may have looked at, for Why.
	Packet Packet
	Out    string
	Socket netip.AddrPort // of a StepSocket: where TPROXY gives the packet to
	State  TrackState
	Via    netip.Addr // of a route or a StepOut; zero: the destination is the neighbour
	Note   string
}
