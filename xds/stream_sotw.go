// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"maps"
	"slices"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
)

// sotwDialect is state of the world: a request names all that the proxy wants of
// a kind, a response holds all of it.
//
// A new stream is always sent everything, whatever version the proxy says it has:
// one that refused a response may have taken parts of it and still calls what it
// has by the version before. Delta, where versions belong to single resources, is
// the protocol for who reconnects to a large mesh.
type sotwDialect struct{}

func (sotwDialect) String() string { return "state of the world" }

func (sotwDialect) order() []step { return sotwOrder() }

func (sotwDialect) receive(rpc grpc.ServerStream) (*request, error) {
	r := &discoveryv3.DiscoveryRequest{}
	if err := rpc.RecvMsg(r); err != nil {
		return nil, err
	}
	return &request{
		node:      r.GetNode(),
		typeURL:   r.GetTypeUrl(),
		nonce:     r.GetResponseNonce(),
		rejection: r.GetErrorDetail(),
		names:     r.GetResourceNames(),
	}, nil
}

func (sotwDialect) subscribe(sub *subscription, r *request) {
	// An answer to an earlier response lists what the proxy wanted then; what it
	// wants now comes with the answer to the latest.
	if sub.lastNonce != "" && r.nonce != "" && r.nonce != sub.lastNonce {
		return
	}
	wanted := make(map[string]struct{}, len(r.names))
	for _, name := range r.names {
		wanted[name] = struct{}{}
	}
	_, everything := wanted[anything]
	everything = everything && sub.kind != secrets
	if everything {
		delete(wanted, anything)
	}
	begins := !sub.begun
	if len(r.names) == 0 && sub.kind.listed() && (begins || sub.wildcard) {
		everything = true
	}
	if everything && !sub.wildcard {
		sub.wildcard, sub.all, sub.plan = true, true, nil
	} else if !everything && sub.wildcard {
		sub.leaveWildcard()
	}
	for name := range sub.names {
		if _, still := wanted[name]; !still {
			sub.drop(name)
		}
	}
	for name := range wanted {
		if _, already := sub.names[name]; !already {
			sub.add(name)
		}
	}
}

func (d sotwDialect) answer(s *stream, sub *subscription, v *view) error {
	first := sub.fresh
	sub.fresh = false
	var known []*entry
	answered := false
	for _, name := range slices.Sorted(maps.Keys(sub.asked)) {
		e, ok := sub.wanted(v, name)
		if !ok {
			continue // stays asked for
		}
		answered = true
		delete(sub.asked, name)
		if e == nil {
			s.refused(sub, name)
		} else {
			known = append(known, e)
		}
	}
	if !answered && !(first && sub.wildcard) {
		return nil
	}
	if sub.kind.whole() || sub.wildcard {
		known = sub.everything(v)
	}
	return d.send(s, sub, v, known)
}

func (d sotwDialect) push(s *stream, sub *subscription, v *view, t step, p *plan) error {
	entries := slices.Concat(p.early, p.late)
	if sub.kind.whole() {
		entries = sub.everything(v)
	}
	keep := sub.kind == clusters && !t.gone // their last mention comes later
	if keep && len(p.gone) > 0 {
		entries = slices.Clone(entries)
		for _, name := range p.gone {
			entries = append(entries, sub.held[name])
		}
		entries = sortedOnce(entries)
	}
	if !keep {
		for _, name := range p.gone {
			delete(sub.held, name)
			delete(sub.rejected, name)
		}
	}
	if !sub.kind.whole() && len(entries) == 0 {
		sub.plan = nil
		return nil // endpoints that are gone: nothing says so but their cluster
	}
	return d.send(s, sub, v, entries)
}

// send sends these resources as the whole of what the proxy subscribed to.
func (sotwDialect) send(s *stream, sub *subscription, v *view, entries []*entry) error {
	r := sent{nonce: s.nonce(), version: versionOf(sub.kind, v, entries)}
	m := newMessage(r.version, sub.kind.typeURL(), r.nonce)
	for _, e := range entries {
		m.resource(e)
	}
	return s.send(sub, m, entries, r)
}

// versionOf is a message's version: the hash of what it holds, or, where a
// message holds a part only, of all there is.
func versionOf(k kind, v *view, entries []*entry) string {
	if !k.whole() {
		return v.table().version
	}
	var total sum
	for _, e := range entries {
		total.add(e.sum)
	}
	return total.version()
}
