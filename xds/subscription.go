// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"maps"
	"slices"
	"time"
)

// subscription is what one stream wants of one kind, and what it has. Only the
// stream's own goroutine touches it.
type subscription struct {
	kind     kind
	wildcard bool
	names    map[string]struct{} // asked for by name
	held     map[string]*entry   // what the proxy was sent last, accepted or not

	begun bool // the first request has been taken in

	// asked are names to answer now, whether or not the proxy has them.
	asked map[string]struct{}
	// fresh marks the stream's first request of the kind: its answer holds
	// everything subscribed to and waits for nothing.
	fresh bool
	// resumed marks a delta proxy that brought the versions it has along.
	resumed bool

	// What must be compared with what is served: everything, or these names.
	all   bool
	stale map[string]struct{}
	plan  *plan // the result of comparing; nil when it must be done again

	// Up to which state of the server stale is complete.
	generation       uint64
	secretGeneration uint64

	unanswered []sent
	lastNonce  string
	// rejected are the names the proxy refused and has not accepted since.
	rejected map[string]struct{}
}

// sent is one response that awaits its ACK or NACK.
type sent struct {
	nonce   string
	version string
	names   []string // of the resources in it; not the resources, which may be large
	removed []string
	at      time.Time
}

// maxUnanswered bounds what is remembered for a proxy that never answers.
const maxUnanswered = 16

func newSubscription(k kind) *subscription {
	return &subscription{
		kind:     k,
		names:    make(map[string]struct{}),
		held:     make(map[string]*entry),
		asked:    make(map[string]struct{}),
		fresh:    true,
		all:      true,
		stale:    make(map[string]struct{}),
		rejected: make(map[string]struct{}),
	}
}

// wants reports whether the proxy subscribed to that name.
func (s *subscription) wants(name string) bool {
	if s.wildcard {
		return true
	}
	_, ok := s.names[name]
	return ok
}

// add subscribes to a name; asking again for one that is subscribed to means
// that the proxy wants it sent again.
func (s *subscription) add(name string) {
	s.names[name] = struct{}{}
	s.asked[name] = struct{}{}
}

// drop ends the subscription to a name. What the proxy does with it is its own
// matter, so it no longer counts as held.
func (s *subscription) drop(name string) {
	delete(s.names, name)
	delete(s.asked, name)
	delete(s.held, name)
	delete(s.rejected, name)
	if s.wildcard {
		s.mark(name)
	}
}

// mark has a name compared with what is served.
func (s *subscription) mark(name string) {
	s.stale[name] = struct{}{}
	s.plan = nil
}

// plan is what separates the proxy from what is served, sorted by name.
type plan struct {
	early []*entry // to be sent before others can point to them
	late  []*entry
	gone  []string
}

func (p *plan) empty() bool { return len(p.early)+len(p.late)+len(p.gone) == 0 }

func (p *plan) add(e *entry) {
	if e.early {
		p.early = append(p.early, e)
	} else {
		p.late = append(p.late, e)
	}
}

// refresh notes which names the newest state of the server may have changed.
func (s *subscription) refresh(v *view) {
	if s.generation == v.snap.generation && s.secretGeneration == v.secretGeneration {
		return
	}
	names, known := v.changedSince(s.generation)
	if !known {
		s.all = true
	}
	for _, name := range names {
		if _, held := s.held[name]; held || s.wants(name) {
			s.stale[name] = struct{}{}
		}
	}
	s.generation, s.secretGeneration = v.snap.generation, v.secretGeneration
	s.plan = nil
}

// difference is the plan, computed where it isn't yet.
func (s *subscription) difference(v *view) *plan {
	if s.plan != nil {
		return s.plan
	}
	s.plan = &plan{}
	if s.all {
		s.compareAll(v, s.plan)
	} else {
		s.compare(v, slices.Sorted(maps.Keys(s.stale)), s.plan)
	}
	p := s.plan
	switch {
	case len(v.failed) > 0:
		s.plan = nil // try again next time
	case p.empty():
		s.all = false
		clear(s.stale)
	}
	return p
}

// compareAll compares everything that is subscribed to or held.
func (s *subscription) compareAll(v *view, p *plan) {
	if !s.wildcard {
		names := make(map[string]struct{}, len(s.names))
		maps.Copy(names, s.names)
		for name := range s.held {
			names[name] = struct{}{}
		}
		s.compare(v, slices.Sorted(maps.Keys(names)), p)
		return
	}
	// A wildcard's table may be long: walk it instead of looking names up.
	served := v.table().entries
	known := 0
	for _, e := range served {
		held := s.held[e.name]
		if held != nil {
			known++
		}
		if held == nil || held.version != e.version {
			p.add(e)
		}
	}
	if known == len(s.held) {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(s.held)) {
		if v.table().lookup(name) == nil {
			p.gone = append(p.gone, name)
		}
	}
}

// compare compares these names.
func (s *subscription) compare(v *view, names []string, p *plan) {
	for _, name := range names {
		held := s.held[name]
		want, ok := s.wanted(v, name)
		switch {
		case !ok: // not to be had right now: what the proxy has stays
		case want == nil && held != nil:
			p.gone = append(p.gone, name)
		case want != nil && (held == nil || held.version != want.version):
			p.add(want)
		}
	}
}

// wanted is what the proxy should have under that name, nil for nothing; false
// when the server can't tell at the moment.
func (s *subscription) wanted(v *view, name string) (*entry, bool) {
	if !s.wants(name) {
		return nil, true
	}
	return v.lookup(name)
}

// everything is all that the proxy should have, sorted by name.
func (s *subscription) everything(v *view) []*entry {
	if s.wildcard {
		return v.table().entries
	}
	var list []*entry
	for _, name := range slices.Sorted(maps.Keys(s.names)) {
		e, ok := v.lookup(name)
		if !ok {
			e = s.held[name]
		}
		if e != nil {
			list = append(list, e)
		}
	}
	return list
}

// note records what was sent.
func (s *subscription) note(entries []*entry, r sent) {
	r.names = make([]string, len(entries))
	for i, e := range entries {
		r.names[i] = e.name
		if s.held[e.name] != e {
			s.held[e.name] = e
		}
	}
	s.lastNonce = r.nonce
	s.unanswered = append(s.unanswered, r)
	if len(s.unanswered) > maxUnanswered {
		s.unanswered = slices.Delete(s.unanswered, 0, 1)
	}
	s.plan = nil
}

// answered takes the response with that nonce off the list, with those before it.
func (s *subscription) answered(nonce string) (sent, bool) {
	for i, r := range s.unanswered {
		if r.nonce == nonce {
			s.unanswered = slices.Delete(s.unanswered, 0, i+1)
			return r, true
		}
	}
	return sent{}, false
}
