// SPDX-License-Identifier: Apache-2.0

package proxyview

import (
	"fmt"
	"slices"
	"strings"

	"github.com/ambient22/ambient22/internal/proxy/config"
	"github.com/ambient22/ambient22/internal/proxy/match"
	"github.com/ambient22/ambient22/internal/proxy/rbac"
)

// find is the connection's filter chain, and how the listener came to it.
func (c *connection) find(l *config.Listener) *config.FilterChain {
	chain := l.FindChain(c.remote, c.local)
	if l.Tree() == nil {
		c.findByPrefix(l, chain)
		return chain
	}
	for _, v := range l.Tree().Path(c.remote, c.local) {
		c.level(v)
	}
	path := l.Tree().Path(c.remote, c.local)
	last := path[len(path)-1]
	switch {
	case chain == nil:
	case last.Out.Chain == "" && chain == l.Fallback():
		c.step(Step{Kind: "filterchain", Text: "Nothing matched, so the listener's default chain takes it: the connection goes on as it is.", Name: chain.Name, Line: c.p.line(c.body, "default_filter_chain")})
	default:
		c.step(Step{Kind: "filterchain", Text: fmt.Sprintf("The filter chain is %s.", chain.Name), Name: chain.Name, Line: c.p.line(c.body, chain.Name)})
	}
	return chain
}

// level words one level of the matcher.
func (c *connection) level(v match.Visit) {
	s := Step{Kind: "filterchain", Failed: !v.Found, Line: c.p.line(c.body, "filter_chain_matcher")}
	switch v.Node.Input {
	case match.DestinationPort:
		c.portLevel(&s, v)
	case match.SourceIP:
		if v.Found {
			s.Text = fmt.Sprintf("Source %s is a workload of this node: its chains carry its identity.", c.remote.Addr())
			break
		}
		c.r.Miss = "source"
		s.Text = fmt.Sprintf("Source %s is none of the %d workloads of this node that the listener knows%s.", c.remote.Addr(), len(v.Node.IPs), elseChain(v))
	case match.DestinationIP:
		if v.Found {
			what := "a pod's address"
			if v.Out.Next != nil {
				what = "a service's address"
			}
			s.Text = fmt.Sprintf("Destination %s is %s that the mesh knows.", c.local.Addr(), what)
			break
		}
		c.r.Miss = "destination"
		s.Text = fmt.Sprintf("Destination %s is no service's and no pod's address in the mesh%s.", c.local.Addr(), elseChain(v))
	}
	c.step(s)
}

func (c *connection) portLevel(s *Step, v match.Visit) {
	first := v.Out.Next != nil || len(v.Node.Ports) == 1 && v.Node.NoMatch != nil
	switch {
	case v.Found && first:
		s.Text = fmt.Sprintf("It was sent to port %d itself, which is for nobody to call.", c.local.Port())
	case v.Found:
		s.Text = fmt.Sprintf("Port %d is one of the service's.", c.local.Port())
	case first:
		s.Failed = false
		s.Text = fmt.Sprintf("It was not sent to port %s itself: that would be dropped, as a call of the proxy by its own port.", ports(v.Node))
	default:
		c.r.Miss = "port"
		s.Text = fmt.Sprintf("Port %d is none of the service's ports (%s)%s.", c.local.Port(), ports(v.Node), elseChain(v))
	}
}

func ports(n *match.Node) string {
	var list []uint16
	for p := range n.Ports {
		list = append(list, p)
	}
	slices.Sort(list)
	var text []string
	for _, p := range list {
		text = append(text, fmt.Sprint(p))
	}
	return strings.Join(text, ", ")
}

func elseChain(v match.Visit) string {
	if v.Out.Chain != "" {
		return ", so the chain is " + v.Out.Chain
	}
	return ""
}

func (c *connection) findByPrefix(l *config.Listener, chain *config.FilterChain) {
	if chain == nil {
		return
	}
	s := Step{Kind: "filterchain", Name: chain.Name, Line: c.p.line(c.body, chain.Name)}
	name := chain.Name
	if name == "" {
		name = "without a name"
	}
	switch {
	case len(chain.Prefixes()) > 0:
		s.Text = fmt.Sprintf("Filter chain %s is for destination %s.", name, chain.Prefixes()[0])
	case len(l.Chains()) > 1:
		c.r.Miss = "destination"
		s.Failed = true
		s.Text = fmt.Sprintf("No filter chain is for destination %s, so the last one takes it: %s.", c.local.Addr(), name)
	default:
		return
	}
	c.step(s)
}

// runChain hands the connection to its filter chain.
func (c *connection) runChain(l *config.Listener, chain *config.FilterChain) {
	if chain == nil {
		c.end(NoChain, fmt.Sprintf("Listener %s has no filter chain for it, so the connection is closed.", l.Name))
		return
	}
	c.r.Chain = chain.Name
	var names []string
	if chain.TLS != nil {
		var ok bool
		if names, ok = c.secure(chain); !ok {
			return
		}
	}
	facts := &rbac.Request{Local: c.local, Remote: c.remote, Authenticated: len(names) > 0, Names: names}
	if chain.TLS != nil && c.hello != nil {
		facts.SNI = c.hello.SNI
	}
	if !c.admit(chain.RBAC, facts, "") {
		return
	}
	if chain.HTTP != nil {
		c.serveHTTP(chain.HTTP, facts)
		return
	}
	c.proxyTCP(chain)
}

// secure is the TLS handshake with the client, whose names it gives.
func (c *connection) secure(chain *config.FilterChain) ([]string, bool) {
	t := chain.TLS
	c.secured = true
	c.r.Identity = Identity(t.Certificate.Name)
	if arrived, known := c.p.secrets[t.Certificate.Name]; c.p.secrets != nil && (!known || !arrived) {
		c.end(BadTLS, fmt.Sprintf("The certificate %s has not come to the ztunnel, so it can't answer the handshake.", t.Certificate.Name))
		return nil, false
	}
	if c.hello == nil {
		c.end(BadTLS, "This chain ends TLS and the client speaks none: the handshake fails.")
		return nil, false
	}
	if c.hello.admits != nil && !c.hello.admits([]string{c.r.Identity}) {
		c.end(BadTLS, fmt.Sprintf("The client does not take a server that is %s: the handshake fails.", c.r.Identity))
		return nil, false
	}
	var names []string
	if c.hello.Identity != "" && t.Validation != nil {
		names = []string{c.hello.Identity}
	}
	if len(names) == 0 && t.RequireClientCert {
		c.end(BadTLS, "The chain requires a certificate of the client, and it shows none: the handshake fails.")
		return nil, false
	}
	if len(names) > 0 && !t.Validation.Match(names) {
		c.end(BadTLS, fmt.Sprintf("The client's identity %s is not of a kind that the chain takes: the handshake fails.", names[0]))
		return nil, false
	}
	who := "The client shows no certificate"
	if len(names) > 0 {
		who = "The client is " + names[0]
	}
	c.step(Step{Kind: "hbone", Text: fmt.Sprintf("TLS 1.3 begins: the ztunnel shows the certificate of %s. %s.", c.r.Identity, who), Name: t.Certificate.Name, Line: c.p.line(c.body, t.Certificate.Name)})
	return names, true
}

// Identity is the SPIFFE identity in the name of a secret, "IDENTITY~POD~UID".
func Identity(secret string) string {
	id, _, _ := strings.Cut(secret, "~")
	return id
}

// admit asks policies, which stand before everything else in a chain.
func (c *connection) admit(filters []*rbac.Filter, facts *rbac.Request, what string) bool {
	for _, f := range filters {
		if f.Rules == nil {
			continue
		}
		allowed, policy := f.Rules.Decide(facts)
		c.r.Policy = policy
		if allowed {
			text := "The policies have nothing against it."
			if policy != "" {
				text = fmt.Sprintf("Policy %s allows it%s.", policy, what)
			}
			c.step(Step{Kind: "policy", Text: text, Name: policy, Line: c.p.line(c.body, policy)})
			continue
		}
		who := "a caller without an identity"
		if len(facts.Names) > 0 {
			who = facts.Names[0]
		}
		if policy == "" {
			c.end(Refused, fmt.Sprintf("No policy allows %s from %s to %s, and where any policy allows, all else is refused%s.", who, facts.Remote.Addr(), facts.Local, what))
			return false
		}
		c.end(Refused, fmt.Sprintf("Policy %s refuses %s from %s to %s%s.", policy, who, facts.Remote.Addr(), facts.Local, what))
		return false
	}
	return true
}

// serveHTTP is the connection manager with its one kind of request.
func (c *connection) serveHTTP(h *config.HTTP, facts *rbac.Request) {
	if c.tunnel == nil {
		c.end(NoRoute, "The chain expects a CONNECT request and gets none.")
		return
	}
	c.step(Step{Kind: "hbone", Text: fmt.Sprintf("The connection manager reads CONNECT %s.", c.tunnel.Authority), Line: c.p.line(c.body, "connect_matcher")})
	facts.Header = c.tunnel.header
	if !c.admit(h.RBAC, facts, ", judged by the CONNECT request (it gets 403 where it is refused)") {
		return
	}
	if !h.Route.Matches(c.tunnel.header) {
		c.end(NoRoute, "No route takes this CONNECT request: it is answered with 404.")
		return
	}
	c.connect(h.Route.Cluster, nil, func(name string) string { v, _ := c.tunnel.header(name); return v })
}

// proxyTCP forwards the bytes.
func (c *connection) proxyTCP(chain *config.FilterChain) {
	var t *Tunnel
	if chain.TCP.Tunnel != nil {
		e := c.entry()
		t = &Tunnel{Authority: string(chain.TCP.Tunnel.Hostname.Append(nil, e))}
		if t.Authority == "" || t.Authority == "-" {
			c.end(NotModelled, "The tunnel's target is not known for this connection, so there is no request.")
			return
		}
		for _, h := range chain.TCP.Tunnel.Headers {
			if value := string(h.Value.Append(nil, e)); value != "" && value != "-" {
				t.Headers = append(t.Headers, [2]string{h.Name, value})
			}
		}
	}
	c.connect(chain.TCP.Cluster, t, nil)
}
