// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"maps"
	"slices"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"

	"github.com/ambient22/ambient22/envoyconfig"
)

// deltaDialect is the incremental protocol: resources one by one, each with its
// version, and the names of those that are gone.
type deltaDialect struct{}

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
			sub.held[name] = &envoyconfig.Resource{Name: name, Version: version} // no more is known
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
	// nothing of what it has uses it any more. What is asked for goes out even if
	// the proxy has it, and even its absence.
	found, missing := sub.take(v)
	for _, name := range missing {
		s.refused(sub, name)
	}
	list := merge(merge(p.early, p.late), found)
	first := sub.fresh && sub.wildcard && !sub.resumed
	sub.fresh = false
	if len(list)+len(missing) == 0 && !first {
		return nil
	}
	sub.reserve(len(list))
	return d.send(s, sub, v, list, missing)
}

func (d deltaDialect) push(s *stream, sub *subscription, v *view, t step, p *plan) error {
	var list []*envoyconfig.Resource
	var removed []string
	if t.early {
		list = p.early
	}
	if t.late {
		list = merge(list, p.late)
	}
	if t.gone {
		removed = p.gone
	}
	return d.send(s, sub, v, list, removed)
}

// send sends resources and removals, in as many messages as their size takes.
func (deltaDialect) send(s *stream, sub *subscription, v *view, list []*envoyconfig.Resource, removed []string) error {
	limit := s.server.deltaBytes
	if sub.kind == listeners {
		limit = listenerMessageBytes
	}
	for first := true; first || len(list)+len(removed) > 0; first = false {
		r := sent{nonce: s.nonce(), version: v.table().version}
		m := newMessage(r.version, sub.kind.typeURL(), r.nonce)
		n := 0
		for n < len(list) && m.fits(list[n], limit) {
			m.deltaResource(list[n])
			n++
		}
		now := list[:n]
		list = list[n:]
		if len(list) == 0 {
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
	maps.DeleteFunc(s.held, func(name string, _ *envoyconfig.Resource) bool {
		_, named := s.names[name]
		return !named
	})
}

func sortedNames(names []string) []string {
	slices.Sort(names)
	return slices.Compact(names)
}
