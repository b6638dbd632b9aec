// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/net/http2"

	"github.com/ambient22/ambient22/internal/hbone"
	"github.com/ambient22/ambient22/internal/proxy/netio"
	"github.com/ambient22/ambient22/internal/proxy/secret"
)

// keepAlive is how long a shared connection may be silent before it is probed:
// a node that vanished is noticed within 40 s, not after the kernel's quarter
// of an hour.
const keepAlive = 30 * time.Second

// TunnelStream is a netio.Conn over a stream of a CONNECT request.
type TunnelStream struct{ *hbone.Stream }

// Reset resets the stream with CONNECT_ERROR, the code for a TCP connection that
// was reset (RFC 9113, section 8.5).
func (s TunnelStream) Reset() error {
	s.Stream.Reset(http2.ErrCodeConnect)
	return nil
}

// Close ends the stream.
func (s TunnelStream) Close() error {
	s.Stream.Close()
	return nil
}

// maxFull is how many connections may turn out to be full before a request fails:
// what the peer admits is not known before its SETTINGS are there, and a burst
// fills each new connection at once.
const maxFull = 64

// connectTunnel opens a stream to addr. A request that the peer certainly did
// not act upon is sent once more, on a connection of its own.
func (c *Cluster) connectTunnel(ctx context.Context, t *Tunnel, addr netip.AddrPort) (*Stream, error) {
	if c.Config.HTTP2 == nil {
		return nil, errors.New("the cluster does not speak HTTP/2, which tunnels need")
	}
	search, cancel := c.connectTimeout(ctx)
	defer cancel()
	fresh, full := false, 0
	for {
		conn, err := c.pool.get(search, addr, fresh)
		if err != nil {
			return nil, err
		}
		s, err := conn.client.TryConnect(ctx, t.Authority, t.Header)
		if err == nil {
			return c.tunnelStream(conn, s), nil
		}
		c.pool.giveBack(conn)
		var unprocessed *hbone.UnprocessedError
		switch {
		case errors.Is(err, hbone.ErrFull) && search.Err() == nil && full < maxFull:
			full++ // others were faster
		case errors.As(err, &unprocessed) && !fresh:
			fresh = true
		default:
			return nil, err
		}
	}
}

func (c *Cluster) tunnelStream(conn *tunnelConn, s *hbone.Stream) *Stream {
	c.stats().requests.Inc()
	c.stats().requestsActive.Inc()
	return &Stream{Conn: TunnelStream{s}, Local: conn.local, done: func() {
		c.stats().requestsActive.Dec()
		c.pool.giveBack(conn)
	}}
}

// pool holds the shared connections of one cluster, by destination.
type pool struct {
	c     *Cluster
	mu    sync.Mutex
	dests map[netip.AddrPort]*dest
	swept bool // the sweeper runs
	ended bool // connections are closed with their last stream
}

// dest is one destination.
type dest struct {
	conns   []*tunnelConn
	dialing *dialing
}

// tunnelConn is one shared connection.
type tunnelConn struct {
	client *hbone.Client
	cert   *secret.Value // whose identity it carries, in which version
	local  string
	limit  uint32 // streams at the same time

	// Guarded by the pool.
	load int  // streams that were given out and not given back
	idle bool // there was none at the last sweep, and none since
}

// dialing is a connection on its way, for everybody who waits for it.
type dialing struct {
	done chan struct{}
	conn *tunnelConn
	err  error
}

// get gives out a stream of a connection; fresh wants a connection that is not
// there yet. It is to be given back when the stream has ended.
func (p *pool) get(ctx context.Context, addr netip.AddrPort, fresh bool) (*tunnelConn, error) {
	ctx, cancel := p.c.connectTimeout(ctx)
	defer cancel()
	for {
		p.mu.Lock()
		d := p.dest(addr)
		if conn := p.usable(d); conn != nil && !fresh {
			conn.take()
			p.mu.Unlock()
			return conn, nil
		}
		wait := d.dialing
		if wait == nil {
			wait = &dialing{done: make(chan struct{})}
			d.dialing = wait
			go p.dial(ctx, addr, d, wait)
		}
		p.mu.Unlock()
		select {
		case <-wait.done:
		case <-ctx.Done():
			return nil, fmt.Errorf("connecting to %s: %w", addr, context.Cause(ctx))
		}
		if wait.err != nil {
			return nil, wait.err
		}
		if conn := p.claim(wait.conn); conn != nil {
			return conn, nil
		}
	}
}

// claim gives out a stream of a connection that was just opened, unless the
// others who waited for it have taken them all.
func (p *pool) claim(conn *tunnelConn) *tunnelConn {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !conn.hasRoom() {
		return nil
	}
	conn.take()
	return conn
}

// maxStreams is how many streams one connection carries where the cluster names
// no number. It is also what this project's own server admits.
const maxStreams = 1024

// hasRoom reports whether the connection takes another stream. What was given
// out counts from then on, and not only when the request is sent, because
// whoever asks for one too many would wait until another ends.
func (c *tunnelConn) hasRoom() bool {
	return c.load < int(c.limit) && c.client.CanTakeStream()
}

func (c *tunnelConn) take() {
	c.load++
	c.idle = false
}

// giveBack notes the end of a stream. A connection of a pool that has ended
// meanwhile is closed with its last one.
func (p *pool) giveBack(conn *tunnelConn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	conn.load--
	if p.ended && conn.load == 0 {
		conn.leave()
	}
}

func (p *pool) dest(addr netip.AddrPort) *dest {
	d := p.dests[addr]
	if d == nil {
		d = &dest{}
		p.dests[addr] = d
	}
	return d
}

// usable is a connection that carries today's identity and takes a stream. It
// drops what is broken and drains what is out of date. The caller holds mu.
func (p *pool) usable(d *dest) *tunnelConn {
	var found *tunnelConn
	kept := d.conns[:0]
	for _, conn := range d.conns {
		switch {
		case conn.broken():
			continue
		case p.outdated(conn):
			conn.leave()
			continue
		}
		kept = append(kept, conn)
		if found == nil && conn.hasRoom() {
			found = conn
		}
	}
	clear(d.conns[len(kept):])
	d.conns = kept
	return found
}

func (c *tunnelConn) broken() bool {
	select {
	case <-c.client.Done():
		return true
	default:
		return false
	}
}

// leave lets the streams that are open finish, and then closes the connection.
func (c *tunnelConn) leave() {
	go c.client.GoAway(context.Background())
}

// outdated reports whether the cluster's certificate was replaced since, or has
// expired.
func (p *pool) outdated(conn *tunnelConn) bool {
	t := p.c.Config.Socket.TLS
	if t == nil || t.Certificate == nil {
		return false
	}
	return p.c.secrets.byName[t.Certificate.Name].Get() != conn.cert || conn.cert.Expired(time.Now()) != nil
}

// dial opens one connection. The one who asked first may give up; those who
// wait beside are not to suffer, so only its deadline counts.
func (p *pool) dial(ctx context.Context, addr netip.AddrPort, d *dest, w *dialing) {
	ctx, cancel := p.c.connectTimeout(context.WithoutCancel(ctx))
	defer cancel()
	w.conn, w.err = p.open(ctx, addr)
	p.mu.Lock()
	defer p.mu.Unlock()
	d.dialing = nil
	if w.err == nil {
		p.keep(d, w.conn)
	}
	close(w.done)
}

// keep adds a connection, also to a pool that has ended meanwhile: nobody may
// be left who waited for it, and the sweeper then finds it unused. The caller
// holds mu.
func (p *pool) keep(d *dest, conn *tunnelConn) {
	d.conns = append(d.conns, conn)
	if !p.swept {
		p.swept = true
		go p.sweep()
	}
}

func (p *pool) open(ctx context.Context, addr netip.AddrPort) (*tunnelConn, error) {
	tcp, err := netio.Dial(ctx, addr, nil)
	if err != nil {
		return nil, err
	}
	limits := p.c.Config.HTTP2
	conn := &tunnelConn{local: netio.AddrPort(tcp.LocalAddr()).String(), limit: limits.MaxStreams}
	if conn.limit == 0 {
		conn.limit = maxStreams
	}
	cfg := hbone.Config{KeepAlive: keepAlive, MaxStreams: conn.limit, StreamWindow: limits.StreamWindow, ConnWindow: limits.ConnWindow}
	if t := p.c.Config.Socket.TLS; t == nil {
		conn.client, err = hbone.NewClient(tcp, cfg)
	} else {
		conn.client, conn.cert, err = p.secure(ctx, tcp, cfg)
	}
	if err != nil {
		tcp.Close()
		return nil, fmt.Errorf("connecting to %s: %w", addr, err)
	}
	p.c.stats().http2Total.Inc()
	ended := p.c.stats().opened()
	go func() {
		<-conn.client.Done()
		ended()
	}()
	return conn, nil
}
