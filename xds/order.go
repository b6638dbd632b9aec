// SPDX-License-Identifier: Apache-2.0

package xds

import "time"

// step is one message in the order in which a change is sent: which part of a
// kind's plan it covers.
type step struct {
	kind  kind
	early bool // internal listeners
	late  bool // everything else that is new or changed
	gone  bool // what fell away
}

// covers reports whether the plan holds anything for the step.
func (t step) covers(p *plan) bool {
	return t.early && len(p.early) > 0 || t.late && len(p.late) > 0 || t.gone && len(p.gone) > 0
}

// The orders are make-before-break: nothing is named before it exists, nothing
// removed while it is named. Chains name clusters, clusters need their endpoints,
// endpoints name internal listeners, and those name clusters.

// deltaOrder is the order where each resource can be sent by itself.
func deltaOrder() []step {
	return []step{
		{kind: clusters, late: true},
		{kind: listeners, early: true},
		{kind: endpoints, late: true},
		{kind: listeners, late: true, gone: true},
		{kind: endpoints, gone: true},
		{kind: clusters, gone: true},
	}
}

// sotwOrder is the order where a kind's message holds all of it. The first
// message of clusters therefore keeps what falls away, the last leaves it out.
func sotwOrder() []step {
	return []step{
		{kind: clusters, late: true},
		{kind: endpoints, late: true, gone: true},
		{kind: listeners, early: true, late: true, gone: true},
		{kind: clusters, gone: true},
	}
}

// looseOrders are those of the kinds that nothing waits for: a filter whose
// configuration is gone keeps the last one, and so does a TLS context.
func looseOrders() [][]step {
	return [][]step{
		{{kind: extensions, early: true, late: true, gone: true}},
		{{kind: secrets, early: true, late: true, gone: true}},
	}
}

// pipelined is how many responses of endpoints may be unanswered before the next
// one waits. Endpoints depend on clusters and internal listeners, not on one
// another, and a proxy reads a stream in order. In state of the world their ACKs
// repeat every name, and may take longer than the change itself. The bound is for
// the proxy that is slow: it misses the states in between.
const pipelined = 4

// holdUp are the unanswered responses of a kind that hold the step back.
func (t step) holdUp(sub *subscription) []sent {
	switch {
	case t.kind >= extensions && sub.kind != t.kind:
		return nil
	case t.kind < extensions && sub.kind >= extensions:
		return nil
	case t.kind == endpoints && t.late && sub.kind == endpoints && len(sub.unanswered) < pipelined:
		return nil
	}
	return sub.unanswered
}

// ready reports whether the proxy has answered what must come before the step. If
// not, until is when the step goes ahead all the same: a proxy that never
// answers still gets the latest.
func (s *stream) ready(t step, now time.Time) (until time.Time, ok bool) {
	for _, sub := range s.subs {
		if sub == nil {
			continue
		}
		for _, r := range t.holdUp(sub) {
			if end := r.at.Add(s.server.ackWait); end.After(now) && end.After(until) {
				until = end
			}
		}
	}
	return until, until.IsZero()
}

// heldBack reports whether a step would remove what the proxy may still use: it
// refused a listener or a cluster that is served, and runs on its older one.
func (s *stream) heldBack(t step, views *[kinds]*view) bool {
	if !t.gone || t.early || t.late || t.kind >= extensions {
		return false
	}
	for _, k := range []kind{clusters, listeners} {
		if s.subs[k] == nil {
			continue
		}
		for name := range s.subs[k].rejected {
			if e, _ := views[k].lookup(name); e != nil {
				return true
			}
		}
	}
	return false
}
