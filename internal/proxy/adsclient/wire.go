// SPDX-License-Identifier: Apache-2.0

package adsclient

import (
	"context"
	"errors"
	"math"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/known/anypb"
)

// wire is one stream in one of the two protocols.
type wire interface {
	// subscribe sends what t wants and has not asked for.
	subscribe(t *typeState) error
	// answer acknowledges the last response, or refuses it with a message.
	answer(t *typeState, refusal string) error
	receive() (*response, error)
}

// response is a received response.
type response struct {
	update Update
	nonce  string
}

// open starts a stream. It waits for the server, however long that takes.
func (c *Client) open(ctx context.Context) (wire, error) {
	method := c.cfg.Service.Full
	if c.cfg.Delta {
		method = c.cfg.Service.Delta
	}
	desc := &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}
	s, err := c.cfg.Conn.NewStream(ctx, desc, method,
		grpc.WaitForReady(true), grpc.MaxCallRecvMsgSize(math.MaxInt32), grpc.MaxCallSendMsgSize(math.MaxInt32))
	if err != nil {
		return nil, err
	}
	if c.cfg.Delta {
		return &deltaWire{c: c, s: s, first: true}, nil
	}
	return &fullWire{c: c, s: s, first: true}, nil
}

// deltaWire speaks the incremental protocol.
type deltaWire struct {
	c     *Client
	s     grpc.ClientStream
	first bool
}

func (w *deltaWire) send(r *discoveryv3.DeltaDiscoveryRequest) error {
	if w.first || !w.c.cfg.NodeOnce {
		r.Node = w.c.cfg.Node
	}
	w.first = false
	return w.s.SendMsg(r)
}

func (w *deltaWire) subscribe(t *typeState) error {
	r := &discoveryv3.DeltaDiscoveryRequest{TypeUrl: t.url}
	begin := t.asked == nil
	if begin {
		// Nothing of what is not wanted any more is to be sent again.
		for name := range t.have {
			if !t.wildcard && !t.wanted[name] {
				delete(t.have, name)
			}
		}
		r.InitialResourceVersions = t.have
	}
	for _, name := range sortedNames(t.wanted) {
		if !t.asked[name] {
			r.ResourceNamesSubscribe = append(r.ResourceNamesSubscribe, name)
		}
	}
	for _, name := range sortedNames(t.asked) {
		if !t.wanted[name] {
			r.ResourceNamesUnsubscribe = append(r.ResourceNamesUnsubscribe, name)
			delete(t.have, name)
		}
	}
	t.asked = cloneSet(t.wanted)
	if begin && !t.wildcard && len(t.wanted) == 0 {
		// A first request without names would ask for everything.
		t.asked = nil
		return nil
	}
	if !begin && len(r.ResourceNamesSubscribe)+len(r.ResourceNamesUnsubscribe) == 0 {
		return nil
	}
	return w.send(r)
}

func (w *deltaWire) answer(t *typeState, refusal string) error {
	return w.send(&discoveryv3.DeltaDiscoveryRequest{TypeUrl: t.url, ResponseNonce: t.nonce, ErrorDetail: detail(refusal)})
}

func (w *deltaWire) receive() (*response, error) {
	var m discoveryv3.DeltaDiscoveryResponse
	if err := w.s.RecvMsg(&m); err != nil {
		return nil, err
	}
	r := &response{nonce: m.GetNonce(), update: Update{
		TypeURL: m.GetTypeUrl(), Version: m.GetSystemVersionInfo(), Removed: m.GetRemovedResources(),
	}}
	for _, res := range m.GetResources() {
		r.update.Resources = append(r.update.Resources, Resource{Name: res.GetName(), Version: res.GetVersion(), Body: res.GetResource()})
	}
	return r, nil
}

// fullWire speaks the state-of-the-world protocol.
type fullWire struct {
	c     *Client
	s     grpc.ClientStream
	first bool
}

func (w *fullWire) send(t *typeState, refusal string) error {
	r := &discoveryv3.DiscoveryRequest{
		TypeUrl: t.url, VersionInfo: t.version, ResponseNonce: t.nonce,
		ResourceNames: sortedNames(t.wanted), ErrorDetail: detail(refusal),
	}
	if w.first || !w.c.cfg.NodeOnce {
		r.Node = w.c.cfg.Node
	}
	w.first = false
	t.asked = cloneSet(t.wanted)
	return w.s.SendMsg(r)
}

func (w *fullWire) subscribe(t *typeState) error {
	if t.asked == nil && !t.wildcard && len(t.wanted) == 0 {
		return nil
	}
	if t.asked != nil && sameSet(t.asked, t.wanted) {
		return nil
	}
	return w.send(t, "")
}

func (w *fullWire) answer(t *typeState, refusal string) error { return w.send(t, refusal) }

func (w *fullWire) receive() (*response, error) {
	var m discoveryv3.DiscoveryResponse
	if err := w.s.RecvMsg(&m); err != nil {
		return nil, err
	}
	r := &response{nonce: m.GetNonce(), update: Update{TypeURL: m.GetTypeUrl(), Version: m.GetVersionInfo(), Full: true}}
	for _, body := range m.GetResources() {
		name, err := resourceName(body)
		if err != nil {
			// Named by nothing, it is refused where it is decoded.
			name = ""
		}
		r.update.Resources = append(r.update.Resources, Resource{Name: name, Version: m.GetVersionInfo(), Body: body})
	}
	return r, nil
}

// resourceName is the name of a resource that comes without: in each of the
// types that are asked for, field 1 is the name.
func resourceName(body *anypb.Any) (string, error) {
	for b := body.GetValue(); len(b) > 0; {
		num, typ, n := protowire.ConsumeTag(b)
		if n < 0 {
			return "", protowire.ParseError(n)
		}
		b = b[n:]
		if num == 1 && typ == protowire.BytesType {
			name, n := protowire.ConsumeString(b)
			if n < 0 {
				return "", protowire.ParseError(n)
			}
			return name, nil
		}
		n = protowire.ConsumeFieldValue(num, typ, b)
		if n < 0 {
			return "", protowire.ParseError(n)
		}
		b = b[n:]
	}
	return "", errors.New("resource has no name")
}

func detail(refusal string) *rpcstatus.Status {
	if refusal == "" {
		return nil
	}
	return &rpcstatus.Status{Code: int32(codes.InvalidArgument), Message: refusal}
}

// cloneSet is never nil: nil would say that nothing was asked yet.
func cloneSet(s map[string]bool) map[string]bool {
	out := make(map[string]bool, len(s))
	for k := range s {
		out[k] = true
	}
	return out
}

func sameSet(a, b map[string]bool) bool {
	if len(a) != len(b) {
		return false
	}
	for k := range a {
		if !b[k] {
			return false
		}
	}
	return true
}
