// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/ambient22/ambient22/internal/dump/iptsave"
)

// Why says in a short sentence what the step found. It begins in lower case and
// has no full stop.
func (s *Step) Why() string {
	switch s.Kind {
	case StepHook:
		return s.whyHook()
	case StepRule:
		return s.whyRule()
	case StepPolicy:
		return "the end of " + s.Chain + ": its policy is " + s.Note
	case StepReturn:
		return "the end of " + s.Chain + ": back to where it was called from"
	case StepTrack:
		if s.Note != "" {
			return s.Note
		}
		return whyState(s.State)
	case StepNAT:
		return s.whyNAT()
	case StepIPRule:
		return s.whyIPRule()
	case StepRoute:
		return s.whyRoute()
	case StepFilter:
		return s.whyFilter()
	case StepSocket:
		if s.Note != "" {
			return s.Note
		}
		return "the socket at " + s.Socket.String() + " takes the packet, " + markChange(s.Mark, s.MarkAfter)
	case StepOut:
		return "handed to " + s.Out + towards(s.Via)
	}
	return s.Note
}

func (s *Step) whyHook() string {
	text := "table " + s.Table + " at " + s.Chain
	if s.Note != "" {
		text += ", " + s.Note
	}
	return text
}

func whyState(t TrackState) string {
	switch t {
	case New:
		return "NEW: the first packets of a connection, not answered yet"
	case Established:
		return "ESTABLISHED: its connection has been answered"
	case Reply:
		return "ESTABLISHED: an answer to a known connection"
	case Invalid:
		return "INVALID: it belongs to no connection and begins none"
	}
	return "UNTRACKED: a rule said so"
}

func (s *Step) whyNAT() string {
	if !s.Matched {
		return s.Note
	}
	if s.Note == natNotes[1] {
		return "the source is now " + s.Packet.Src.String()
	}
	return "the destination is now " + s.Packet.Dst.String()
}

func (s *Step) whyFilter() string {
	if s.Note != "" {
		return s.Note
	}
	if s.Route != nil {
		return "the source may come in by " + s.Packet.In + "; the way back to it: " + s.Route.String()
	}
	return "the source may come in by " + s.Packet.In
}

func (s *Step) whyRoute() string {
	name := tableName(s.TableID)
	switch {
	case s.Route == nil:
		return "table " + name + " has no route to " + s.Packet.Dst.Addr().String()
	case s.Note != "":
		return "table " + name + ": " + s.Route.String() + ", " + s.Note
	case s.Route.Type == "throw":
		return "table " + name + " says throw: the next rule is asked"
	}
	return "table " + name + ": " + s.Route.String()
}

func tableName(id uint32) string {
	switch id {
	case tableLocal:
		return "local"
	case tableMain:
		return "main"
	case tableDefault:
		return "default"
	}
	return fmt.Sprint(id)
}

func towards(via netip.Addr) string {
	if !via.IsValid() {
		return ""
	}
	return " towards " + via.String()
}

func (s *Step) whyRule() string {
	if s.Note != "" {
		return s.Note
	}
	if !s.Matched {
		if s.Failed < 0 || s.Failed >= len(s.Rule.Matches) {
			return "does not match"
		}
		return s.whyNot(s.Rule.Matches[s.Failed])
	}
	all := "matches: "
	if !asks(s.Rule) {
		all = "every packet: "
	}
	return all + s.whyTarget()
}

// asks tells whether a rule has a condition; a comment is none.
func asks(r *iptsave.Rule) bool {
	for _, m := range r.Matches {
		if _, comment := m.(iptsave.Comment); !comment {
			return true
		}
	}
	return false
}

func (s *Step) whyTarget() string {
	switch t := s.Rule.Target.(type) {
	case nil:
		return "counted, it goes on"
	case iptsave.Verdict:
		switch t.Name {
		case "ACCEPT":
			return "accepted, table " + s.Table + " is done"
		case "DROP":
			return "dropped"
		case "RETURN":
			if s.Chain == s.Hook.String() {
				return "the chain's policy decides"
			}
			return "back to where " + s.Chain + " was called from"
		}
		return t.Name
	case iptsave.Jump:
		if t.Goto {
			return "goes to " + t.Chain + " and does not come back here"
		}
		return "goes to " + t.Chain
	case iptsave.SetMark, iptsave.RestoreMark:
		return markChange(s.Mark, s.MarkAfter)
	case iptsave.SetConnmark, iptsave.SaveMark:
		return "connection's " + markChange(s.Connmark, s.ConnmarkAfter)
	case iptsave.TPROXY:
		return "TPROXY looks for a socket, on port " + fmt.Sprint(t.Port)
	case iptsave.NAT:
		if t.To == "" {
			return t.Kind
		}
		return t.Kind + " to " + t.To
	case iptsave.Log:
		return "logged, it goes on"
	case iptsave.Reject:
		return "rejected"
	case iptsave.CT:
		if t.NoTrack {
			return "its connection is not tracked"
		}
		return "how it is tracked is set, it goes on"
	case iptsave.Pass:
		return t.Name + ", it goes on"
	case iptsave.OpaqueTarget:
		return t.Name + ", which is not modelled"
	}
	return "it goes on"
}

func markChange(before, after uint32) string {
	if before == after {
		return fmt.Sprintf("mark stays %#x", after)
	}
	return fmt.Sprintf("mark %#x becomes %#x", before, after)
}

func (s *Step) whyIPRule() string {
	r := s.IPRule
	if s.Matched {
		switch r.Action {
		case "lookup":
			return "looks into table " + tableName(r.Table)
		case "goto":
			return fmt.Sprintf("goes on at rule %d", r.Goto)
		case "":
			return "what the rule does is not understood"
		}
		return r.Action
	}
	if r.Not {
		return "all of its conditions hold, and it asks for the opposite"
	}
	p := &s.Packet
	switch {
	case (r.Mark^s.Mark)&r.Mask != 0:
		return markMiss("mark", s.Mark, r.Mark, r.Mask)
	case r.From.IsValid() && !r.From.Contains(p.Src.Addr()):
		return fmt.Sprintf("source %s is not in %s", p.Src.Addr(), r.From)
	case r.To.IsValid() && !r.To.Contains(p.Dst.Addr()):
		return fmt.Sprintf("destination %s is not in %s", p.Dst.Addr(), r.To)
	case r.IIF == loopback && p.In != "":
		return "came in by " + p.In + ", the rule is for what is sent from here"
	case r.IIF != "" && r.IIF != p.In:
		return cameBy(p.In) + ", not " + r.IIF
	case r.OIF != "" && r.OIF != p.OIF:
		return "not tied to " + r.OIF
	case r.Protocol != 0 && r.Protocol != p.Protocol:
		return fmt.Sprintf("protocol %s, not %s", protocolName(p.Protocol), protocolName(r.Protocol))
	}
	return "its TOS, ports or users differ"
}

func cameBy(dev string) string {
	if dev == "" {
		return "sent from here"
	}
	return "came in by " + dev
}

func markMiss(what string, mark, value, mask uint32) string {
	if mask == ^uint32(0) {
		return fmt.Sprintf("%s %#x is not %#x", what, mark, value)
	}
	return fmt.Sprintf("%s %#x & %#x is not %#x", what, mark, mask, value)
}

func protocolName(n uint8) string {
	switch n {
	case protoICMP:
		return "icmp"
	case protoTCP:
		return "tcp"
	case protoUDP:
		return "udp"
	case protoSCTP:
		return "sctp"
	}
	return fmt.Sprint(n)
}

func list(words []string) string { return strings.Join(words, ",") }
