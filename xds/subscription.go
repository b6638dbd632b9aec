// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"maps"
	"slices"
	"time"

	"github.com/ambient22/ambient22/envoyconfig"
)

// subscription is what one stream wants of one kind, and what it has. Only the
// stream's own goroutine touches it.
type subscription struct {
	kind     kind
	wildcard bool
	names    map[string]struct{}              // asked for by name
	held     map[string]*envoyconfig.Resource // what the proxy was sent last, accepted or not

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
	// asks is the hash of the names in the latest state of the world request.
	asks uint64
	// rejected are the names the proxy refused and has not accepted since.
	rejected map[string]struct{}
	counted  int // how many of them the metrics know of

	// behind is when the oldest change came up that has not been sent yet.
	behind time.Time
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
		held:     make(map[string]*envoyconfig.Resource),
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
	early []*envoyconfig.Resource // to be sent before others can point to them
	late  []*envoyconfig.Resource
	gone  []string
}

func (p *plan) empty() bool { return len(p.early)+len(p.late)+len(p.gone) == 0 }

func (p *plan) add(r *envoyconfig.Resource) {
	if r.Internal() {
		p.early = append(p.early, r)
	} else {
		p.late = append(p.late, r)
	}
}

// refresh notes which names the newest state of the server may have changed.
func (s *subscription) refresh(v *view) {
	if s.generation == v.generation() && s.secretGeneration == v.secretGeneration {
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
	if s.kind != secrets && s.generation != 0 && s.behind.IsZero() {
		s.behind = v.snap.taken
	}
	s.generation, s.secretGeneration = v.generation(), v.secretGeneration
	s.plan = nil
}

// difference is the plan, computed where it isn't yet.
func (s *subscription) difference(v *view) *plan {
	if s.plan != nil {
		return s.plan
	}
	s.plan = &plan{}
	switch {
	case !s.all:
		s.compare(v, slices.Sorted(maps.Keys(s.stale)), s.plan)
	case s.kind == secrets:
		s.compare(v, s.known(), s.plan)
	default:
		s.compareAll(v.table(), s.plan)
	}
	p := s.plan
	switch {
	case len(v.failed) > 0:
		s.plan = nil // try again next time
	case p.empty():
		s.all, s.behind = false, time.Time{}
		clear(s.stale)
	}
	return p
}

// compareAll compares everything that is subscribed to or held, of which there may
// be a million: it goes along the table instead of looking names up and sorting.
func (s *subscription) compareAll(t *table, p *plan) {
	right := 0 // held, and rightly so
	for _, r := range t.list {
		held := s.held[r.Name]
		if !s.wants(r.Name) {
			continue
		}
		if held != nil {
			right++
		}
		if held == nil || held.Version != r.Version {
			p.add(r)
		} else if held != r {
			s.hold(r) // instead of what the proxy said it has, or of an older copy
		}
	}
	if right == len(s.held) {
		return
	}
	for name := range s.held {
		if !s.wants(name) || t.lookup(name) == nil {
			p.gone = append(p.gone, name)
		}
	}
	slices.Sort(p.gone)
}

// known are the names that are subscribed to or held, sorted.
func (s *subscription) known() []string {
	names := slices.AppendSeq(make([]string, 0, len(s.names)+len(s.held)), maps.Keys(s.names))
	return sortedNames(slices.AppendSeq(names, maps.Keys(s.held)))
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
		case want != nil && (held == nil || held.Version != want.Version):
			p.add(want)
		}
	}
}

// wanted is what the proxy should have under that name, nil for nothing; false
// when the server can't tell at the moment.
func (s *subscription) wanted(v *view, name string) (*envoyconfig.Resource, bool) {
	if !s.wants(name) {
		return nil, true
	}
	return v.lookup(name)
}

// everything is all that the proxy should have, sorted by name.
func (s *subscription) everything(v *view) []*envoyconfig.Resource {
	switch {
	case s.wildcard:
		return v.table().list
	case s.kind != secrets:
		return v.table().named(s.names)
	}
	var list []*envoyconfig.Resource
	for _, name := range slices.Sorted(maps.Keys(s.names)) {
		r, ok := v.lookup(name)
		if !ok {
			r = s.held[name]
		}
		if r != nil {
			list = append(list, r)
		}
	}
	return list
}

// take answers what was asked for: the resources, and the names of which there are
// none, both sorted. What can't be told at the moment stays asked for.
func (s *subscription) take(v *view) (found []*envoyconfig.Resource, missing []string) {
	if s.kind != secrets {
		found = v.table().named(s.asked)
		for _, r := range found {
			delete(s.asked, r.Name)
		}
		missing = slices.Sorted(maps.Keys(s.asked))
		clear(s.asked)
		return found, missing
	}
	for _, name := range slices.Sorted(maps.Keys(s.asked)) {
		r, ok := v.lookup(name)
		if !ok {
			continue
		}
		delete(s.asked, name)
		if r == nil {
			missing = append(missing, name)
		} else {
			found = append(found, r)
		}
	}
	return found, missing
}

// hold notes that the proxy has been sent r. The resource's own name replaces the
// one that came with a request, which is kept by nothing else then.
func (s *subscription) hold(r *envoyconfig.Resource) {
	s.held[r.Name] = r
	if _, named := s.names[r.Name]; named {
		s.names[r.Name] = struct{}{}
	}
}

// reserve makes room for so many resources that are about to be sent.
func (s *subscription) reserve(n int) {
	if len(s.held) == 0 {
		s.held = make(map[string]*envoyconfig.Resource, n)
	}
}

// note records what was sent.
func (s *subscription) note(list []*envoyconfig.Resource, r sent) {
	r.names = make([]string, len(list))
	for i, e := range list {
		r.names[i] = e.Name
		if s.held[e.Name] != e {
			s.hold(e)
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
