// SPDX-License-Identifier: Apache-2.0

package live

import (
	"time"

	"github.com/ambient22/ambient22/internal/trace"
)

// Event is one thing that the kernel told. Of one namespace they come in the order in
// which they happened to a packet.
type Event struct {
	Space string // name of the namespace
	// At is when it was received; of a frame, when the kernel saw it.
	At    time.Time
	Rule  *RuleEvent
	Conn  *ConnEvent
	Frame *FrameEvent
}

// RuleKind says what a rule event is about.
type RuleKind uint8

// The kinds.
const (
	RuleMatched RuleKind = iota // a rule's conditions hold
	RuleReturn                  // the end of a user's chain
	RulePolicy                  // a built-in chain's policy decides
)

// RuleEvent is netfilter's word on one rule that a packet met: nf_tables' trace, or
// the legacy variant's log of traced packets.
type RuleEvent struct {
	Kind RuleKind
	// Legacy: from iptables' legacy variant. Its marks are from before the rule's
	// target, nf_tables' from after it.
	Legacy       bool
	ID           uint32 // of the packet in nf_tables' trace; 0 in the legacy variant's
	Family       uint8
	Table, Chain string
	Handle       uint64 // of nf_tables' rule
	Index        int    // of the legacy rule, from 1
	Verdict      string // "accept", "drop", "continue", "jump", "goto", "return", ...; "" legacy
	JumpTo       string
	Mark         uint32
	In, Out      int  // device indexes; 0 none
	Hook         int8 // trace.Hook; -1 where the event does not say
	Header       *Header
	// Inner is what a traced tunnel packet carries.
	Inner *Tunnelled
}

// ConnKind says what happened to a connection.
type ConnKind string

// The kinds, in conntrack -E's words.
const (
	ConnNew     ConnKind = "NEW"
	ConnUpdate  ConnKind = "UPDATE"
	ConnDestroy ConnKind = "DESTROY"
)

// ConnEvent is connection tracking's word on a connection.
type ConnEvent struct {
	Kind            ConnKind
	ID              uint32
	Original, Reply Tuple
	Mark            uint32
	Status          uint32
	TCPState        uint8
}

// FrameEvent is a packet that passed a device.
type FrameEvent struct {
	Device   string
	Incoming bool // by this namespace's device, from outside
	Header   Header
	Tunnel   *Tunnelled
}

// hookOf is the hook with the kernel's number.
func hookOf(number uint8) int8 {
	switch number {
	case 0:
		return int8(trace.Prerouting)
	case 1:
		return int8(trace.Input)
	case 2:
		return int8(trace.Forward)
	case 3:
		return int8(trace.Output)
	case 4:
		return int8(trace.Postrouting)
	}
	return -1
}
