// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/ambient22/ambient22/internal/dump/iptsave"
)

// whyNot says why a condition does not hold for the step's packet.
func (s *Step) whyNot(m iptsave.Match) string {
	p := &s.Packet
	switch m := m.(type) {
	case iptsave.Protocol:
		return fmt.Sprintf("protocol %s %s %s", protocolName(p.Protocol), is(m.Not), m.Name)
	case iptsave.Source:
		return fmt.Sprintf("source %s %s", p.Src.Addr(), network(m))
	case iptsave.Destination:
		return fmt.Sprintf("destination %s %s", p.Dst.Addr(), network(iptsave.Source(m)))
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
		return s.whyNotMultiport(m)
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
		if len(m.Rest) > 0 {
			return "the connection is not what " + m.String() + " asks for"
		}
		one := ""
		if len(m.States) > 1 {
			one = "one of "
		}
		return fmt.Sprintf("the connection's state %s %s %s%s", stateOr(s.State), is(m.Not), one, list(m.States))
	case iptsave.AddrType:
		return s.whyNotType(m)
	}
	return s.whyNotRare(m)
}

func (s *Step) whyNotRare(m iptsave.Match) string {
	p := &s.Packet
	switch m := m.(type) {
	case iptsave.ICMP:
		return fmt.Sprintf("ICMP type %d code %d does not fit", p.ICMPType, p.ICMPCode)
	case iptsave.IPRange:
		return s.whyNotRange(m)
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
	case iptsave.Opaque:
		if m.Module == "rpfilter" && slices.Contains(m.Words, "--invert") {
			return fmt.Sprintf("the way back to %s is by %s", p.Src.Addr(), p.In)
		} else if m.Module == "rpfilter" {
			return fmt.Sprintf("the way back to %s is not by %s", p.Src.Addr(), p.In)
		}
	case iptsave.HashLimit:
		return "the rate is taken as not reached"
	}
	return "the condition " + m.String() + " does not hold"
}

func (s *Step) whyNotRange(m iptsave.IPRange) string {
	p := &s.Packet
	if low, high := m.SourceLow, m.SourceHigh; low.IsValid() && within(p.Src.Addr(), low, high) == m.NotSource {
		return fmt.Sprintf("source %s %s %s-%s", p.Src.Addr(), in(m.NotSource), low, high)
	}
	return fmt.Sprintf("destination %s %s %s-%s", p.Dst.Addr(), in(m.NotDest), m.DestLow, m.DestHigh)
}

func within(a, low, high netip.Addr) bool { return low.Compare(a) <= 0 && a.Compare(high) <= 0 }

func (s *Step) whyNotPorts(m iptsave.Ports) string {
	p := &s.Packet
	if m.Source != nil && inPort(m.Source, p.Src.Port()) == m.NotSource {
		return fmt.Sprintf("source port %d %s", p.Src.Port(), ports(m.NotSource, m.Source))
	}
	if m.Dest != nil && inPort(m.Dest, p.Dst.Port()) == m.NotDest {
		return fmt.Sprintf("destination port %d %s", p.Dst.Port(), ports(m.NotDest, m.Dest))
	}
	return "the TCP flags " + flagNames(p.TCPFlags) + " do not fit"
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
			what += ", port " + fmt.Sprint(end.Port())
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

// network says whether an address is in a condition's network, or is its address.
func network(m iptsave.Source) string {
	switch {
	case !m.Prefix.IsValid():
		return in(m.Not) + " " + m.Addr.String() + "/" + m.Mask.String()
	case m.Prefix.IsSingleIP():
		return is(m.Not) + " " + m.Prefix.Addr().String()
	}
	return in(m.Not) + " " + m.Prefix.Masked().String()
}

func inPort(r *iptsave.PortRange, port uint16) bool { return r.Low <= port && port <= r.High }

// ports says whether a port is in a condition's range, or is its port.
func ports(not bool, r *iptsave.PortRange) string {
	if r.Low == r.High {
		return fmt.Sprintf("%s %d", is(not), r.Low)
	}
	return fmt.Sprintf("%s %d:%d", in(not), r.Low, r.High)
}

func (s *Step) whyNotMultiport(m iptsave.Multiport) string {
	p, what := &s.Packet, ""
	switch m.Option {
	case "sports", "source-ports":
		what = fmt.Sprintf("source port %d", p.Src.Port())
	case "dports", "destination-ports":
		what = fmt.Sprintf("destination port %d", p.Dst.Port())
	default:
		what = fmt.Sprintf("port %d or %d", p.Src.Port(), p.Dst.Port())
	}
	var all []string
	for _, r := range m.Ranges {
		if r.Low == r.High {
			all = append(all, fmt.Sprint(r.Low))
		} else {
			all = append(all, fmt.Sprintf("%d:%d", r.Low, r.High))
		}
	}
	return fmt.Sprintf("%s %s among %s", what, is(m.Not), list(all))
}

// flagNames are a TCP header's flags, by their bits.
func flagNames(flags uint8) string {
	var names []string
	for i, name := range [...]string{"FIN", "SYN", "RST", "PSH", "ACK", "URG"} {
		if flags>>i&1 != 0 {
			names = append(names, name)
		}
	}
	if names == nil {
		return "(none)"
	}
	return list(names)
}

func stateOr(t TrackState) string {
	if t == Untouched {
		return "(not tracked yet)"
	}
	return t.String()
}
