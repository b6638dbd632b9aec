// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"encoding/binary"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"google.golang.org/grpc"

	"github.com/ambient22/ambient22/envoyconfig"
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
	// Every answer repeats the names, of which there may be a million.
	asks := sub.hashNames(r.names)
	if asks == sub.asks && sub.begun {
		return
	}
	sub.asks = asks
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

// hashNames tells one list of names from another.
func (s *subscription) hashNames(names []string) uint64 {
	s.hash.Reset()
	var length [binary.MaxVarintLen64]byte
	for _, name := range names {
		s.hash.Write(binary.AppendUvarint(length[:0], uint64(len(name))))
		s.hash.WriteString(name)
	}
	return s.hash.Sum64()
}

func (d sotwDialect) answer(s *stream, sub *subscription, v *view) error {
	first := sub.fresh
	sub.fresh = false
	list, missing := sub.take(v)
	for _, name := range missing {
		s.refused(sub, name)
	}
	if len(list)+len(missing) == 0 && !(first && sub.wildcard) {
		return nil
	}
	if sub.kind.whole() || sub.wildcard {
		list = sub.everything(v)
	}
	return d.send(s, sub, v, list)
}

func (d sotwDialect) push(s *stream, sub *subscription, v *view, t step, p *plan) error {
	list := merge(p.early, p.late)
	if sub.kind.whole() {
		list = sub.everything(v)
	}
	if sub.kind == clusters && !t.gone { // their last mention comes later
		gone := make([]*envoyconfig.Resource, len(p.gone))
		for i, name := range p.gone {
			gone[i] = sub.held[name]
		}
		list = merge(list, gone)
	} else {
		for _, name := range p.gone {
			delete(sub.held, name)
			delete(sub.rejected, name)
		}
	}
	if !sub.kind.whole() && len(list) == 0 {
		sub.plan = nil
		return nil // endpoints that are gone: nothing says so but their cluster
	}
	return d.send(s, sub, v, list)
}

// send sends these resources as the whole of what the proxy subscribed to.
func (sotwDialect) send(s *stream, sub *subscription, v *view, list []*envoyconfig.Resource) error {
	r := sent{nonce: s.nonce(), version: versionOf(sub.kind, v, list)}
	m := newMessage(r.version, sub.kind.typeURL(), r.nonce)
	for _, e := range list {
		m.resource(e)
	}
	return s.send(sub, m, list, r)
}

// versionOf is a message's version: the hash of what it holds, or, where a
// message holds a part only, of all there is.
func versionOf(k kind, v *view, list []*envoyconfig.Resource) string {
	if t := v.table(); !k.whole() || k != secrets && sameList(t.list, list) {
		return t.version
	}
	var total sum
	for _, r := range list {
		total.add(share(r))
	}
	return total.version()
}
