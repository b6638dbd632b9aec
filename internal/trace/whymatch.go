// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"fmt"

	"github.com/ambient22/ambient22/internal/dump/iptsave"
)

// whyNot says why a condition does not hold for the step's packet.
func (s *Step) whyNot(m iptsave.Match) string {
	p := &s.Packet
	switch m := m.(type) {
	case iptsave.Protocol:
		return fmt.Sprintf("protocol %s %s %s", protocolName(p.Protocol), is(m.Not), m.Name)
	case iptsave.Source:
		return fmt.Sprintf("source %s %s %s", p.Src.Addr(), in(m.Not), network(m))
	case iptsave.Destination:
		return fmt.Sprintf("destination %s %s %s", p.Dst.Addr(), in(m.Not), network(iptsave.Source(m)))
	case iptsave.InInterface:
		if m.Not {
			return cameBy(p.In)
		}
		return cameBy(p.In) + ", not " + m.Name
	case iptsave.OutInterface:
		if m.Not {
			return "goes out by " + s.Out
		}
		if s.Out == "" {
			return "does not go out, asked for " + m.Name
		}
		return "goes out by " + s.Out + ", not " + m.Name
	case iptsave.Fragment:
		return "not a later fragment"
	case iptsave.Ports:
		return s.whyNotPorts(m)
	case iptsave.Multiport:
		if m.Not {
			return fmt.Sprintf("ports %d to %d are among the rule's", p.Src.Port(), p.Dst.Port())
		}
		return fmt.Sprintf("ports %d to %d are not among the rule's", p.Src.Port(), p.Dst.Port())
	case iptsave.Mark:
		if m.Not {
			return fmt.Sprintf("mark %#x & %#x is %#x", s.Mark, m.Mask, m.Value)
		}
		return markMiss("mark", s.Mark, m.Value, m.Mask)
	case iptsave.Connmark:
		return s.whyNotConnmark(m)
	case iptsave.Set:
		return s.whyNotSet(m)
	case iptsave.State:
		return fmt.Sprintf("the connection's state %s %s %s", stateOr(s.State), is(m.Not), list(m.States))
	case iptsave.AddrType:
		return s.whyNotType(m)
	}
	return s.whyNotRare(m)
}

func (s *Step) whyNotRare(m iptsave.Match) string {
	p := &s.Packet
	switch m.(type) {
	case iptsave.ICMP:
		return fmt.Sprintf("ICMP type %d code %d does not fit", p.ICMPType, p.ICMPCode)
	case iptsave.IPRange:
		return fmt.Sprintf("%s or %s is outside the rule's range", p.Src.Addr(), p.Dst.Addr())
	case iptsave.Owner:
		if p.In != "" {
			return "no local process sends it"
		}
		return fmt.Sprintf("sent by user %d, group %d", p.UID, p.GID)
	case iptsave.Socket:
		return "no local socket belongs to it"
	case iptsave.Statistic:
		return "not this time, by chance or count"
	case iptsave.PhysDev:
		return "no bridge's port is involved"
	case iptsave.HashLimit:
		return "the rate is taken as not reached"
	}
	return "the condition " + m.String() + " does not hold"
}

func (s *Step) whyNotPorts(m iptsave.Ports) string {
	p := &s.Packet
	if m.Source != nil && inPort(m.Source, p.Src.Port()) == m.NotSource {
		return fmt.Sprintf("source port %d %s %s", p.Src.Port(), is(m.NotSource), portRange(m.Source))
	}
	if m.Dest != nil && inPort(m.Dest, p.Dst.Port()) == m.NotDest {
		return fmt.Sprintf("destination port %d %s %s", p.Dst.Port(), is(m.NotDest), portRange(m.Dest))
	}
	return fmt.Sprintf("the TCP flags %#02x do not fit", p.TCPFlags)
}

func (s *Step) whyNotConnmark(m iptsave.Connmark) string {
	switch s.State {
	case Untouched, Invalid, Untracked:
		return "it has no connection, so no connection's mark"
	}
	if m.Not {
		return fmt.Sprintf("connection's mark %#x & %#x is %#x", s.Connmark, m.Mask, m.Value)
	}
	return markMiss("connection's mark", s.Connmark, m.Value, m.Mask)
}

func (s *Step) whyNotSet(m iptsave.Set) string {
	p, what := &s.Packet, ""
	for i, d := range m.Directions {
		name, end := "source", p.Src
		if d == "dst" {
			name, end = "destination", p.Dst
		}
		if i > 0 {
			what += ", " + fmt.Sprint(end.Port())
			continue
		}
		what = name + " " + end.Addr().String()
	}
	return fmt.Sprintf("%s %s set %s", what, in(m.Not), m.Name)
}

func (s *Step) whyNotType(m iptsave.AddrType) string {
	p := &s.Packet
	text := ""
	if m.Source != "" {
		text = fmt.Sprintf("source %s %s %s", p.Src.Addr(), is(m.NotSource), m.Source)
	}
	if m.Dest != "" {
		if text != "" {
			text += ", or "
		}
		text += fmt.Sprintf("destination %s %s %s", p.Dst.Addr(), is(m.NotDest), m.Dest)
	}
	return text
}

// is and in say what a condition found: the opposite of what it asks for.
func is(not bool) string {
	if not {
		return "is"
	}
	return "is not"
}

func in(not bool) string {
	if not {
		return "is in"
	}
	return "is not in"
}

func network(m iptsave.Source) string {
	if m.Prefix.IsValid() {
		if m.Prefix.IsSingleIP() {
			return m.Prefix.Addr().String()
		}
		return m.Prefix.String()
	}
	return m.Addr.String() + "/" + m.Mask.String()
}

func inPort(r *iptsave.PortRange, port uint16) bool { return r.Low <= port && port <= r.High }

func portRange(r *iptsave.PortRange) string {
	if r.Low == r.High {
		return fmt.Sprint(r.Low)
	}
	return fmt.Sprintf("%d:%d", r.Low, r.High)
}

func stateOr(t TrackState) string {
	if t == Untouched {
		return "(not tracked yet)"
	}
	return t.String()
}
