// SPDX-License-Identifier: Apache-2.0

package live

import (
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/ambient22/ambient22/internal/trace"
)

// Passage is one packet's way through one namespace, from the hook where it comes in
// or is sent to where it leaves or is delivered.
type Passage struct {
	Space string
	// First is the packet as it began.
	First Header
	In    string // device; "" where it was sent here
	Items []Item
	// Inner is what the packet carries, where it is a tunnel's.
	Inner *Tunnelled
	// Arrived and Left are when the kernel saw the packet's frames at In and at the
	// device it left by; zero where it did not. Began is when the tracer heard.
	Began, Arrived, Left time.Time
	// Conn is what connection tracking said of the connection at that time; nil
	// where nothing.
	Conn   *ConnEvent
	connAt time.Time
}

// Item is one step of a passage: a rule, or what an observer saw.
type Item struct {
	At   time.Time
	Hook trace.Hook
	Rule *RuleEvent   // of the namespace's own tables
	Seen *Observation // nil for a rule
}

// Observation is a packet's state between two tables.
type Observation struct {
	Priority int32
	Header   Header
	Mark     uint32
	In, Out  int
	// Tracked tells that connection tracking knows the packet, and Connmark, State
	// and Reply what it knows. They are not asked for before connection tracking.
	Tracked  bool
	Connmark uint32
	State    string // NEW, ESTABLISHED, RELATED, INVALID, UNTRACKED
	Reply    bool
}

// Sent tells that the packet began in the namespace.
func (p *Passage) Sent() bool { return p.In == "" }

// last is the last thing that observers saw; nil where nothing.
func (p *Passage) last() *Observation {
	for i := len(p.Items) - 1; i >= 0; i-- {
		if o := p.Items[i].Seen; o != nil {
			return o
		}
	}
	return nil
}

// names of what the rules of chainSeen find, and their devices, of one watcher.
type vocabulary struct {
	own     string // name of the tracer's table
	bits    map[uint64]uint32
	states  map[uint64]uint32
	reply   uint64
	devices map[int]string
}

func (w *Watcher) vocabulary() vocabulary {
	return vocabulary{w.table.name, w.table.bits, w.table.states, w.table.reply, w.devices}
}

// joiner puts one namespace's events together to passages. It is pure: events in
// their order give passages.
type joiner struct {
	space    string
	words    vocabulary
	byID     map[uint32]*Passage
	byKey    map[key]*Passage
	seeing   map[uint32]*Observation // what is being told about, by packet
	hooks    map[uint32]trace.Hook   // where nf_tables' packet is
	passages []*Passage
	frames   []Event
	// caller and target are the call that is waited for; began tells that its first
	// packet was seen.
	caller []netip.Addr
	target netip.AddrPort
	began  bool
}

// Bounds of what is kept: frames at any time, and passages as long as the call has
// not begun. The oldest go first.
const (
	maxFrames = 10_000
	maxBefore = 1_000
)

func newJoiner(space string, words vocabulary) *joiner {
	return &joiner{
		space: space, words: words, byID: map[uint32]*Passage{}, byKey: map[key]*Passage{},
		seeing: map[uint32]*Observation{}, hooks: map[uint32]trace.Hook{},
	}
}

// add takes the next event.
func (j *joiner) add(e Event) {
	switch {
	case e.Conn != nil:
		j.attach(e)
	case e.Frame != nil:
		if j.frames = append(j.frames, e); len(j.frames) > maxFrames {
			j.frames = slices.Delete(j.frames, 0, maxFrames/2)
		}
	case e.Rule.Legacy:
		j.legacy(e)
	case e.Rule.Table == j.words.own:
		j.own(e)
	default:
		j.foreign(e)
	}
}

// legacy is an event of the legacy variant, which comes with the packet itself.
func (j *joiner) legacy(e Event) {
	p := j.byKey[e.Rule.Header.key()]
	if p == nil || e.Rule.Hook < 0 {
		return
	}
	if p.Inner == nil {
		p.Inner = e.Rule.Inner
	}
	p.Items = append(p.Items, Item{At: e.At, Hook: trace.Hook(e.Rule.Hook), Rule: e.Rule})
}

// own is an event of the tracer's own table.
func (j *joiner) own(e Event) {
	r := e.Rule
	switch {
	case strings.HasPrefix(r.Chain, chainPick) || r.JumpTo == chainPick:
		// A packet that is traced already, on its way back through lo, speaks a rule
		// earlier than one whose trace is turned on.
		j.begin(e)
	case r.Chain == chainSeen:
		j.see(r)
	case r.Header != nil: // an observer's first word
		j.observe(e)
	}
}

// begin starts a passage: the rule that turns the trace on is the first to speak.
func (j *joiner) begin(e Event) {
	r := e.Rule
	if r.Header == nil {
		return
	}
	j.forget()
	p := &Passage{Space: j.space, First: *r.Header, In: j.words.devices[r.In], Began: e.At}
	if p.First.Dst == j.target && slices.Contains(j.caller, p.First.Src.Addr()) {
		j.began = true
	}
	j.passages = append(j.passages, p)
	j.byID[r.ID], j.byKey[r.Header.key()] = p, p
	hook := trace.Prerouting
	if r.In == 0 {
		hook = trace.Output
	}
	j.hooks[r.ID] = hook
	delete(j.seeing, r.ID)
	p.Items = append(p.Items, Item{At: e.At, Hook: hook, Seen: &Observation{
		Priority: atStart, Header: *r.Header, Mark: r.Mark, In: r.In, Out: r.Out,
	}})
}

// forget makes room as long as the call has not begun.
func (j *joiner) forget() {
	if j.began || len(j.passages) < maxBefore {
		return
	}
	old := map[*Passage]bool{}
	for _, p := range j.passages[:maxBefore/2] {
		old[p] = true
	}
	j.passages = slices.Delete(j.passages, 0, maxBefore/2)
	gone := func(_ key, p *Passage) bool { return old[p] }
	maps.DeleteFunc(j.byKey, gone)
	for id, p := range j.byID {
		if old[p] {
			delete(j.byID, id)
			delete(j.seeing, id)
			delete(j.hooks, id)
		}
	}
}

func (j *joiner) observe(e Event) {
	r := e.Rule
	p := j.byID[r.ID]
	hook, priority, ok := observerOf(r.Chain)
	if p == nil || !ok || r.JumpTo != chainSeen {
		return
	}
	o := &Observation{Priority: priority, Header: *r.Header, Mark: r.Mark, In: r.In, Out: r.Out}
	j.seeing[r.ID], j.hooks[r.ID] = o, trace.Hook(hook)
	p.Items = append(p.Items, Item{At: e.At, Hook: trace.Hook(hook), Seen: o})
}

// see adds what one rule of chainSeen found.
func (j *joiner) see(r *RuleEvent) {
	o := j.seeing[r.ID]
	if o == nil {
		return
	}
	if state, ok := j.words.states[r.Handle]; ok {
		o.Tracked, o.State = true, stateName(state)
	}
	o.Connmark |= j.words.bits[r.Handle]
	o.Reply = o.Reply || r.Handle == j.words.reply && r.Handle != 0
}

func stateName(bit uint32) string {
	switch bit {
	case stateNew:
		return "NEW"
	case stateEstablished:
		return "ESTABLISHED"
	case stateRelated:
		return "RELATED"
	case stateUntracked:
		return "UNTRACKED"
	}
	return "INVALID"
}

// foreign is an event of nf_tables about the namespace's own rules.
func (j *joiner) foreign(e Event) {
	r := e.Rule
	p := j.byID[r.ID]
	if p == nil || r.Family != familyIPv4 && r.Family != familyINet {
		return
	}
	hook := j.hooks[r.ID]
	if r.Header != nil {
		hook = nextHook(hook, r)
		j.hooks[r.ID] = hook
	}
	p.Items = append(p.Items, Item{At: e.At, Hook: hook, Rule: r})
}

// The families whose tables see IPv4 packets.
const (
	familyINet = 1
	familyIPv4 = 2
)

// nextHook is the hook of a base chain whose packet was at a hook before: iptables
// names it; of others the devices tell as far as they can.
func nextHook(hook trace.Hook, r *RuleEvent) trace.Hook {
	switch r.Chain {
	case "PREROUTING":
		return trace.Prerouting
	case "INPUT":
		return trace.Input
	case "FORWARD":
		return trace.Forward
	case "OUTPUT":
		return trace.Output
	case "POSTROUTING":
		return trace.Postrouting
	}
	if hook == trace.Prerouting && r.Out != 0 {
		return trace.Forward
	}
	return hook
}

// attach notes a connection's event with the newest passage of its packets: the kernel
// tells it when the packet is through.
func (j *joiner) attach(e Event) {
	c := e.Conn
	if c.Kind == ConnDestroy {
		return
	}
	for i := len(j.passages) - 1; i >= 0; i-- {
		p := j.passages[i]
		if t := p.First.Tuple(); t == c.Original || t == c.Reply {
			p.Conn, p.connAt = c, e.At
			return
		}
	}
}

// finish attaches the frames, which come by a way of their own, and returns the
// passages in the order in which they began.
func (j *joiner) finish() []*Passage {
	for _, p := range j.passages {
		out := ""
		if o := p.last(); o != nil {
			out = j.words.devices[o.Out]
		}
		for _, e := range j.frames {
			f := e.Frame
			if f.Header.key() != p.First.key() {
				continue
			}
			if p.Inner == nil {
				p.Inner = f.Tunnel
			}
			switch {
			case f.Incoming && f.Device == p.In && p.Arrived.IsZero():
				p.Arrived = e.At
			case !f.Incoming && f.Device == out && p.Left.IsZero():
				p.Left = e.At
			}
		}
	}
	return j.passages
}

// final is the packet as it was last seen.
func (p *Passage) final() Header {
	if o := p.last(); o != nil {
		return o.Header
	}
	return p.First
}

// sameEnds reports whether two address pairs are equal, whatever port the client
// has chosen: 0 stands for any.
func sameEnds(a, b netip.AddrPort) bool {
	return a.Addr() == b.Addr() && (a.Port() == b.Port() || a.Port() == 0 || b.Port() == 0)
}
