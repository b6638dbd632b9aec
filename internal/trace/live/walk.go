// SPDX-License-Identifier: Apache-2.0

package live

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/ambient22/ambient22/internal/dump"
	"github.com/ambient22/ambient22/internal/dump/iptsave"
	"github.com/ambient22/ambient22/internal/trace"
)

// teller makes walks of passages, in the words of the namespace's dump.
type teller struct {
	ns      *dump.Netns
	handles handles
	devices map[int]string
	routes  routes
}

// telling is a walk in the making.
type telling struct {
	*teller
	p        *Passage
	w        *trace.Walk
	mark     uint32
	connmark uint32
	header   Header
	hook     trace.Hook
	begun    bool
	table    string // whose rules the packet is at
	tracked  bool
	// back tells that the packet comes back through lo: it keeps its route and its
	// connection.
	back bool
	// routed is what the last routing decision was about.
	routed struct {
		mark uint32
		dst  netip.AddrPort
	}
	asked string // the device of the last route
	end   trace.Verdict
}

// tell adds a passage's way to w. The way of a packet that goes through lo is told
// by two passages, the second of which comes back.
func (t *teller) tell(p *Passage, w *trace.Walk, back bool) {
	s := &telling{teller: t, p: p, w: w, header: p.First, back: back, tracked: back, connmark: w.Connmark}
	w.Out, w.Via = "", netip.Addr{}
	if o := p.Items[0].Seen; o != nil {
		s.mark = o.Mark
	}
	s.hook = p.Items[0].Hook
	w.Packet = s.packet()
	if s.hook == trace.Output {
		s.route("")
	}
	for i := range p.Items {
		s.item(i)
	}
	s.finish()
}

// packet is the packet as it is now.
func (s *telling) packet() trace.Packet {
	h := &s.header
	return trace.Packet{
		Protocol: h.Protocol, Src: h.Src, Dst: h.Dst, Mark: s.mark, In: s.p.In,
		TCPFlags: h.Flags, TOS: h.TOS, Length: h.Length,
	}
}

func (s *telling) step(st trace.Step) {
	st.Hook, st.Packet = s.hook, s.packet()
	s.w.Steps = append(s.w.Steps, st)
}

// plain is a step that changes no mark.
func (s *telling) plain(st trace.Step) {
	st.Mark, st.MarkAfter, st.Connmark, st.ConnmarkAfter, st.Matched, st.Failed = s.mark, s.mark, s.connmark, s.connmark, true, -1
	s.step(st)
}

func (s *telling) item(i int) {
	it := &s.p.Items[i]
	if it.Hook != s.hook || !s.begun {
		s.enter(it)
	}
	if o := it.Seen; o != nil {
		s.observe(o)
		return
	}
	s.rule(i)
}

// enter is the beginning of a hook.
func (s *telling) enter(it *Item) {
	if s.begun && s.hook == trace.Prerouting && !s.back {
		s.route(s.p.In)
	}
	s.hook, s.begun, s.table = it.Hook, true, ""
}

// observe takes over what an observer saw: marks that no rule explains, and
// addresses that changed.
func (s *telling) observe(o *Observation) {
	if o.Header.Src != s.header.Src || o.Header.Dst != s.header.Dst {
		was := s.header
		s.header = o.Header
		s.plain(trace.Step{Kind: trace.StepNAT, Table: "nat", Note: natNote(&was, &s.header)})
	}
	s.mark = o.Mark
	if s.hook == trace.Output && (s.mark != s.routed.mark || s.header.Dst.Addr() != s.routed.dst.Addr()) {
		s.route("") // what mangle and nat change in OUTPUT is routed anew
	}
	if !o.Tracked {
		return
	}
	if o.Connmark != s.connmark && s.tracked {
		s.correct(o.Connmark)
	}
	s.connmark = o.Connmark
	if !s.tracked {
		s.tracked = true
		s.plain(trace.Step{Kind: trace.StepTrack, State: o.trackState()})
	}
}

// trackState is the state in the tracer's words.
func (o *Observation) trackState() trace.TrackState {
	switch {
	case o.State == "INVALID":
		return trace.Invalid
	case o.State == "UNTRACKED":
		return trace.Untracked
	case o.State == "NEW":
		return trace.New
	case o.Reply:
		return trace.Reply
	}
	return trace.Established
}

// natNote is the side that was changed, in the tracer's words.
func natNote(was, is *Header) string {
	if was.Dst != is.Dst {
		return "destination"
	}
	return "source"
}

// correct puts a connection mark that was observed at the last rule that may have
// set it.
func (s *telling) correct(seen uint32) {
	for i := len(s.w.Steps) - 1; i >= 0; i-- {
		st := &s.w.Steps[i]
		if st.Kind == trace.StepRule && st.Rule != nil && setsConnmark(st.Rule.Target) {
			st.ConnmarkAfter = seen
			return
		}
	}
	s.w.Doubt = append(s.w.Doubt, fmt.Sprintf("the connection's mark became %#x, and no rule that was seen explains it", seen))
}

func setsConnmark(t iptsave.Target) bool {
	switch t.(type) {
	case iptsave.SaveMark, *iptsave.SaveMark, iptsave.SetConnmark, *iptsave.SetConnmark, iptsave.OpaqueTarget, *iptsave.OpaqueTarget:
		return true
	}
	return false
}

// rule is a rule that matched, the end of a chain, or a policy.
func (s *telling) rule(i int) {
	r := s.p.Items[i].Rule
	st := trace.Step{
		Table: r.Table, Chain: r.Chain, Matched: true, Failed: -1,
		Mark: s.mark, MarkAfter: s.markAfter(i), Connmark: s.connmark, ConnmarkAfter: s.connmark,
	}
	if r.Legacy {
		st.Mark = r.Mark
	}
	if r.Header != nil && !r.Legacy {
		s.header = *r.Header
	}
	if s.table != r.Table {
		s.table = r.Table
		s.plain(trace.Step{Kind: trace.StepHook, Table: r.Table, Chain: hookNames[s.hook]})
	}
	switch r.Kind {
	case RuleReturn:
		if s.builtin(r) {
			return // the end of a built-in chain is its policy's, told next
		}
		st.Kind = trace.StepReturn
	case RulePolicy:
		st.Kind, st.Note = trace.StepPolicy, s.policy(r)
		if st.Note == "DROP" {
			s.end = trace.Dropped
		}
	default:
		st.Kind, st.Rule = trace.StepRule, s.find(r)
		s.effect(&st, r)
		if s.toSocket(st) {
			return
		}
	}
	s.step(st)
	s.mark, s.connmark = st.MarkAfter, st.ConnmarkAfter
}

// toSocket tells TPROXY in two steps: the rule, and the socket that takes the packet
// with the mark that it gets.
func (s *telling) toSocket(st trace.Step) bool {
	if st.Rule == nil {
		return false
	}
	t, ok := st.Rule.Target.(iptsave.TPROXY)
	if !ok {
		return false
	}
	s.w.Socket = netip.AddrPortFrom(t.IP, t.Port)
	if s.header.Protocol == protoTCP && s.header.Flags&flagSYN == 0 {
		// What is no first packet goes to the connection's own socket.
		s.w.Socket = s.header.Dst
	}
	taken := st
	taken.Kind, taken.Chain, taken.Socket = trace.StepSocket, "", s.w.Socket
	st.MarkAfter = st.Mark
	s.step(st)
	s.mark = taken.MarkAfter
	s.step(taken)
	return true
}

// markAfter is the mark behind an item: nf_tables tells it there, the legacy variant
// tells it with the next thing that it says.
func (s *telling) markAfter(i int) uint32 {
	r := s.p.Items[i].Rule
	if !r.Legacy {
		return r.Mark
	}
	if i+1 < len(s.p.Items) {
		next := &s.p.Items[i+1]
		switch {
		case next.Seen != nil:
			return next.Seen.Mark
		case next.Rule.Legacy:
			return next.Rule.Mark
		}
	}
	return r.Mark
}

func (s *telling) builtin(r *RuleEvent) bool { return slices.Contains(hookNames[:], r.Chain) }

func (s *telling) policy(r *RuleEvent) string {
	if !r.Legacy {
		return upper(r.Verdict)
	}
	if t := s.save(r); t != nil {
		if c := t.Chain(r.Chain); c != nil {
			return c.Policy
		}
	}
	return ""
}

func upper(verdict string) string {
	switch verdict {
	case "accept":
		return "ACCEPT"
	case "drop":
		return "DROP"
	}
	return verdict
}

// save is the table of the dump that a rule is in.
func (s *telling) save(r *RuleEvent) *iptsave.Table {
	save := s.ns.NFT
	if r.Legacy {
		save = s.ns.Legacy
	}
	if save == nil {
		return nil
	}
	return save.Table(r.Table)
}

// find is the rule in the dump; nil where the dump does not have it.
func (s *telling) find(r *RuleEvent) *iptsave.Rule {
	at := r.Index - 1
	if !r.Legacy {
		var ok bool
		if at, ok = s.handles[handleKey{r.Family, r.Table, r.Chain, r.Handle}]; !ok {
			at = -1
		}
	}
	if t := s.save(r); t != nil {
		if c := t.Chain(r.Chain); c != nil && at >= 0 && at < len(c.Rules) {
			return c.Rules[at]
		}
	}
	name := fmt.Sprintf("rule %d", r.Index)
	if !r.Legacy {
		name = fmt.Sprintf("the rule with handle %d", r.Handle)
	}
	s.w.Doubt = append(s.w.Doubt, fmt.Sprintf("%s of chain %s in table %s matched, and the dump does not have it", name, r.Chain, r.Table))
	return nil
}

// effect is what a rule does beside changing the mark.
func (s *telling) effect(st *trace.Step, r *RuleEvent) {
	if r.Verdict == "drop" {
		s.end = trace.Dropped
	}
	if st.Rule == nil {
		return
	}
	switch t := st.Rule.Target.(type) {
	case iptsave.SaveMark:
		st.ConnmarkAfter = s.connmark&^t.CTMask ^ st.Mark&t.NFMask
	case iptsave.SetConnmark:
		st.ConnmarkAfter = t.Apply(s.connmark)
	case iptsave.Reject:
		s.end = trace.Rejected
	case iptsave.Verdict:
		if t.Name == "DROP" {
			s.end = trace.Dropped
		}
	}
}

// finish decides how the way ends.
func (s *telling) finish() {
	s.w.Packet, s.w.Connmark = s.packet(), s.connmark
	defer s.forget()
	if s.end != trace.Unknown {
		s.w.Verdict = s.end
		return
	}
	switch s.hook {
	case trace.Postrouting:
		s.w.Verdict = trace.Sent
		if o := s.p.last(); o != nil {
			s.w.Out = s.devices[o.Out]
		}
		if s.asked != s.w.Out {
			s.w.Doubt = append(s.w.Doubt, fmt.Sprintf("asked for its route, the kernel names the device %s, and the packet leaves by %s", s.asked, s.w.Out))
		}
		s.plain(trace.Step{Kind: trace.StepOut, Out: s.w.Out, Via: s.w.Via})
	case trace.Input:
		s.w.Verdict = trace.Delivered
	case trace.Prerouting:
		s.stranded()
	default:
		s.w.Doubt = append(s.w.Doubt, "the packet was not seen behind "+hookNames[s.hook])
	}
}

// forget takes away what was decided for a packet and did not come to pass.
func (s *telling) forget() {
	if s.w.Verdict != trace.Sent {
		s.w.Via = netip.Addr{}
	}
	if s.w.Verdict != trace.Delivered {
		s.w.Socket = netip.AddrPort{}
	}
}

var hookNames = [...]string{"PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"}

// stranded is a packet that came no further than PREROUTING: routing refused it,
// or a socket took it.
func (s *telling) stranded() {
	a := s.route(s.p.In)
	switch {
	case a.Refused():
		s.w.Verdict = trace.Martian
	case a.Unasked():
		s.w.Doubt = append(s.w.Doubt, "the packet was not seen behind PREROUTING, and its route could not be asked for: "+a.Err.Error())
	case a.Err != nil:
		s.w.Verdict = trace.Unroutable
	default:
		s.w.Doubt = append(s.w.Doubt, "the packet was not seen behind PREROUTING")
	}
}
