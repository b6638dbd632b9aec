// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"hash/maphash"

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
type sotwDialect struct {
	seed maphash.Seed // of the hashes that tell one list of names from another
}

func newSotwDialect() sotwDialect { return sotwDialect{seed: maphash.MakeSeed()} }

func (sotwDialect) String() string { return "state of the world" }

func (sotwDialect) order() []step { return sotwOrder() }

func (d sotwDialect) receive(rpc grpc.ServerStream) (*request, error) {
	r := &sotwRequest{seed: d.seed}
	if err := rpc.RecvMsg(r); err != nil {
		return nil, err
	}
	return &request{
		node:      r.rest.GetNode(),
		typeURL:   r.rest.GetTypeUrl(),
		nonce:     r.rest.GetResponseNonce(),
		rejection: r.rest.GetErrorDetail(),
		names:     r.names,
	}, nil
}

func (sotwDialect) subscribe(sub *subscription, r *request) {
	// An answer to an earlier response lists what the proxy wanted then; what it
	// wants now comes with the answer to the latest.
	if sub.lastNonce != "" && r.nonce != "" && r.nonce != sub.lastNonce {
		return
	}
	if sub.begun && r.names.hash == sub.asks {
		return
	}
	sub.asks = r.names.hash
	wanted := r.names.set()
	none := len(wanted) == 0
	_, everything := wanted[anything]
	everything = everything && sub.kind != secrets
	if everything {
		delete(wanted, anything)
	}
	begins := !sub.begun
	if none && sub.kind.listed() && (begins || sub.wildcard) {
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
	sub.reserve(len(list))
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

// send sends these resources. Where a response must be the whole of what the proxy
// subscribed to, it is one message; endpoints are sent in as many as they take.
func (sotwDialect) send(s *stream, sub *subscription, v *view, list []*envoyconfig.Resource) error {
	version := versionOf(sub.kind, v, list)
	for first := true; first || len(list) > 0; first = false {
		r := sent{nonce: s.nonce(), version: version}
		m := newMessage(version, sub.kind.typeURL(), r.nonce)
		n := 0
		for n < len(list) && (sub.kind.whole() || m.fits(list[n], s.server.sotwBytes)) {
			m.resource(list[n])
			n++
		}
		if err := s.send(sub, m, list[:n], r); err != nil {
			return err
		}
		list = list[n:]
	}
	return nil
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
