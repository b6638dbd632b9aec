// SPDX-License-Identifier: Apache-2.0

package listener

import (
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"google.golang.org/protobuf/types/known/structpb"

	"github.com/ambient22/ambient22/internal/proxy/accesslog"
	"github.com/ambient22/ambient22/internal/proxy/config"
	"github.com/ambient22/ambient22/internal/proxy/netio"
)

// connection is one downstream connection and what is known about it.
type connection struct {
	netio.Conn
	listener *active
	config   *bound
	start    time.Time

	remote netip.AddrPort // zero: in-process
	local  netip.AddrPort // where it was sent, once restored
	// restored says that local is the original destination.
	restored bool
	// override is where an ORIGINAL_DST cluster connects to before local.
	override netip.AddrPort
	// localName and remoteName are what logs show where there is no address.
	localName, remoteName string

	source   *netio.Source               // original_src
	metadata map[string]*structpb.Struct // dynamic metadata, by namespace
	tls      *tls.ConnectionState
}

func (a *active) connection(conn netio.Conn) *connection {
	return &connection{Conn: conn, listener: a, config: a.config.Load(), start: time.Now()}
}

// accept takes connections until the socket is closed.
func (a *active) accept(ln *net.TCPListener) {
	var pause time.Duration
	for {
		tcp, err := ln.AcceptTCP()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			// No file descriptors left, most likely: others have to end first.
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			a.log().Error("accepting connection", "error", err, "retry_in", pause)
			if !a.set.wait(pause) {
				return
			}
			continue
		}
		pause = 0
		c := a.connection(netio.TCP{TCPConn: tcp})
		c.remote, c.local = netio.AddrPort(tcp.RemoteAddr()), netio.AddrPort(tcp.LocalAddr())
		a.set.latest.Store(c.start.UnixNano())
		a.set.running.Go(func() { a.serve(c) })
	}
}

// wait reports false where the set stopped meanwhile.
func (s *Set) wait(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-s.ctx.Done():
		return false
	}
}

func (a *active) log() *slog.Logger {
	return a.set.o.Logger.With("listener", a.config.Load().Name)
}

// serve runs a connection from its acceptance to its end.
func (a *active) serve(c *connection) {
	a.set.conns.add(c.Conn)
	defer a.set.conns.remove(c.Conn)
	a.stats.total.Inc()
	a.stats.active.Inc()
	defer a.stats.active.Dec()
	defer a.stats.destroyed.Inc()
	if err := c.runFilters(); err != nil {
		a.log().Warn("closing connection", "remote", c.remoteText(), "local", c.localText(), "error", err)
		c.logListener(c.record()) // Envoy, too, logs what its listener filters turn away
		c.Close()
		return
	}
	if c.config.UseOriginalDst && c.restored {
		if other := a.set.at(c.local); other != nil && other != a {
			c.listener, c.config = other, other.config.Load()
		}
	}
	c.runChain()
}

// runChain hands the connection to its filter chain.
func (c *connection) runChain() {
	r := c.record()
	chain := c.config.FindChain(c.remote, c.local)
	if chain == nil {
		c.listener.stats.noChain.Inc()
		r.flags, r.details = accesslog.FlagNoRouteFound, "filter_chain_not_found"
		c.logListener(r)
		c.Close()
		return
	}
	r.chain = chain.Name
	if chain.TLS != nil {
		if err := c.secure(chain.TLS); err != nil {
			c.listener.stats.tlsErrors.Inc()
			c.listener.log().Warn("refusing TLS connection", "remote", c.remoteText(), "local", c.localText(), "chain", chain.Name, "error", err)
			r.failure = err.Error()
			c.logListener(r)
			c.Close()
			return
		}
		r.tls = c.tls
	}
	switch {
	case !c.admit(chain.RBAC, r):
		c.deny(chain, r)
	case chain.HTTP != nil:
		c.serveHTTP(chain, r)
	default:
		c.proxyTCP(chain.TCP, r)
	}
	c.logListener(r)
}

// deny closes a connection that an RBAC filter does not let in. The TCP proxy
// behind that filter logs it, too; a connection manager logs requests only.
func (c *connection) deny(chain *config.FilterChain, r *record) {
	c.Close()
	if chain.TCP != nil {
		r.cluster = chain.TCP.Cluster
		c.logChain(chain.TCP.AccessLogs, r)
	}
}

func (c *connection) remoteText() string { return addressText(c.remote, c.remoteName) }
func (c *connection) localText() string  { return addressText(c.local, c.localName) }

func addressText(a netip.AddrPort, name string) string {
	if a.IsValid() {
		return a.String()
	}
	return name
}

var errNoExtension = errors.New("the configuration of a listener filter has not arrived")

// runFilters runs the listener filters in order.
func (c *connection) runFilters() error {
	for _, f := range c.config.Filters {
		switch f.Kind {
		case config.OriginalDst:
			c.restore()
		case config.OriginalSrc:
			if c.remote.IsValid() {
				c.source = &netio.Source{Addr: c.remote.Addr(), Mark: f.Mark}
			}
		case config.SetDstAddress:
			c.setDst()
		case config.WorkloadMetadata:
			w := c.listener.set.o.Workloads(f.Discovery.Name)
			if w == nil {
				c.listener.stats.noExtension.Inc()
				return errNoExtension
			}
			c.identify(w)
		}
	}
	return nil
}

// restore finds where the connection was sent before it was redirected here. An
// in-process connection tells by its metadata.
func (c *connection) restore() {
	tcp, ok := c.Conn.(netio.TCP)
	if !ok {
		c.restoreInternal()
		return
	}
	if dst, ok := netio.OriginalDst(tcp.TCPConn); ok {
		c.local, c.restored = dst, true
	}
}
