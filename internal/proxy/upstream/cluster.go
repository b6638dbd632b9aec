// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync/atomic"

	"google.golang.org/protobuf/types/known/structpb"

	"github.com/ambient22/ambient22/internal/proxy/config"
	"github.com/ambient22/ambient22/internal/proxy/netio"
	"github.com/ambient22/ambient22/internal/proxy/secret"
)

// Cluster is a cluster at work.
type Cluster struct {
	Config *config.Cluster

	hosts   atomic.Pointer[[]config.Host] // nil: not known yet
	next    atomic.Uint32                 // round robin
	secrets *secrets
	pool    *pool
	// stats are made on first use: of SA × service × port clusters most are
	// never used.
	stats func() *clusterStats
	dial  InternalDialer
}

// SetHosts replaces the hosts of an EDS cluster.
func (c *Cluster) SetHosts(hosts []config.Host) { c.hosts.Store(&hosts) }

// Hosts are the hosts now; ok is false before the first are known.
func (c *Cluster) Hosts() (hosts []config.Host, ok bool) {
	p := c.hosts.Load()
	if p == nil {
		return nil, false
	}
	return *p, true
}

// Secrets are the secrets that the cluster waits for.
func (c *Cluster) Secrets() []*secret.Entry { return c.secrets.all }

// Connect opens a stream to one of the cluster's hosts.
func (c *Cluster) Connect(ctx context.Context, r *Request) (*Stream, error) {
	h, ok := c.choose(r)
	if !ok {
		c.stats().noneHealthy.Inc()
		return nil, &Failure{Reason: NoHost}
	}
	s, err := c.connect(ctx, r, h)
	if err != nil {
		c.stats().connectFail.Inc()
		var tlsErr *tlsError
		return nil, &Failure{Reason: ConnectFailed, Host: h.String(), TLS: errors.As(err, &tlsErr), Err: err}
	}
	s.Host = h.String()
	return s, nil
}

func (c *Cluster) connect(ctx context.Context, r *Request, h *config.Host) (*Stream, error) {
	socket := c.Config.SocketFor(h)
	switch {
	case !h.Addr.IsValid() && (r.Tunnel != nil || socket.TLS != nil):
		// Passing the bytes on as they are would be worse than not at all.
		return nil, errors.New("tunnels and TLS are not supported to an internal address")
	case !h.Addr.IsValid():
		return c.connectInternal(h, socket)
	case r.Tunnel != nil:
		return c.connectTunnel(ctx, r.Tunnel, h.Addr)
	}
	ctx, cancel := c.connectTimeout(ctx)
	defer cancel()
	tcp, err := netio.Dial(ctx, h.Addr, r.Source)
	if err != nil {
		return nil, err
	}
	s := &Stream{Conn: netio.TCP{TCPConn: tcp}, Local: netio.AddrPort(tcp.LocalAddr()).String(), done: c.stats().opened()}
	if socket.TLS == nil {
		return s, nil
	}
	t, _, err := c.secrets.handshake(ctx, tcp, socket.TLS)
	if err != nil {
		s.Close()
		return nil, err
	}
	s.Conn = netio.NewTLS(t, tcp)
	return s, nil
}

// connectTimeout bounds the time that TCP and TLS may take.
func (c *Cluster) connectTimeout(ctx context.Context) (context.Context, context.CancelFunc) {
	timeout := c.Config.ConnectTimeout
	return context.WithTimeoutCause(ctx, timeout, fmt.Errorf("no connection within %v", timeout))
}

// internalClient is the address that Envoy shows for the client's side of an
// internal connection.
const internalClient = "envoy://internal_client_address/"

func (c *Cluster) connectInternal(h *config.Host, socket *config.TransportSocket) (*Stream, error) {
	metadata := make(map[string]*structpb.Struct, len(socket.Passthrough))
	for _, name := range socket.Passthrough {
		if m := h.Metadata[name]; m != nil {
			metadata[name] = m
		}
	}
	conn, err := c.dial(h.Listener, h.EndpointID, metadata)
	if err != nil {
		return nil, err
	}
	return &Stream{Conn: conn, Local: internalClient, done: c.stats().opened()}, nil
}

// choose picks the host of a request.
func (c *Cluster) choose(r *Request) (*config.Host, bool) {
	if c.Config.Type != config.ToOriginDst {
		hosts, _ := c.Hosts()
		if len(hosts) == 0 {
			return nil, false
		}
		return &hosts[int(c.next.Add(1)-1)%len(hosts)], true
	}
	addr := r.Override
	if !addr.IsValid() && c.Config.DstHeader != "" && r.Header != nil {
		addr = c.fromHeader(r.Header(c.Config.DstHeader))
	}
	if !addr.IsValid() {
		addr = r.OriginalDst
	}
	if !addr.IsValid() {
		return nil, false
	}
	if c.Config.PortOverride != 0 {
		addr = netip.AddrPortFrom(addr.Addr(), c.Config.PortOverride)
	}
	return &config.Host{Addr: addr}, true
}

// fromHeader reads a destination; one that cannot be read counts as none, and
// then the connection's own destination stands, as in Envoy. Unlike there it must
// be written in the one usual way: a policy that guards "10.4.3.20:80" compares
// texts, and "10.4.3.20:080" would lead past it.
func (c *Cluster) fromHeader(value string) netip.AddrPort {
	if value == "" {
		return netip.AddrPort{}
	}
	addr, err := netip.ParseAddrPort(value)
	if err != nil || !addr.Addr().Is4() || addr.String() != value {
		c.stats().headerInvalid.Inc()
		return netip.AddrPort{}
	}
	return addr
}

// Close drains the cluster's shared connections: streams that are open go on,
// new ones find no connection. It gives its secrets back.
func (c *Cluster) Close(store *secret.Store) {
	c.pool.drain()
	for _, e := range c.secrets.all {
		store.Release(e)
	}
}
