// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// policyFile is the manifest with productpage's policy, strictFile one that is
// added to it.
const (
	policyFile = "policy.yaml"
	strictFile = "strict.yaml"
)

// otherPort is a port of productpage that the policy on ports does not name.
const otherPort = 9081

// portsPolicy lets sleep in on one port only.
const portsPolicy = `apiVersion: security.istio.io/v1beta1
kind: AuthorizationPolicy
metadata: {name: productpage-ports, namespace: default}
spec:
  selector: {matchLabels: {app: productpage}}
  action: ALLOW
  rules:
  - from: [{source: {principals: [cluster.local/ns/default/sa/sleep]}}]
    to: [{operation: {ports: ["9080"]}}]
`

// strictMTLS wants mutual TLS of everybody who calls a pod of the namespace.
const strictMTLS = `apiVersion: security.istio.io/v1beta1
kind: PeerAuthentication
metadata: {name: default, namespace: default}
spec:
  mtls: {mode: STRICT}
`

// How one sees in a config_dump that they are in force.
const (
	portsInForce  = "policy[productpage-ports]"
	viewerInForce = "policy[productpage-viewer]"
	strictInForce = "mtls-strict"
)

// closed tries what the hardened profile closes, with other policies than the
// article's lab has, and puts those back.
func (s *scene) closed(ctx context.Context) (findings []Finding, err error) {
	for _, part := range []func(context.Context) ([]Finding, error){s.ports, s.strict, s.straight} {
		more, err := part(ctx)
		findings = append(findings, more...)
		if err != nil {
			return findings, err
		}
	}
	return findings, nil
}

// ports tries a policy on ports. On a tunnel it is held against the port that
// CONNECT asks for.
func (s *scene) ports(ctx context.Context) (findings []Finding, err error) {
	back, err := s.apply(ctx, policyFile, portsPolicy, portsInForce)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, back(viewerInForce)) }()
	r := refusal{
		title: "A policy on ports holds for the port that a tunnel leads to",
		text: fmt.Sprintf("With productpage-ports, %s may call port %d only. Its call of port %d is refused, although the tunnel itself comes in on %d.",
			callerHost, s.server.Serve, otherPort, hbonePort),
		from: callerHost, to: netip.AddrPortFrom(s.server.Address, otherPort), server: s.server.Host,
		local: netip.AddrPortFrom(s.server.Address, hbonePort), place: placeRequest, policy: "none", counter: countRequest,
	}
	refused, err := r.finding(ctx, s)
	if err != nil {
		return nil, err
	}
	allowed, err := s.answered(ctx, "and lets in who calls the port it names", callURL)
	return []Finding{refused, allowed}, err
}

// strict asks for mutual TLS in the whole namespace, and calls a pod that has no
// other policy.
func (s *scene) strict(ctx context.Context) (findings []Finding, err error) {
	other, ok := s.lab.Net.Topology.Pod(otherHost)
	if !ok {
		return nil, fmt.Errorf("setting the scene: the topology has no pod %s", otherHost)
	}
	back, err := s.apply(ctx, strictFile, strictMTLS, strictInForce)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, back("!"+strictInForce)) }()
	to := netip.AddrPortFrom(other.Address, other.Serve)
	r := refusal{
		title: "PeerAuthentication STRICT refuses what is in no tunnel",
		text:  fmt.Sprintf("%s has no AuthorizationPolicy. Under STRICT, the plain connection of %s is refused on %d all the same.", otherHost, outsideHost, plaintextPort),
		from:  outsideHost, to: to, server: other.Host, local: to, place: placePlaintext, policy: "mtls-strict", counter: countConnection,
	}
	refused, err := r.finding(ctx, s)
	if err != nil {
		return nil, err
	}
	allowed, err := s.answered(ctx, "and lets in who comes through one", "http://"+to.String()+"/")
	return []Finding{refused, allowed}, err
}

// straight opens tunnels by hand, past ztunnel A.
func (s *scene) straight(ctx context.Context) ([]Finding, error) {
	other, ok := s.lab.Net.Topology.Pod(otherHost)
	if !ok {
		return nil, fmt.Errorf("setting the scene: the topology has no pod %s", otherHost)
	}
	own := netip.AddrPortFrom(s.server.Address, s.server.Serve)
	elsewhere := netip.AddrPortFrom(other.Address, other.Serve)
	from := func(identity string, target netip.AddrPort) (int, error) {
		return s.lab.Connect(ctx, outsideHost, identity, s.server.Address, target)
	}
	var findings []Finding
	for _, try := range []struct {
		title, text, identity string
		target                netip.AddrPort
		status                int // 0: the tunnel is refused
	}{
		{"A tunnel to a pod leads to that pod", "With sleep's certificate, a CONNECT to productpage's port 15008 that names productpage.", callerIdentity, own, 200},
		{"and to no other", "The same CONNECT, naming " + otherHost + ": there is no route for it.", callerIdentity, elsewhere, 404},
		{"A caller without a certificate gets no tunnel", "The TLS handshake with productpage's port 15008, without a certificate of the caller.", "", own, 0},
	} {
		status, err := from(try.identity, try.target)
		if ctx.Err() != nil {
			return findings, ctx.Err()
		}
		f := Finding{Title: try.title, Text: try.text, OK: status == try.status && (err != nil) == (try.status == 0)}
		if err != nil {
			f.Details = []string{err.Error()}
		} else {
			f.Details = []string{fmt.Sprintf("CONNECT %s: status %d", try.target, status)}
		}
		findings = append(findings, f)
	}
	return findings, nil
}

// apply writes a manifest and waits until ztunnel B has what shows that it is in
// force. The function it returns puts back what was there before, and waits for
// what shows that.
func (s *scene) apply(ctx context.Context, file, text, shows string) (back func(shows string) error, err error) {
	name := filepath.Join(s.lab.Manifests(), file)
	before, err := os.ReadFile(name)
	if err != nil && !os.IsNotExist(err) {
		return nil, fmt.Errorf("reading a manifest: %w", err)
	}
	missing := err != nil
	if err := writeManifest(name, text); err != nil {
		return nil, err
	}
	if err := s.inForce(ctx, shows); err != nil {
		return nil, err
	}
	return func(shows string) error {
		if missing {
			if err := os.Remove(name); err != nil {
				return fmt.Errorf("removing a manifest: %w", err)
			}
		} else if err := writeManifest(name, string(before)); err != nil {
			return err
		}
		return s.inForce(ctx, shows)
	}, nil
}

// writeManifest puts a manifest in its place at once, as kubectl's users do.
func writeManifest(name, text string) error {
	// The node controllers read only files that end in .yaml, .yml and .json.
	aside := name + ".new"
	if err := os.WriteFile(aside, []byte(text), 0o644); err != nil {
		return fmt.Errorf("writing a manifest: %w", err)
	}
	if err := os.Rename(aside, name); err != nil {
		return fmt.Errorf("writing a manifest: %w", err)
	}
	return nil
}

// inForce waits until the inbound listeners of ztunnel B have this in them, or,
// with a "!" in front of it, have it no longer.
func (s *scene) inForce(ctx context.Context, shows string) error {
	ctx, cancel := context.WithTimeout(ctx, s.lab.Timeout)
	defer cancel()
	text, gone := strings.CutPrefix(shows, "!")
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		dump, err := s.lab.Get(ctx, s.zB.Host, "http://127.0.0.1:15000/config_dump?resource=dynamic_listeners")
		if err != nil {
			return err
		}
		if strings.Contains(dump, text) != gone {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting until %s shows %q: %w", s.zB.Host, shows, ctx.Err())
		case <-tick.C:
		}
	}
}
