// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"fmt"
	"net/netip"
)

// plaintextPort is where ztunnel B takes connections that are in no tunnel; the
// access log knows them by the address they were made to.
const plaintextPort = 15006

// Who is called, and who calls, besides the article's two.
const (
	strangerHost = "notsleep"  // in the mesh, with an identity of its own
	outsideHost  = "outside-a" // not in the mesh
	otherHost    = "details"   // no policy of its own
)

// The places of the access log.
const (
	placeTunnel    = "capture inbound listener"
	placeRequest   = "inbound hcm"
	placePlaintext = "capture inbound listener plaintext"
)

// What counts a refusal: on a connection, and on a request in a tunnel.
const (
	countConnection = "tcp.rbac.denied"
	countRequest    = "http.inbound_hcm.rbac.denied"
)

// Policies tries what productpage's policy forbids, through a tunnel and without
// one, and that sleep is answered still. In the hardened profile it goes on with
// what that profile closes.
func (l *Lab) Policies(ctx context.Context) ([]Finding, error) {
	s, err := l.scene()
	if err != nil {
		return nil, err
	}
	port := s.server.Serve
	through := refusal{
		title: "A caller of the mesh that the policy forbids is refused on 15008",
		text: fmt.Sprintf("%s is captured and has a certificate of its own, but productpage-viewer lets in sleep only. Its call ends in ztunnel B, "+
			"and productpage never hears of it.", strangerHost),
		from: strangerHost, to: netip.AddrPortFrom(s.server.Address, port), server: s.server.Host,
		local: netip.AddrPortFrom(s.server.Address, hbonePort), place: placeTunnel, policy: "none", counter: countConnection,
	}
	if l.hardened() {
		// The profile judges what a tunnel's CONNECT asks for, not the tunnel.
		through.place, through.counter = placeRequest, countRequest
	}
	plain := refusal{
		title: fmt.Sprintf("A caller without a tunnel is refused on %d", plaintextPort),
		text: fmt.Sprintf("%s is not in the mesh: its connection arrives as it is, without a certificate, and so without the identity that the policy "+
			"asks for.", outsideHost),
		from: outsideHost, to: through.to, server: s.server.Host, local: through.to, place: placePlaintext, policy: "none", counter: countConnection,
	}
	var findings []Finding
	for _, r := range []refusal{through, plain} {
		f, err := r.finding(ctx, s)
		if err != nil {
			return findings, err
		}
		findings = append(findings, f)
	}
	f, err := s.answered(ctx, "The caller that the policy names is still answered", callURL)
	if err != nil {
		return findings, err
	}
	findings = append(findings, f)
	if l.hardened() {
		more, err := s.closed(ctx)
		return append(findings, more...), err
	}
	return findings, nil
}

// answered makes sleep's call.
func (s *scene) answered(ctx context.Context, title, url string) (Finding, error) {
	f := Finding{Title: title, Text: fmt.Sprintf("%s calls %s.", callerHost, url)}
	call, err := s.lab.Call(ctx, callerHost, url)
	if ctx.Err() != nil {
		return f, ctx.Err()
	}
	if err != nil {
		f.Details = []string{lastWords(err)}
		return f, nil
	}
	f.OK = call.Status == 200
	f.Details = []string{fmt.Sprintf("status %d, and the pod saw %s", call.Status, call.Peer)}
	return f, nil
}
