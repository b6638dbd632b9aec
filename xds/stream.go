// SPDX-License-Identifier: Apache-2.0

package xds

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strconv"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/ambient22/ambient22/envoyconfig"
)

// request is what a proxy says in either protocol.
type request struct {
	node      *corev3.Node
	typeURL   string
	nonce     string
	rejection *statuspb.Status

	names nameList // state of the world: everything it wants

	subscribe, unsubscribe []string          // delta
	initial                map[string]string // delta: names and versions it has
}

// dialect is what differs between state of the world and delta.
type dialect interface {
	String() string
	// receive reads the next request.
	receive(grpc.ServerStream) (*request, error)
	// subscribe applies a request to its kind's subscription.
	subscribe(*subscription, *request)
	// order is the order of a change.
	order() []step
	// answer sends what the subscription's latest requests ask for.
	answer(*stream, *subscription, *view) error
	// push sends one step of a change.
	push(*stream, *subscription, *view, step, *plan) error
}

// stream is one proxy's stream. All of it runs in the handler's goroutine, but
// for the reading of requests; a proxy that doesn't read blocks nobody else.
type stream struct {
	server  *Server
	dialect dialect
	rpc     grpc.ServerStream
	service string // "ADS" or "SDS"
	log     *slog.Logger
	node    string
	subs    [kinds]*subscription
	nonces  uint64
	unknown map[string]bool // type URLs that were asked for and aren't served
	record  record

	complained time.Time // when a missing secret was last logged
}

// pendingRequests is how many requests may wait while a response is being sent.
// Beyond, HTTP/2 holds the proxy back.
const pendingRequests = 16

// run serves the stream until the proxy leaves or the server stops.
func (s *stream) run(stop <-chan struct{}) error {
	ctx := s.rpc.Context()
	requests := make(chan *request, pendingRequests)
	ended := make(chan error, 1)
	go s.read(ctx, requests, ended)
	for {
		changed := s.server.changes()
		wake, err := s.advance()
		if err != nil {
			return err
		}
		var timer <-chan time.Time
		if !wake.IsZero() {
			timer = time.After(time.Until(wake))
		}
		select {
		case req := <-requests:
			if err := s.handle(req); err != nil {
				return err
			}
		case <-changed:
		case <-timer:
		case err := <-ended:
			if err == nil {
				err = s.finish(requests)
			}
			return err
		case <-stop:
			return status.Error(codes.Unavailable, "the controller is stopping")
		}
	}
}

// finish answers what a proxy asked for before it closed its side: one that only
// wants to look may ask, close, and read.
func (s *stream) finish(requests <-chan *request) error {
	for len(requests) > 0 {
		if err := s.handle(<-requests); err != nil {
			return err
		}
	}
	_, err := s.advance()
	return err
}

// read passes requests on until the stream ends.
func (s *stream) read(ctx context.Context, requests chan<- *request, ended chan<- error) {
	for {
		req, err := s.dialect.receive(s.rpc)
		if errors.Is(err, io.EOF) {
			err = nil // the proxy closed its side
		} else if err == nil {
			select {
			case requests <- req:
				continue
			case <-ctx.Done():
				err = ctx.Err()
			}
		}
		ended <- err
		return
	}
}

// handle takes one request in.
func (s *stream) handle(req *request) error {
	if req.node != nil && s.node == "" {
		s.node = req.node.GetId()
		s.log = s.log.With("node", s.node)
		s.record.named(s.node)
		s.log.Log(s.rpc.Context(), s.lifeLevel(), "proxy connected")
	}
	if req.typeURL == "" && s.service == sdsService {
		req.typeURL = secrets.typeURL()
	}
	if req.typeURL == "" {
		return status.Error(codes.InvalidArgument, "a request must name its resource type")
	}
	k, ok := kindOf(req.typeURL)
	if s.service == sdsService && k != secrets {
		return status.Error(codes.InvalidArgument, fmt.Sprintf("the secret service does not serve %s", req.typeURL))
	}
	if !ok {
		s.ignore(req.typeURL)
		return nil
	}
	sub := s.subs[k]
	if sub == nil {
		sub = newSubscription(k)
		s.subs[k] = sub
	}
	s.acknowledge(sub, req)
	s.dialect.subscribe(sub, req)
	sub.begun = true
	return nil
}

// lifeLevel is the level at which a stream's begin and end are logged: a proxy has
// one ADS stream, and an SDS stream for each of its certificates.
func (s *stream) lifeLevel() slog.Level {
	if s.service == sdsService {
		return slog.LevelDebug
	}
	return slog.LevelInfo
}

// ignore says once that a type isn't served here. The proxy goes on without it.
func (s *stream) ignore(typeURL string) {
	if s.unknown[typeURL] || len(s.unknown) > 100 {
		return
	}
	if s.unknown == nil {
		s.unknown = make(map[string]bool)
	}
	s.unknown[typeURL] = true
	s.log.Warn("proxy asks for a type that is not served", "type", typeURL)
}

// acknowledge takes the ACK or NACK that a request carries.
func (s *stream) acknowledge(sub *subscription, req *request) {
	if req.nonce == "" && req.rejection == nil {
		return
	}
	r, found := sub.answered(req.nonce)
	if found {
		s.server.metrics.answered(sub.kind, time.Since(r.at))
	}
	if req.rejection != nil {
		s.rejected(sub, r, req.rejection)
		return
	}
	if !found {
		return // a later request with a nonce that has been answered
	}
	if len(sub.rejected) > 0 {
		for _, name := range slices.Concat(r.names, r.removed) {
			delete(sub.rejected, name)
		}
	}
	s.record.accepted(sub, r)
}

// rejected logs, counts and keeps a NACK. What it names stays noted as sent, so
// it goes out again only when it changes.
func (s *stream) rejected(sub *subscription, r sent, reason *statuspb.Status) {
	names := culprits(reason.GetMessage(), r.names)
	blamed := names
	if len(blamed) == 0 {
		blamed = r.names // any of them
	}
	for _, name := range blamed {
		sub.rejected[name] = struct{}{}
	}
	s.server.metrics.nacks.WithLabelValues(sub.kind.String()).Inc()
	s.record.rejected(sub, r, names, reason)
	s.log.Error("proxy rejected configuration", "type", sub.kind.String(), "version", r.version,
		"resources", names, "message", reason.GetMessage())
}

// advance sends whatever may be sent now; wake is when to try again if nothing
// happens before, zero for never.
func (s *stream) advance() (wake time.Time, err error) {
	for {
		more, snap := false, s.server.snapshot()
		if snap != nil {
			if more, wake, err = s.step(snap); err != nil {
				return wake, err
			}
		}
		if !more {
			s.server.metrics.rejects(&s.subs)
			s.record.subscribed(&s.subs)
			if wake.IsZero() {
				s.record.tookAll(snap, &s.subs)
			}
			return wake, nil
		}
	}
}

// step sends at most one response, and reports whether it did.
func (s *stream) step(snap *snapshot) (more bool, wake time.Time, err error) {
	var views [kinds]*view
	for k, sub := range s.subs {
		if sub != nil {
			views[k] = newView(kind(k), snap, s.server.secrets)
			sub.refresh(views[k])
		}
	}
	before := s.nonces
	for k, sub := range s.subs {
		if sub == nil || !sub.fresh && len(sub.asked) == 0 {
			continue
		}
		if err := s.dialect.answer(s, sub, views[k]); err != nil || s.nonces != before {
			return true, wake, err
		}
	}
	wake, err = s.change(&views)
	for k := range views {
		if views[k] != nil && views[k].broken() {
			s.unavailable(views[k])
			wake = earlier(wake, time.Now().Add(s.server.secretRetry))
		}
	}
	return s.nonces != before, wake, err
}

// change sends the next step of a change, in order.
func (s *stream) change(views *[kinds]*view) (wake time.Time, err error) {
	orders := append([][]step{s.dialect.order()}, looseOrders()...)
	now, before := time.Now(), s.nonces
	for _, order := range orders {
		for _, t := range order {
			sub := s.subs[t.kind]
			if sub == nil {
				continue
			}
			p := sub.difference(views[t.kind])
			if !t.covers(p) || s.heldBack(t, views) {
				continue
			}
			if until, ok := s.ready(t, now); !ok {
				wake = earlier(wake, until)
				break // later steps of this order must not overtake
			}
			if err := s.dialect.push(s, sub, views[t.kind], t, p); err != nil {
				return wake, err
			}
			if s.nonces != before {
				s.server.metrics.followed(sub)
				return wake, nil
			}
		}
	}
	return wake, nil
}

// nonce is the next response's.
func (s *stream) nonce() string {
	s.nonces++
	return strconv.FormatUint(s.nonces, 10)
}

// send hands a finished message to gRPC, which blocks while the proxy doesn't read.
func (s *stream) send(sub *subscription, m *message, list []*envoyconfig.Resource, r sent) error {
	if err := s.rpc.SendMsg(m); err != nil {
		return err
	}
	r.at = time.Now()
	sub.note(list, r)
	s.server.metrics.pushed(sub.kind, len(list)+len(r.removed), m.size)
	s.record.pushed(sub, r)
	s.log.Debug("sent configuration", "type", sub.kind.String(), "version", r.version,
		"resources", len(list), "removed", len(r.removed), "bytes", m.size)
	return nil
}

// refused notes that a proxy asked for a secret it may not have.
func (s *stream) refused(sub *subscription, name string) {
	if sub.kind != secrets {
		return // it doesn't exist, and that may change
	}
	s.server.metrics.refusedSecrets.Inc()
	s.record.refused(name)
	s.log.Warn("refused a secret: no workload of this node has it", "secret", name)
}

// unavailable logs, once per retry, secrets that the proxy may have and that
// could not be had.
func (s *stream) unavailable(v *view) {
	if time.Since(s.complained) < s.server.secretRetry {
		return
	}
	s.complained = time.Now()
	for name, err := range v.failed {
		if onItsWay(err) {
			continue
		}
		s.log.Error("a secret is not available; the proxy keeps what it has", "secret", name, "error", err)
	}
}

// earlier is the earlier of two times, of which zero is never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
