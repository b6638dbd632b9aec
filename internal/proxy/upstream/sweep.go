// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"golang.org/x/net/http2"

	"github.com/ambient22/ambient22/internal/hbone"
	"github.com/ambient22/ambient22/internal/proxy/config"
	"github.com/ambient22/ambient22/internal/proxy/secret"
)

// idleTimeout closes an unused shared connection of a cluster whose hosts come
// from the control plane; one to an original destination goes with its host
// after the cleanup interval. Both as in Envoy.
const idleTimeout = time.Hour

// secure speaks TLS and then HTTP/2 over tcp.
func (p *pool) secure(ctx context.Context, tcp net.Conn, cfg hbone.Config) (*hbone.Client, *secret.Value, error) {
	t, cert, err := p.c.secrets.handshake(ctx, tcp, p.c.Config.Socket.TLS)
	if err != nil {
		return nil, nil, err
	}
	if proto := t.ConnectionState().NegotiatedProtocol; proto != http2.NextProtoTLS {
		return nil, nil, &tlsError{errors.New("peer did not choose h2")}
	}
	client, err := hbone.NewClient(t, cfg)
	return client, cert, err
}

// sweep closes what was unused for a whole interval, until nothing is left.
func (p *pool) sweep() {
	interval := idleTimeout
	if p.c.Config.Type == config.ToOriginDst {
		interval = p.c.Config.CleanupInterval
	}
	tick := time.NewTicker(max(interval, time.Second))
	defer tick.Stop()
	for range tick.C {
		if p.sweepOnce() {
			return
		}
	}
}

// sweepOnce reports whether no connection is left; the sweeper has then ended.
func (p *pool) sweepOnce() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for addr, d := range p.dests {
		p.usable(d) // drops the broken and the outdated
		kept := d.conns[:0]
		for _, conn := range d.conns {
			unused := conn.load == 0
			if unused && conn.idle {
				conn.leave()
				continue
			}
			conn.idle = unused
			kept = append(kept, conn)
		}
		clear(d.conns[len(kept):])
		d.conns = kept
		if len(d.conns) == 0 && d.dialing == nil {
			delete(p.dests, addr)
		}
	}
	p.swept = len(p.dests) > 0
	return !p.swept
}

// drain lets go of every connection.
func (p *pool) drain() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended = true
	for _, d := range p.dests {
		for _, conn := range d.conns {
			if conn.load == 0 {
				conn.leave()
			}
		}
		d.conns = nil
	}
}

// close ends every connection in order, as long as ctx allows.
func (p *pool) close(ctx context.Context) {
	p.mu.Lock()
	p.ended = true
	var all []*tunnelConn
	for _, d := range p.dests {
		all = append(all, d.conns...)
		d.conns = nil
	}
	p.mu.Unlock()
	var wg sync.WaitGroup
	for _, conn := range all {
		wg.Go(func() { conn.client.GoAway(ctx) })
	}
	wg.Wait()
}
