// SPDX-License-Identifier: Apache-2.0

package story

import (
	"fmt"

	"github.com/ambient22/ambient22/internal/dump/iptsave"
	"github.com/ambient22/ambient22/internal/trace"
)

const localTableText = "so it is not delivered, and the pod forwards nothing"

// lostInZtunnel says why a packet found no way in the ztunnel's pod, in the terms of
// what should have been there; "" where none of them fits.
func (s *space) lostInZtunnel(w *trace.Walk) string {
	if s.kind != ztunnelSpace || w.Verdict != trace.Unroutable && w.Verdict != trace.Dropped && w.Verdict != trace.Rejected {
		return ""
	}
	p := w.Packet
	mark := p.Mark & podMarkMask
	switch {
	case p.In == "":
		return ""
	case w.Verdict == trace.Dropped && lastIsSocket(w):
		return fmt.Sprintf("TPROXY gives it to port %d, and %s.", tproxied(w), w.Steps[len(w.Steps)-1].Why())
	case w.Verdict == trace.Dropped, w.Verdict == trace.Rejected && lastIsRule(w):
		return ""
	case mark == tproxyMark:
		return fmt.Sprintf("TPROXY took it and marked it 0x400, but %s, %s.", s.lacksLocal(tproxyMark), localTableText)
	case mark == podReturnMark:
		return fmt.Sprintf("It is marked 0x4d3 as an answer, but %s, %s.", s.lacksLocal(podReturnMark), localTableText)
	case p.In == podInDevice || p.In == podOutDevice:
		if p.Mark != 0 || tproxied(w) != 0 {
			return fmt.Sprintf("TPROXY took it, but its mark is %#x and not 0x400, so no ip rule leads it to table 100, %s.", p.Mark, localTableText)
		}
		return fmt.Sprintf("No TPROXY rule takes what comes out of %s, %s.", p.In, localTableText)
	case p.Protocol == protocolTCP && !s.holds(p.Dst.Addr()):
		return fmt.Sprintf("It came in by %s for somebody else's address, and no rule marks it 0x4d3, %s.", p.In, localTableText)
	}
	return ""
}

func lastIsSocket(w *trace.Walk) bool {
	n := len(w.Steps)
	return n > 0 && w.Steps[n-1].Kind == trace.StepSocket
}

// lastIsRule tells that a rule ended the packet's way, and not a route.
func lastIsRule(w *trace.Walk) bool {
	n := len(w.Steps)
	return n > 0 && w.Steps[n-1].Kind == trace.StepRule
}

// tproxied is the port that TPROXY gives the packet to; 0 without TPROXY.
func tproxied(w *trace.Walk) uint16 {
	for _, s := range w.Steps {
		if s.Kind != trace.StepRule || !s.Matched || s.Rule == nil {
			continue
		}
		if target, ok := s.Rule.Target.(iptsave.TPROXY); ok {
			return target.Port
		}
	}
	return 0
}

// lacksLocal says what is missing of an ip rule and table 100.
func (s *space) lacksLocal(mark uint32) string {
	for _, r := range s.ns.Rules {
		if r.Mask != 0 && r.Mark == mark && mark&r.Mask == r.Mark && r.Table == 100 && r.Action == "lookup" {
			return "table 100 has no local route for it"
		}
	}
	return fmt.Sprintf("the ip rule that leads %#x to table 100 is missing or changed", mark)
}
