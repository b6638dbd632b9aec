// SPDX-License-Identifier: Apache-2.0

package proxyview

import (
	"fmt"
	"net/netip"
	"strings"

	"google.golang.org/protobuf/types/known/structpb"

	"github.com/ambient22/ambient22/internal/proxy/accesslog"
	"github.com/ambient22/ambient22/internal/proxy/config"
)

// The socket option SO_MARK, by the numbers in a listener.
const (
	solSocket = 1
	soMark    = 36
)

// Namespaces and keys of dynamic metadata, as the proxy has them.
const (
	tunnelMetadata   = "tunnel"
	tunnelDst        = "destination"
	tunnelAddress    = "address"
	originalDst      = "envoy.filters.listener.original_dst"
	originalLocal    = "local"
	originalRemote   = "remote"
	workloadMetadata = "envoy.filters.listener.workload_metadata"
	baggageKey       = "baggage"
)

// connection is one on its way through the proxy.
type connection struct {
	p *Proxy
	r *Result

	remote, local netip.AddrPort
	restored      bool
	override      netip.AddrPort
	metadata      map[string]*structpb.Struct
	localName     string // where there is no address

	hasSource bool // original_src
	source    netip.Addr
	mark      uint32

	hello   *Hello
	tunnel  *Tunnel
	secured bool   // the handshake and the tunnel end here
	body    []byte // the listener's JSON, to find lines in
}

// Accept says what the proxy does with a connection.
func (p *Proxy) Accept(in Conn) *Result {
	c := &connection{p: p, r: &Result{}, remote: in.Remote, local: in.Local, hello: in.Hello, tunnel: in.Tunnel}
	l, err := p.at(in.Socket)
	switch {
	case err != nil:
		c.end(NotModelled, "The tracer does not understand this configuration: "+err.Error()+".")
	case l == nil:
		c.end(NoListener, fmt.Sprintf("No listener of the ztunnel has a socket on port %d.", in.Socket.Port()))
	default:
		for _, o := range l.SocketOptions {
			if o.Level == solSocket && o.Name == soMark {
				c.r.AnswerMark = uint32(o.Value)
			}
		}
		c.listen(l)
	}
	return c.r
}

// Listens reports whether a listener has a socket that takes connections to addr.
func (p *Proxy) Listens(addr netip.AddrPort) bool {
	l, err := p.at(addr)
	return l != nil && err == nil
}

// at is the listener with a socket for that address.
func (p *Proxy) at(addr netip.AddrPort) (*config.Listener, error) {
	var any *config.Listener
	for _, name := range p.listenerNames {
		if p.listeners[name].state == "warming" || !p.mayListen(name, addr.Port()) {
			continue
		}
		l, err := p.listener(name)
		if err != nil {
			return nil, err
		}
		if l == nil || l.Internal() || l.Addr.Port() != addr.Port() {
			continue
		}
		if l.Addr == addr {
			return l, nil
		}
		if l.Addr.Addr().IsUnspecified() {
			any = l
		}
	}
	return any, nil
}

// mayListen tells apart, without decoding it, a listener that cannot be meant: one
// inside the proxy, or one that does not mention the port.
func (p *Proxy) mayListen(name string, port uint16) bool {
	body := string(p.listeners[name].body)
	return strings.Contains(body, fmt.Sprint(port)) && !strings.Contains(body, `"internal_listener"`)
}

func (c *connection) step(s Step) { c.r.Steps = append(c.r.Steps, s) }

// end is the end of the way inside the proxy.
func (c *connection) end(e End, reason string) {
	c.r.End, c.r.Reason = e, reason
	c.step(Step{Kind: "verdict", Text: reason, Failed: true})
}

// listen runs the listener's filters and finds the filter chain.
func (c *connection) listen(l *config.Listener) {
	c.r.Listener = l.Name
	c.body = c.p.listeners[l.Name].body
	if !c.runFilters(l) {
		return
	}
	text := fmt.Sprintf("Listener %s takes the connection", l.Name)
	switch {
	case l.Internal():
		text = fmt.Sprintf("Inside the proxy, the internal listener %s takes it", l.Name)
		if c.restored {
			text += fmt.Sprintf(", and reads from the endpoint's metadata that it is for %s", c.local)
		}
	case c.restored:
		text += fmt.Sprintf(" and restores where it was sent: %s", c.local)
	}
	if c.r.AnswerMark != 0 && !l.Internal() {
		text += fmt.Sprintf(". Its answers will carry mark %#x", c.r.AnswerMark)
	}
	c.step(Step{Kind: "listener", Text: text + ".", Name: l.Name, Line: c.p.line(c.body, l.Name)})
	if other := c.handOver(l); other != nil {
		c.step(Step{Kind: "listener", Text: fmt.Sprintf("Because of use_original_dst the connection is handed to the listener of that address, %s.", other.Name), Name: other.Name})
		l, c.r.Listener, c.body = other, other.Name, c.p.listeners[other.Name].body
	}
	c.runChain(l, c.find(l))
}

func (c *connection) handOver(l *config.Listener) *config.Listener {
	if !l.UseOriginalDst || !c.restored {
		return nil
	}
	if other, err := c.p.at(c.local); err == nil && other != l {
		return other
	}
	return nil
}

// runFilters runs the listener filters in order; false ends the connection.
func (c *connection) runFilters(l *config.Listener) bool {
	for _, f := range l.Filters {
		switch f.Kind {
		case config.OriginalDst:
			c.restore(l)
		case config.OriginalSrc:
			if c.remote.IsValid() {
				c.hasSource, c.source, c.mark = true, c.remote.Addr(), f.Mark
			}
		case config.SetDstAddress:
			c.setDst()
		case config.WorkloadMetadata:
			if !c.identify(f.Discovery.Name) {
				return false
			}
		}
	}
	return true
}

func (c *connection) restore(l *config.Listener) {
	if !l.Internal() {
		c.restored = c.local.IsValid()
		return
	}
	fields := c.metadata[originalDst].GetFields()
	if local, err := netip.ParseAddrPort(fields[originalLocal].GetStringValue()); err == nil {
		c.local, c.restored = local, true
	}
	if remote, err := netip.ParseAddrPort(fields[originalRemote].GetStringValue()); err == nil {
		c.remote = remote
	}
}

func (c *connection) setDst() {
	fields := c.metadata[tunnelMetadata].GetFields()
	if dst, err := netip.ParseAddrPort(fields[tunnelDst].GetStringValue()); err == nil {
		c.local, c.restored = dst, true
	}
	if addr, err := netip.ParseAddrPort(fields[tunnelAddress].GetStringValue()); err == nil {
		c.override = addr
	}
}

func (c *connection) identify(name string) bool {
	w, err := c.p.workloads(name)
	if err != nil {
		c.end(NotModelled, "The tracer does not understand this configuration: "+err.Error()+".")
		return false
	}
	if w == nil {
		c.end(NoMetadata, fmt.Sprintf("Filter %s has no configuration yet, so the listener closes every connection.", name))
		return false
	}
	who := w.ByIP(c.remote.Addr())
	if who == nil {
		return true
	}
	cluster := c.p.Node.Cluster
	if cluster == "" {
		cluster = "Kubernetes"
	}
	c.metadata = map[string]*structpb.Struct{workloadMetadata: {Fields: map[string]*structpb.Value{
		baggageKey: structpb.NewStringValue(who.Baggage(cluster)),
	}}}
	return true
}

// entry is what formatters can print of the connection.
func (c *connection) entry() *accesslog.Entry {
	e := &accesslog.Entry{DownstreamLocalAddress: c.localName, DynamicMetadata: c.metadata}
	if c.local.IsValid() {
		e.DownstreamLocalAddress = c.local.String()
	}
	if c.remote.IsValid() {
		e.DownstreamRemoteAddress = c.remote.String()
	}
	return e
}

// Socket is a listener's socket.
type Socket struct {
	Listener    string
	Addr        netip.AddrPort
	Transparent bool
	Mark        uint32 // SO_MARK; 0 none
}

// Sockets are the sockets of all listeners in use. A listener that can't be
// decoded is left out.
func (p *Proxy) Sockets() []Socket {
	var list []Socket
	for _, name := range p.listenerNames {
		if p.listeners[name].state == "warming" || strings.Contains(string(p.listeners[name].body), `"internal_listener"`) {
			continue
		}
		l, err := p.listener(name)
		if err != nil || l == nil || l.Internal() {
			continue
		}
		s := Socket{Listener: name, Addr: l.Addr, Transparent: l.Transparent}
		for _, o := range l.SocketOptions {
			if o.Level == solSocket && o.Name == soMark {
				s.Mark = uint32(o.Value)
			}
		}
		list = append(list, s)
	}
	return list
}
