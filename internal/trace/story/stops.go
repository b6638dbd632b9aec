// SPDX-License-Identifier: Apache-2.0

package story

import (
	"fmt"
	"strings"

	"github.com/ambient22/ambient22/internal/dump"
	"github.com/ambient22/ambient22/internal/dump/iproute"
	"github.com/ambient22/ambient22/internal/dump/iptsave"
	"github.com/ambient22/ambient22/internal/trace"
)

const kindLinks = dump.KindLinks

// hookNames are the hooks as iptables calls them.
func hookName(h trace.Hook) string {
	return [...]string{"PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"}[h]
}

// hex is a mark as people write it; "" for none.
func hex(mark uint32) string { return fmt.Sprintf("%#x", mark) }

// sentence ends a text with a full stop.
func sentence(text string) string {
	if text == "" || strings.HasSuffix(text, ".") {
		return text
	}
	return text + "."
}

// place is the namespace as a place.
func (s *space) place() Place {
	p := Place{Node: s.node.name(), Space: s.kind}
	switch s.kind {
	case podSpace:
		p.Pod = s.pod
	case ztunnelSpace:
		if s.node.proxy != nil {
			p.Pod = s.node.proxy.Node.Pod
		}
	}
	return p
}

func (s *space) placeAt(device string) Place {
	p := s.place()
	p.Device = device
	return p
}

func firstLine(l *iproute.Link) string {
	line, _, _ := strings.Cut(l.String(), "\n")
	return line
}

// tunnelLine is the line of a device that describes the tunnel.
func tunnelLine(l *iproute.Link) string {
	for line := range strings.Lines(l.String()) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, l.Kind+" ") {
			// What every device has says nothing about the tunnel.
			line, _, _ = strings.Cut(line, " numtxqueues ")
			return line
		}
	}
	return firstLine(l)
}

// note makes stops of a walk's steps.
func (t *traveller) note(sp *space, in string, w *trace.Walk) {
	if t.leg == nil {
		return
	}
	passed := 0 // rules of one chain in a row that did not match
	for i := range w.Steps {
		if passed = passedBy(w.Steps, i, passed); passed > maxPassed {
			if next := i + 1; next == len(w.Steps) || passedBy(w.Steps, next, passed) == 0 {
				t.stop(folded(sp, &w.Steps[i], passed-maxPassed))
			}
			continue
		}
		t.stop(t.asStop(sp, in, w.Steps, i))
		if t.recording {
			t.seen = append(t.seen, seenStep{Step: w.Steps[i], space: sp, stop: t.leg.Stops[len(t.leg.Stops)-1].ID})
		}
	}
}

// maxPassed is how many rules of one chain in a row are told that did not match.
// kube-proxy has a rule for each service in one chain.
const maxPassed = 200

// passedBy counts the rules in a row, up to step i, that are of one chain and did
// not match.
func passedBy(steps []trace.Step, i, before int) int {
	s := &steps[i]
	switch {
	case s.Kind != trace.StepRule || s.Matched:
		return 0
	case before > 0 && (steps[i-1].Chain != s.Chain || steps[i-1].Table != s.Table):
		return 1
	}
	return before + 1
}

// folded stands for rules that are not told one by one.
func folded(sp *space, st *trace.Step, n int) Stop {
	s := Stop{Place: sp.place(), Kind: "rule", Text: fmt.Sprintf("%d more rules of chain %s are not for this packet.", n, st.Chain), Mark: hex(st.Mark)}
	s.Place.Hook, s.Place.Table, s.Place.Chain = hookName(st.Hook), st.Table, st.Chain
	return s
}

// seenStep is a step of the call's first packet, with the stop that tells it.
type seenStep struct {
	trace.Step
	space *space
	stop  string
}

func (t *traveller) asStop(sp *space, in string, steps []trace.Step, i int) Stop {
	st := &steps[i]
	s := Stop{Place: sp.place(), Matched: st.Matched, Why: st.Why(), Mark: hex(st.Mark)}
	s.Place.Hook, s.Place.Table, s.Place.Chain = hookName(st.Hook), st.Table, st.Chain
	if st.MarkAfter != st.Mark {
		s.MarkAfter = hex(st.MarkAfter)
	}
	if st.Connmark != 0 || st.ConnmarkAfter != 0 {
		s.Connmark = hex(st.Connmark)
		if st.ConnmarkAfter != st.Connmark {
			s.ConnmarkAfter = hex(st.ConnmarkAfter)
		}
	}
	switch st.Kind {
	case trace.StepHook:
		s.Kind, s.Matched = "hook", true
		s.Text, s.Why = sentence(capital(st.Why())), ""
	case trace.StepRule:
		t.ruleStop(&s, sp, st)
	case trace.StepPolicy:
		s.Kind, s.Matched = "policy", true
		s.Text, s.Why = sentence(capital(st.Why())), ""
		s.Decisive = st.Note == "DROP"
	case trace.StepReturn:
		s.Kind, s.Matched = "hook", true
		s.Text, s.Why = sentence(capital(st.Why())), ""
	case trace.StepTrack:
		s.Kind, s.Matched = "conntrack", true
		s.Text, s.Decisive = trackText(st)
		s.Why = ""
	case trace.StepNAT:
		s.Kind, s.Matched, s.Decisive = "nat", true, true
		s.Text, s.Why = sentence(capital(st.Why())), ""
	case trace.StepIPRule:
		ipRuleStop(&s, sp, steps, i)
	case trace.StepRoute:
		routeStop(&s, sp, st)
	case trace.StepFilter:
		// What fails ends the walk; before the last step nothing was in the way.
		s.Kind, s.Matched = "filter", st.Matched || i < len(steps)-1
		s.Text, s.Why = sentence(capital(st.Why())), ""
		s.Decisive = !st.Matched
		s.Place.Hook, s.Place.Table = "", "routing"
	case trace.StepSocket:
		s.Kind, s.Matched, s.Decisive = "socket", true, true
		text, _, _ := strings.Cut(st.Why(), ", mark ")
		s.Text, s.Why = sentence(capital(text)), ""
	case trace.StepOut:
		s.Kind, s.Matched = "device", true
		s.Place.Device = st.Out
		s.Text = fmt.Sprintf("It is handed to device %s.", st.Out)
	}
	if s.Place.Device == "" {
		s.Place.Device = in
	}
	return s
}

// ruleStop is a rule that was looked at.
func (t *traveller) ruleStop(s *Stop, sp *space, st *trace.Step) {
	s.Kind = "rule"
	if st.Rule == nil {
		return
	}
	s.Line, s.File, s.LineNo = ruleLine(st.Rule), sp.ruleFile(st.Rule), st.Rule.Line
	if !st.Matched {
		s.Text, s.Why = sentence("Not for this packet: "+st.Why()), ""
		return
	}
	s.Text = explainRule(sp, st)
	switch st.Rule.Target.(type) {
	case iptsave.TPROXY:
		s.Kind, s.Decisive = "tproxy", true
	case iptsave.Jump, iptsave.Log, nil:
	default:
		s.Decisive = true
	}
}

// trackText says what connection tracking made of the packet. It matters where the
// connection's mark does.
func trackText(st *trace.Step) (string, bool) {
	mark := max(st.Connmark, st.ConnmarkAfter)
	text := "Connection tracking: " + st.Why()
	if mark != 0 {
		text += fmt.Sprintf("; the connection's mark is %#x", mark)
	}
	return text + ".", mark != 0
}

// ipRuleStop is an ip rule; it is worth telling where its table had a route.
func ipRuleStop(s *Stop, sp *space, steps []trace.Step, i int) {
	st := &steps[i]
	s.Kind, s.Place.Hook, s.Place.Table, s.Place.Chain = "iprule", "", "routing", ""
	if st.IPRule == nil {
		return
	}
	s.Line, s.File, s.LineNo = strings.Join(strings.Fields(st.IPRule.String()), " "), sp.file[dump.KindRules], st.IPRule.Line
	if !st.Matched {
		s.Text, s.Why = sentence("Not for this packet: "+st.Why()), ""
		return
	}
	s.Text = explainIPRule(sp, st.IPRule)
	if st.IPRule.Action != "lookup" {
		s.Decisive = true
		return
	}
	if i+1 < len(steps) && steps[i+1].Kind == trace.StepRoute && steps[i+1].Route != nil {
		s.Decisive = st.IPRule.Mask != 0 || st.IPRule.Priority != 0 && st.IPRule.Priority < mainPriority
	}
}

func routeStop(s *Stop, sp *space, st *trace.Step) {
	s.Kind, s.Place.Hook, s.Place.Chain = "route", "", ""
	s.Place.Table = "routing"
	if st.Route == nil {
		s.Matched = false
		s.Text, s.Why = sentence(capital(st.Why())), ""
		return
	}
	s.Matched, s.Decisive = true, true
	s.Line, s.File, s.LineNo = strings.TrimSpace(st.Route.String()), sp.file[dump.KindRoutes], st.Route.Line
	s.Text = explainRoute(sp, st)
	s.Place.Device = st.Route.Dev
}

func tableName(id uint32) string {
	switch id {
	case 255:
		return "local"
	case 254:
		return "main"
	case 253:
		return "default"
	}
	return fmt.Sprint(id)
}

// ruleLine is a rule without its counters, which belong to all packets.
func ruleLine(r *iptsave.Rule) string {
	line := r.String()
	if _, after, ok := strings.Cut(line, "] "); ok && strings.HasPrefix(line, "[") {
		return after
	}
	return line
}

func capital(text string) string {
	if text == "" {
		return text
	}
	return strings.ToUpper(text[:1]) + text[1:]
}
