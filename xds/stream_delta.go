// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"maps"
	"slices"
	"strings"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"
)

// deltaDialect is the incremental protocol: resources one by one, each with its
// version, and the names of those that are gone.
type deltaDialect struct{}

// deltaMessageBytes is the size from which a response is cut in two, so that a
// first answer of many resources is not one message of gigabytes. A single
// resource may be larger.
const deltaMessageBytes = 64 << 20

// anything is the name that stands for all resources of a kind.
const anything = "*"

func (deltaDialect) String() string { return "delta" }

func (deltaDialect) order() []step { return deltaOrder() }

func (deltaDialect) receive(rpc grpc.ServerStream) (*request, error) {
	r := &discoveryv3.DeltaDiscoveryRequest{}
	if err := rpc.RecvMsg(r); err != nil {
		return nil, err
	}
	return &request{
		node:        r.GetNode(),
		typeURL:     r.GetTypeUrl(),
		nonce:       r.GetResponseNonce(),
		rejection:   r.GetErrorDetail(),
		subscribe:   r.GetResourceNamesSubscribe(),
		unsubscribe: r.GetResourceNamesUnsubscribe(),
		initial:     r.GetInitialResourceVersions(),
	}, nil
}

func (deltaDialect) subscribe(sub *subscription, r *request) {
	if !sub.begun {
		if len(r.subscribe) == 0 && sub.kind.listed() {
			sub.wildcard = true
		}
		for name, version := range r.initial {
			sub.resumed = true
			sub.held[name] = &entry{name: name, version: version}
		}
	}
	for _, name := range r.subscribe {
		if name == anything && sub.kind != secrets {
			sub.wildcard, sub.all, sub.plan = true, true, nil
			continue
		}
		sub.names[name] = struct{}{}
		// What the proxy brought along from an earlier stream is compared and
		// not sent again; whatever else it asks for, it gets.
		if _, brought := r.initial[name]; brought {
			sub.mark(name)
		} else {
			sub.asked[name] = struct{}{}
		}
	}
	for _, name := range r.unsubscribe {
		if name == anything && sub.wildcard {
			sub.leaveWildcard()
		} else {
			sub.drop(name)
		}
	}
}

func (d deltaDialect) answer(s *stream, sub *subscription, v *view) error {
	p := &plan{}
	if sub.fresh {
		p = sub.difference(v)
	}
	// What a proxy that reconnects has and shouldn't is removed in its turn, when
	// nothing of what it has uses it any more.
	entries := slices.Concat(p.early, p.late)
	var removed []string
	// What is asked for goes out even if the proxy has it, and even its absence.
	for _, name := range slices.Sorted(maps.Keys(sub.asked)) {
		e, ok := sub.wanted(v, name)
		if !ok {
			continue // stays asked for
		}
		delete(sub.asked, name)
		if e == nil {
			s.refused(sub, name)
			removed = append(removed, name)
		} else {
			entries = append(entries, e)
		}
	}
	first := sub.fresh && sub.wildcard && !sub.resumed
	sub.fresh = false
	if len(entries)+len(removed) == 0 && !first {
		return nil
	}
	return d.send(s, sub, v, sortedOnce(entries), sortedNames(removed))
}

func (d deltaDialect) push(s *stream, sub *subscription, v *view, t step, p *plan) error {
	var entries []*entry
	var removed []string
	if t.early {
		entries = append(entries, p.early...)
	}
	if t.late {
		entries = append(entries, p.late...)
	}
	if t.gone {
		removed = p.gone
	}
	return d.send(s, sub, v, entries, removed)
}

// send sends entries and removals, in as many messages as their size takes.
func (deltaDialect) send(s *stream, sub *subscription, v *view, entries []*entry, removed []string) error {
	for first := true; first || len(entries)+len(removed) > 0; first = false {
		r := sent{nonce: s.nonce(), version: v.table().version}
		m := newMessage(r.version, sub.kind.typeURL(), r.nonce)
		n := 0
		for n < len(entries) && (n == 0 || m.bytes()+entries[n].wire.Len() < s.server.deltaBytes) {
			m.deltaResource(entries[n])
			n++
		}
		now := entries[:n]
		entries = entries[n:]
		if len(entries) == 0 {
			for _, name := range removed {
				m.removed(name)
				delete(sub.held, name)
			}
			r.removed, removed = removed, nil
		}
		if err := s.send(sub, m, now, r); err != nil {
			return err
		}
	}
	return nil
}

// leaveWildcard ends the subscription to everything; names stay.
func (s *subscription) leaveWildcard() {
	s.wildcard, s.plan = false, nil
	maps.DeleteFunc(s.held, func(name string, _ *entry) bool {
		_, named := s.names[name]
		return !named
	})
}

// sortedOnce sorts entries by name and leaves out repetitions.
func sortedOnce(entries []*entry) []*entry {
	slices.SortFunc(entries, func(a, b *entry) int { return strings.Compare(a.name, b.name) })
	return slices.CompactFunc(entries, func(a, b *entry) bool { return a.name == b.name })
}

func sortedNames(names []string) []string {
	slices.Sort(names)
	return slices.Compact(names)
}
