// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"maps"
	"slices"
)

// Settled reports whether a proxy has accepted all that is served now, and whether one
// has the secret of that name. Both take a moment after Set: what is only offered
// carries no connection yet.
func (s *Server) Settled(secret string) bool {
	s.mu.Lock()
	open, current := slices.Collect(maps.Keys(s.streams)), s.current
	s.mu.Unlock()
	accepted, held := false, false
	for _, stream := range open {
		took, has := stream.record.took(secret)
		accepted = accepted || took != nil && took == current
		held = held || has
	}
	return accepted && held
}

// took is what the proxy has accepted as a whole, and whether it has a secret.
func (r *record) took(secret string) (*snapshot, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, has := r.secrets[secret]
	return r.whole, has
}

// tookAll notes that nothing of a snapshot is left to send. What was sent counts when
// it was answered, and only with the listeners: they come last.
func (r *record) tookAll(snap *snapshot, subs *[kinds]*subscription) {
	if subs[listeners] == nil {
		return
	}
	for k, sub := range subs {
		if sub != nil && kind(k) != secrets && len(sub.unanswered) > 0 {
			return
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.whole = snap
}

// holds notes which secrets the proxy accepted; the caller holds mu.
func (r *record) holds(s sent) {
	if r.secrets == nil {
		r.secrets = make(map[string]struct{})
	}
	for _, name := range s.names {
		r.secrets[name] = struct{}{}
	}
	for _, name := range s.removed {
		delete(r.secrets, name)
	}
}
