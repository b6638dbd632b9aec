// SPDX-License-Identifier: Apache-2.0

package proxyview

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"google.golang.org/protobuf/types/known/structpb"

	"github.com/ambient22/ambient22/internal/proxy/config"
)

// connect chooses a host of the cluster. tunnel is the request to make there, nil
// for the bytes themselves; header reads the request that came, if one did.
func (c *connection) connect(name string, tunnel *Tunnel, header func(string) string) {
	cluster, err := c.p.cluster(name)
	body := c.p.clusters[name].body
	if err != nil {
		c.end(NotModelled, "The tracer does not understand this configuration: "+err.Error()+".")
		return
	}
	if cluster == nil {
		c.end(NoCluster, fmt.Sprintf("Cluster %s is not there (or still warming), so the connection is closed.", name))
		return
	}
	text := fmt.Sprintf("Its cluster is %s", name)
	if strings.HasPrefix(name, "PassthroughCluster") {
		c.r.Passthrough = true
		text += ", which connects to wherever the caller wanted to go, without a tunnel"
	}
	c.step(Step{Kind: "cluster", Text: text + ".", Name: name, Line: c.p.line(body, name)})
	switch cluster.Type {
	case config.ToOriginDst:
		c.toOriginalDst(cluster, tunnel, header)
	default:
		c.toHost(cluster, tunnel)
	}
}

// toOriginalDst connects to the connection's own destination.
func (c *connection) toOriginalDst(cluster *config.Cluster, tunnel *Tunnel, header func(string) string) {
	addr, from := c.override, "the address that the endpoint's metadata names"
	if !addr.IsValid() && cluster.DstHeader != "" && header != nil {
		value := header(cluster.DstHeader)
		if a, err := netip.ParseAddrPort(value); err == nil && a.Addr().Is4() && a.String() == value {
			addr, from = a, "the address in "+cluster.DstHeader
		}
	}
	if !addr.IsValid() && c.restored {
		addr, from = c.local, "the connection's own destination"
	}
	if !addr.IsValid() {
		c.end(NoHost, "The connection has no destination that the cluster could connect to.")
		return
	}
	text := fmt.Sprintf("The cluster connects to %s: %s", from, addr)
	if cluster.PortOverride != 0 {
		addr = netip.AddrPortFrom(addr.Addr(), cluster.PortOverride)
		text = fmt.Sprintf("The cluster connects to %s, but at port %d: %s", from, cluster.PortOverride, addr)
	}
	c.step(Step{Kind: "endpoint", Text: text + ".", Name: addr.String()})
	c.dial(cluster, &config.Host{Addr: addr}, tunnel)
}

// toHost takes the first of the cluster's endpoints. The proxy takes them in turn.
func (c *connection) toHost(cluster *config.Cluster, tunnel *Tunnel) {
	hosts, err := c.p.hosts(cluster)
	if err != nil {
		c.end(NotModelled, "The tracer does not understand this configuration: "+err.Error()+".")
		return
	}
	switch {
	case len(hosts) > 0:
	case cluster.Type == config.EDS && !c.p.hasEndpoints:
		c.end(NotModelled, "The dump has no endpoints: config_dump was taken without ?include_eds.")
		return
	case cluster.Type == config.Static:
		c.end(BlackHole, fmt.Sprintf("Cluster %s has no host, on purpose: the connection is closed.", cluster.Name))
		return
	default:
		c.end(NoHost, fmt.Sprintf("Cluster %s has no healthy endpoint, so the connection is closed.", cluster.Name))
		return
	}
	h := &hosts[0]
	text := fmt.Sprintf("Its endpoint is %s.", hostText(h))
	var others []string
	for i := range hosts[1:] {
		others = append(others, hostText(&hosts[i+1]))
	}
	if len(others) > 0 {
		text = fmt.Sprintf("Of its %d endpoints the story follows the first, %s; the others take their turn: %s.", len(hosts), hostText(h), strings.Join(others, ", "))
	}
	e := c.p.endpoints[cluster.EDSName]
	id := h.EndpointID
	if h.Addr.IsValid() {
		id = h.Addr.Addr().String()
	}
	c.step(Step{Kind: "endpoint", Text: text, Name: h.String(), Line: c.p.line(e.body, id)})
	n := len(c.r.Steps)
	c.dial(cluster, h, tunnel)
	if c.r.Up != nil && len(c.r.Up.Others) == 0 {
		c.r.Up.Others = others
	}
	if c.r.Up != nil && h.Addr.IsValid() && tunnel == nil && !c.r.Passthrough {
		c.r.Steps = slices.Insert(c.r.Steps, n, Step{Kind: "endpoint", Text: "That endpoint is not in the mesh: there is no ztunnel in front of it, so no tunnel either."})
	}
}

// hostText is an endpoint for people: where it leads.
func hostText(h *config.Host) string {
	if h.Addr.IsValid() {
		return h.Addr.String()
	}
	text := h.EndpointID
	if a := h.Metadata[tunnelMetadata].GetFields()[tunnelAddress].GetStringValue(); a != "" {
		text += " through a tunnel to " + a
	} else {
		text += " through a tunnel"
	}
	return text
}

// dial opens the connection to a host.
func (c *connection) dial(cluster *config.Cluster, h *config.Host, tunnel *Tunnel) {
	socket := cluster.SocketFor(h)
	if !h.Addr.IsValid() {
		c.dialInternal(h, socket)
		return
	}
	up := &Upstream{Cluster: cluster.Name, Addr: h.Addr, Tunnel: tunnel}
	if socket.TLS != nil {
		up.Hello = c.clientHello(socket.TLS)
		if up.Hello == nil {
			return
		}
	}
	switch {
	case tunnel != nil && cluster.HTTP2 == nil:
		c.end(NotModelled, fmt.Sprintf("Cluster %s does not speak HTTP/2, so it carries no tunnel.", cluster.Name))
		return
	case tunnel != nil:
		c.step(Step{Kind: "hbone", Text: tunnelText(up), Name: cluster.Name})
	case c.hasSource:
		up.Source, up.Mark = c.source, c.mark
		c.step(Step{Kind: "hbone", Text: fmt.Sprintf("The ztunnel opens a plain connection to %s with the caller's address %s as its source and mark %#x, so that its answers find back to the ztunnel.", up.Addr, up.Source, up.Mark)})
	default:
		c.step(Step{Kind: "hbone", Text: fmt.Sprintf("The ztunnel opens a plain connection to %s from its own address.", up.Addr)})
	}
	if tunnel == nil && socket.TLS == nil && !c.secured {
		// Whatever TLS and tunnel there are within the bytes go on with them.
		up.Hello, up.Tunnel = c.hello, c.tunnel
	}
	c.r.Up = up
}

func tunnelText(up *Upstream) string {
	var b strings.Builder
	fmt.Fprintf(&b, "The ztunnel opens an HTTP/2 connection to %s from its own address", up.Addr)
	if up.Hello != nil {
		fmt.Fprintf(&b, ", over TLS 1.3 with ALPN h2")
		if up.Hello.Identity != "" {
			fmt.Fprintf(&b, " and the certificate of %s", up.Hello.Identity)
		}
	}
	fmt.Fprintf(&b, ", and sends CONNECT %s", up.Tunnel.Authority)
	for i, h := range up.Tunnel.Headers {
		word := ", "
		if i == 0 {
			word = " with "
		}
		fmt.Fprintf(&b, "%s%s: %s", word, h[0], h[1])
	}
	b.WriteString(". Calls of this identity to this destination share the connection.")
	return b.String()
}

// clientHello is the handshake that the proxy begins; nil where it can't.
func (c *connection) clientHello(t *config.UpstreamTLS) *Hello {
	h := &Hello{ALPN: t.ALPN, SNI: t.SNI}
	if t.Certificate != nil {
		if c.p.secrets != nil && !c.p.secrets[t.Certificate.Name] {
			c.end(BadTLS, fmt.Sprintf("The certificate %s has not come to the ztunnel, so it can't begin the handshake.", t.Certificate.Name))
			return nil
		}
		h.Identity = Identity(t.Certificate.Name)
	}
	if t.Validation != nil {
		h.admits = t.Validation.Match
	}
	return h
}

// dialInternal goes on in an internal listener, with the host's metadata.
func (c *connection) dialInternal(h *config.Host, socket *config.TransportSocket) {
	l, err := c.p.listener(h.Listener)
	if err != nil {
		c.end(NotModelled, "The tracer does not understand this configuration: "+err.Error()+".")
		return
	}
	if l == nil || !l.Internal() || c.p.listeners[h.Listener].state == "warming" {
		c.end(NoListener, fmt.Sprintf("The internal listener %s is not there, so the connection is closed.", h.Listener))
		return
	}
	metadata := map[string]*structpb.Struct{}
	for _, name := range socket.Passthrough {
		if m := h.Metadata[name]; m != nil {
			metadata[name] = m
		}
	}
	chain, listener := c.r.Chain, c.r.Listener
	next := &connection{p: c.p, r: c.r, metadata: metadata, localName: "envoy://" + h.Listener + "/" + h.EndpointID}
	next.listen(l)
	c.r.Chain, c.r.Listener = chain, listener
}
