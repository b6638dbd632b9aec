// SPDX-License-Identifier: Apache-2.0

package live

import (
	"errors"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/ambient22/ambient22/internal/dump/iproute"
	"github.com/ambient22/ambient22/internal/trace"
)

// Tables that the kernel has of itself.
const (
	tableMain  = 254
	tableLocal = 255
)

// askedNote is on every route: the kernel was asked for it, with the packet's mark and
// device; it does not tell by itself.
const askedNote = "asked of the kernel"

// route tells the ip rules and the route of the packet as it is now.
func (s *telling) route(in string) Asked {
	a := s.routes.ask(question{header: s.header, mark: s.mark, in: in})
	s.routed.mark, s.routed.dst = s.mark, s.header.Dst
	if a.Err != nil {
		s.refused(in, a)
		return a
	}
	s.chosen(in, a)
	return a
}

// refused tells a packet that the kernel names no route for. Where it would have one
// if the namespace sent the packet itself, it is the packet's coming in that is refused.
func (s *telling) refused(in string, a Asked) {
	if a.Unasked() {
		s.plain(trace.Step{Kind: trace.StepRoute, TableID: tableMain, Note: a.Err.Error()})
		return
	}
	sent := Asked{Err: a.Err}
	if in != "" {
		sent = s.routes.ask(question{header: s.header, mark: s.mark})
	}
	if sent.Err != nil {
		s.plain(trace.Step{Kind: trace.StepRoute, TableID: tableMain, Note: askedNote + ": " + a.Err.Error()})
		return
	}
	s.chosen(in, sent)
	why := "the kernel refuses it: " + a.Err.Error()
	switch {
	case a.Refused():
		why = "the kernel refuses its source by this device (rp_filter, accept_local, or a source that nobody may have)"
	case errors.Is(a.Err, unix.EHOSTUNREACH):
		why = "forwarding is off"
	}
	s.plain(trace.Step{Kind: trace.StepFilter, Note: why})
	s.w.Steps[len(s.w.Steps)-1].Matched = false
}

// chosen tells the ip rules and the route that the kernel answered.
func (s *telling) chosen(in string, a Asked) {
	found := s.dumped(&a.Route)
	if found == nil && a.Route.Table == tableMain {
		// Without ip rules of its own a namespace keeps both tables in one.
		local := a.Route
		local.Table = tableLocal
		if found = s.dumped(&local); found != nil {
			a.Route.Table = tableLocal
		}
	}
	if found == nil {
		found = &a.Route
	}
	s.ipRules(in, a.Route.Table)
	s.plain(trace.Step{Kind: trace.StepRoute, Route: found, TableID: a.Route.Table, Out: found.Dev, Via: found.Via, Note: askedNote})
	if s.w.Via, s.asked = found.Via, found.Dev; found.Type == "local" {
		s.asked = loopback
	}
}

// ipRules tells the ip rules whose conditions hold, up to the one that leads to the
// table where the kernel found the route.
func (s *telling) ipRules(in string, table uint32) {
	p := s.packet()
	for i := 0; i < len(s.ns.Rules); i++ {
		r := s.ns.Rules[i]
		if !selects(r, &p, in) {
			continue
		}
		s.plain(trace.Step{Kind: trace.StepIPRule, IPRule: r, TableID: r.Table})
		switch r.Action {
		case "goto":
			for i+1 < len(s.ns.Rules) && s.ns.Rules[i+1].Priority < r.Goto {
				i++
			}
		case "lookup":
			if r.Table == table {
				return
			}
			s.plain(trace.Step{Kind: trace.StepRoute, TableID: r.Table})
		}
	}
}

// selects reports whether an ip rule's conditions hold.
func selects(r *iproute.Rule, p *trace.Packet, in string) bool {
	holds := (!r.From.IsValid() || r.From.Contains(p.Src.Addr())) && (!r.To.IsValid() || r.To.Contains(p.Dst.Addr())) &&
		(r.IIF == "" || r.IIF == in || r.IIF == "lo" && in == "") && (r.OIF == "" || r.OIF == p.OIF) &&
		(p.Mark^r.Mark)&r.Mask == 0 && (r.Protocol == 0 || r.Protocol == p.Protocol) &&
		inRange(r.SPort, p.Src.Port()) && inRange(r.DPort, p.Dst.Port())
	return holds != r.Not
}

func inRange(r [2]uint16, port uint16) bool { return r == [2]uint16{} || r[0] <= port && port <= r[1] }

// dumped is the dump's line for a route that the kernel named; nil where it has none.
func (s *telling) dumped(a *iproute.Route) *iproute.Route {
	for _, r := range s.ns.Routes {
		if !r.IPv6 && r.Table == a.Table && samePrefix(r.Dst, a.Dst) && r.Type == a.Type && r.Dev == a.Dev && r.Via == a.Via {
			return r
		}
	}
	return nil
}

func samePrefix(a, b netip.Prefix) bool {
	return a.Bits() == b.Bits() && a.Masked().Addr() == b.Masked().Addr()
}
