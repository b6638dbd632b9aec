// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"net/netip"
	"slices"
)

// run is one walk while it is made. What a rehearsal takes back is in state.
type run struct {
	state
	s      *Space
	w      *Walk
	c      *Conns
	record bool
	// blind leaves every choice open, for a rehearsal.
	blind bool
	// prefix are the ways taken at choices, in the order in which the walk came to
	// them; next is the first that is not used yet.
	prefix  []int
	settled []string // choices that made no difference
	next    int
	open    Choice
	unsure  *cond   // the last condition that could not be judged
	counted []*cond // nth counters that went on
	stack   []frame
	alive   []int
	own     *Conns // where the caller has none
}

// state is all that a rule may change.
type state struct {
	h       header
	pub     Packet // h for people, for the steps
	hook    Hook
	table   string
	hookOut string // the device that -o sees
	local   bool   // a local process sends it; its socket is at hand
	looped  bool   // came back through lo and keeps its route
	taken   *Socket
	target  netip.AddrPort
	// The connection: entry is where the table has it, ct what the walk makes of
	// it. It counts only where tracked.
	entry     *conn
	closed    *conn // ended, and begun anew by this packet
	evicted   *conn // ended, and in the way of this packet's NAT
	ct        conn
	tracked   bool
	seen      bool // connection tracking has looked at it
	untracked bool
	reply     bool
	killed    bool
	// The way out.
	out string
	via netip.Addr
	rt  *route

	done    bool
	hasOpen bool
	verdict Verdict
}

// maxDoubts keeps a walk past many odd rules readable.
const maxDoubts = 32

func (r *run) doubt(text string) {
	if len(r.w.Doubt) < maxDoubts && !slices.Contains(r.w.Doubt, text) {
		r.w.Doubt = append(r.w.Doubt, text)
	}
}

// end stops the walk.
func (r *run) end(v Verdict) { r.done, r.verdict = true, v }

// unknown stops the walk because of something that is not modelled.
func (r *run) unknown(why string) {
	r.doubt(why)
	r.end(Unknown)
}

func (r *run) setMark(mark uint32) { r.h.mark, r.pub.Mark = mark, mark }

// public brings the public packet up to date after NAT.
func (r *run) public() {
	r.pub.Src, r.pub.Dst = addrPort(r.h.src, r.h.sport), addrPort(r.h.dst, r.h.dport)
}

func (r *run) connmark() uint32 {
	if r.tracked {
		return r.ct.mark
	}
	return 0
}

// step begins a step, filled with where the packet is. Only while recording.
func (r *run) step(kind StepKind) *Step {
	w := r.w
	if len(w.Steps) < cap(w.Steps) {
		w.Steps = w.Steps[:len(w.Steps)+1]
	} else {
		w.Steps = append(w.Steps, Step{})
	}
	st := &w.Steps[len(w.Steps)-1]
	mark, connmark := r.h.mark, r.connmark()
	*st = Step{
		Kind: kind, Hook: r.hook, Table: r.table, Failed: -1, Packet: r.pub, Out: r.hookOut, State: r.trackState(),
		Mark: mark, MarkAfter: mark, Connmark: connmark, ConnmarkAfter: connmark,
	}
	return st
}

// note records a step that is a sentence.
func (r *run) note(kind StepKind, text string) {
	if r.record {
		r.step(kind).Note = text
	}
}

// decide asks which way to go where the dump does not tell. ok false ends the walk
// with an open choice.
func (r *run) decide(c Choice) (pick int, ok bool) {
	if r.blind {
		r.done, r.hasOpen = true, true
		return 0, false
	}
	if r.next < len(r.prefix) {
		r.next++
		return r.prefix[r.next-1], true
	}
	if choose := r.s.cfg.choose; choose != nil {
		if pick, ok = choose(c); ok && pick >= 0 && pick < c.N {
			r.prefix = append(r.prefix, pick)
			r.next++
			r.doubt(c.taken(pick))
			return pick, true
		}
	}
	r.done, r.hasOpen, r.open = true, true, c
	return 0, false
}
