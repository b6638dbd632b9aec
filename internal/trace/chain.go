// SPDX-License-Identifier: Apache-2.0

package trace

import "github.com/ambient22/ambient22/internal/dump/iptsave"

// frame is where a walk goes on after a user's chain.
type frame struct {
	chain *chain
	next  int
}

// maxDepth is far deeper than the kernel lets jumps nest; a dump put together by
// hand may have a loop.
const maxDepth = 1024

// walkChain asks the rules of a built-in chain in order, and those it jumps to.
func (r *run) walkChain(base *chain) {
	stack := r.stack[:0]
	c, i, jumps := base, 0, 0
	for !r.done {
		if i == len(c.rules) {
			r.stack = stack
			if c != base && r.record {
				r.step(StepReturn).Chain = c.name
			}
			if len(stack) == 0 {
				r.policy(base)
				return
			}
			c, i = stack[len(stack)-1].chain, stack[len(stack)-1].next
			stack = stack[:len(stack)-1]
			continue
		}
		ru := &c.rules[i]
		i++
		if !r.ask(c, ru) || r.done {
			continue
		}
		switch ru.act {
		case actJump, actGoto:
			if jumps++; ru.target.absent || len(stack) > maxDepth || jumps > 1<<16 {
				r.unknown("the chain " + ru.target.name + " is not in the dump, or jumps in a circle")
				return
			}
			if ru.act == actJump {
				stack = append(stack, frame{c, i})
			}
			c, i = ru.target, 0
		case actReturn:
			if len(stack) == 0 {
				r.policy(base)
				r.stack = stack
				return
			}
			c, i = stack[len(stack)-1].chain, stack[len(stack)-1].next
			stack = stack[:len(stack)-1]
		default:
			if r.act(ru) {
				r.stack = stack
				return
			}
		}
	}
	r.stack = stack
}

// ask tells whether a rule matches, and records that it was asked.
func (r *run) ask(c *chain, ru *rule) bool {
	before := r.h.mark
	result, failed := r.match(ru)
	if r.done {
		return false
	}
	note := ""
	if result == maybe {
		if ru.act == actNone {
			note = noteNoMatter
		} else {
			kind := ChoiceUnknown
			if _, recent := r.unsure.match.(iptsave.Recent); recent {
				kind = ChoiceRecent
			}
			pick, ok := r.decide(Choice{Kind: kind, N: 2, Rule: ru.src, Reason: r.unsure.reason()})
			if !ok {
				return false
			}
			note = noteUnknown
			result = answerOf(pick == 1)
		}
	}
	if result == yes && ru.act != actNone {
		if c := reserved(ru.conds); c != nil {
			r.doubt("a rate limit is taken as not reached: " + ru.src.String())
		}
	}
	if r.record {
		st := r.step(StepRule)
		st.Chain, st.Rule, st.Matched, st.Failed = c.name, ru.src, result == yes, failed
		st.Mark, st.Note = before, note
		r.foresee(st, ru)
	}
	return result == yes
}

// Notes of rules that could not be judged.
const (
	noteNoMatter = "a condition cannot be judged; the rule changes nothing"
	noteUnknown  = "a condition cannot be judged; the walk's doubts say how it went on"
)

// foresee fills in the marks behind a rule's target, which is carried out next.
func (r *run) foresee(st *Step, ru *rule) {
	if !st.Matched {
		return
	}
	switch ru.act {
	case actMark:
		st.MarkAfter = st.Mark&^ru.b ^ ru.a
	case actRestoreCT:
		if r.tracked {
			st.MarkAfter = st.Mark&^ru.a ^ r.ct.mark&ru.b
		}
	case actSetCT:
		if r.tracked {
			st.ConnmarkAfter = r.ct.mark&^ru.b ^ ru.a
		}
	case actSaveCT:
		if r.tracked {
			st.ConnmarkAfter = r.ct.mark&^ru.b ^ r.h.mark&ru.a
		}
	}
}

// act carries out a target that is no jump. It tells whether the walk leaves the
// table.
func (r *run) act(ru *rule) (leaves bool) {
	switch ru.act {
	case actNone:
	case actReserved:
		r.doubt("what this rule does beside is not followed: " + ru.src.String())
	case actAccept:
		return true
	case actDrop:
		r.end(Dropped)
	case actReject:
		r.reject(ru)
	case actMark:
		r.setMark(r.h.mark&^ru.b ^ ru.a)
	case actSetCT:
		if r.tracked {
			r.ct.mark = r.ct.mark&^ru.b ^ ru.a
		}
	case actSaveCT:
		if r.tracked {
			r.ct.mark = r.ct.mark&^ru.b ^ r.h.mark&ru.a
		}
	case actRestoreCT:
		if r.tracked {
			r.setMark(r.h.mark&^ru.a ^ r.ct.mark&ru.b)
		}
	case actNoTrack:
		r.untracked = r.untracked || !r.tracked
	case actTPROXY:
		return r.tproxy(ru)
	case actNAT:
		// A rule for a connection that came too late to be changed (INVALID) is
		// not reached: the nat table is not walked then.
		return r.natTo(ru)
	default:
		r.unknown("the target is not modelled: " + ru.src.String())
	}
	return r.done
}

// reject drops the packet and answers it. A reset ends the connection in the eyes of
// connection tracking, too.
func (r *run) reject(ru *rule) {
	if t := ru.src.Target.(iptsave.Reject); t.With == "tcp-reset" && r.h.flags&flagRST == 0 && r.tracked && r.entry != nil {
		r.ct.tcp = tcpClose
	}
	r.end(Rejected)
}

// policy is the end of a built-in chain.
func (r *run) policy(base *chain) {
	if r.record {
		st := r.step(StepPolicy)
		st.Chain, st.Note = base.name, "ACCEPT"
		if base.drop {
			st.Note = "DROP"
		}
	}
	if base.unknown {
		r.doubt("the policy of " + base.table + " " + base.name + " is not in the dump; ACCEPT is taken")
	}
	if base.drop {
		r.end(Dropped)
	}
}
