// SPDX-License-Identifier: Apache-2.0

package listener

import (
	"context"
	"crypto/tls"
	"net"
	"strings"
	"time"

	"golang.org/x/net/http2/hpack"

	"github.com/ambient22/ambient22/internal/hbone"
	"github.com/ambient22/ambient22/internal/proxy/accesslog"
	"github.com/ambient22/ambient22/internal/proxy/config"
	"github.com/ambient22/ambient22/internal/proxy/netio"
	"github.com/ambient22/ambient22/internal/proxy/rbac"
	"github.com/ambient22/ambient22/internal/proxy/upstream"
)

// serveHTTP speaks HTTP/2 on the connection and serves its CONNECT requests.
func (c *connection) serveHTTP(chain *config.FilterChain, r *record) {
	set := c.listener.set
	h := &httpManager{c: c, cfg: chain.HTTP, facts: c.facts(), chain: chain.Name, stats: newHTTPStats(set.o.Stats, chain.HTTP.StatPrefix)}
	h.stats.connections.Inc()
	h.stats.active.Inc()
	defer h.stats.active.Dec()
	c.logPeer(chain.Name)
	conn, ok := c.Conn.(net.Conn)
	if !ok {
		// An in-process connection carries no HTTP in any configuration here.
		c.Reset()
		return
	}
	limits := chain.HTTP.HTTP2
	cfg := hbone.Config{
		MaxStreams: limits.MaxStreams, StreamWindow: limits.StreamWindow, ConnWindow: limits.ConnWindow,
		// At the end of the set its own patience counts.
		KeepAlive: serverKeepAlive, DrainTimeout: -1,
	}
	ctx, leave := c.listener.enter(c, chain)
	defer leave()
	err := hbone.Serve(ctx, conn, cfg, func(request context.Context, req *hbone.Request) {
		if ctx.Err() != nil {
			// It crossed our GOAWAY on the way. Another connection will take it.
			req.Refuse()
			return
		}
		h.handle(request, req)
	})
	c.listener.log().Debug("tunnel connection ended", "remote", c.remoteText(), "local", c.localText(), "error", err)
}

// serverKeepAlive finds clients that vanished; clients ask more often.
const serverKeepAlive = time.Minute

// logPeer tells who the peer is, as the handshake showed it.
func (c *connection) logPeer(chain string) {
	alpn, version, identity := "", "", ""
	if c.tls != nil {
		alpn, version = c.tls.NegotiatedProtocol, tls.VersionName(c.tls.Version)
		if len(c.tls.PeerCertificates) > 0 {
			if names := config.URINames(c.tls.PeerCertificates[0]); len(names) > 0 {
				identity = names[0]
			}
		}
	}
	c.listener.log().Info("accepted tunnel connection", "remote", c.remoteText(), "local", c.localText(), "chain", chain,
		"alpn", alpn, "tls_version", version, "peer_identity", identity)
}

// httpManager serves the requests of one connection.
type httpManager struct {
	c     *connection
	cfg   *config.HTTP
	facts *rbac.Request // what all requests have in common
	chain string
	stats httpStats
}

// handle serves one request.
func (h *httpManager) handle(ctx context.Context, req *hbone.Request) {
	h.stats.requests.Inc()
	h.stats.requestsActive.Inc()
	defer h.stats.requestsActive.Dec()
	r := h.c.record()
	r.start, r.chain, r.request, r.tls = time.Now(), h.chain, req, h.c.tls
	defer func() { h.c.logChain(h.cfg.AccessLogs, r) }()
	header := func(name string) (string, bool) { return header(req, name) }
	switch {
	case req.Protocol != "":
		// An upgrade other than CONNECT that no upgrade_configs names.
		h.reject(req, r, 403, "", "upgrade_failed")
	case !h.admit(header, r):
		h.deny(req, r)
	case req.Method != "CONNECT" || !h.cfg.Route.Matches(header):
		h.stats.noRoute.Inc()
		h.reject(req, r, 404, accesslog.FlagNoRouteFound, "route_not_found")
	default:
		h.connect(ctx, req, r)
	}
}

func (h *httpManager) reject(req *hbone.Request, r *record, status int, flags, details string) {
	r.status, r.flags, r.details = status, flags, details
	h.stats.answered(status)
	if err := req.Reject(status, nil); err != nil {
		r.flags = accesslog.FlagDownstreamConnectionTerminated
	}
}

// deny answers a request that an RBAC filter does not let in.
func (h *httpManager) deny(req *hbone.Request, r *record) {
	r.status, r.details = 403, r.denied
	h.stats.answered(403)
	plain := []hpack.HeaderField{{Name: "content-type", Value: "text/plain"}}
	if err := req.RejectText(403, plain, "RBAC: access denied"); err != nil {
		r.flags = accesslog.FlagDownstreamConnectionTerminated
	}
}

// header is a header of the request, pseudo-headers included, and whether it is
// there. One that was sent more than once has its values joined by commas, as
// Envoy's matchers see it. Everybody here sees it so, the cluster that takes its
// destination from it as well: where one sees the first value and another all of
// them, a second value smuggles the first past whoever guards it.
func header(req *hbone.Request, name string) (string, bool) {
	if strings.HasPrefix(name, ":") {
		value := req.Get(name)
		return value, value != ""
	}
	var values []string
	for _, f := range req.Header {
		if f.Name == name {
			values = append(values, f.Value)
		}
	}
	return strings.Join(values, ","), len(values) > 0
}

// connect joins a CONNECT request with a connection of the cluster. The answer
// waits for that connection, as in Envoy.
func (h *httpManager) connect(ctx context.Context, req *hbone.Request, r *record) {
	c, set := h.c, h.c.listener.set
	cluster := h.cfg.Route.Cluster
	r.cluster, r.route = cluster, h.cfg.Route.Name
	up := &upstream.Request{Header: r.header, Source: c.source, Override: c.override}
	if c.restored {
		up.OriginalDst = c.local
	}
	s, err := set.o.Clusters.Connect(ctx, cluster, up)
	if err != nil {
		r.fail(err, false)
		h.reject(req, r, 503, r.flags, failureDetails[r.flags])
		c.listener.log().Debug("no upstream for tunnel", "remote", c.remoteText(), "authority", req.Authority, "cluster", cluster, "error", err)
		return
	}
	r.upstreamHost, r.upstreamLocal = s.Host, s.Local
	down, err := req.Accept(200, []hpack.HeaderField{})
	if err != nil {
		r.flags = accesslog.FlagDownstreamConnectionTerminated
		s.Reset()
		s.Close()
		return
	}
	r.status, r.details = 200, "via_upstream"
	h.stats.answered(200)
	stream := upstream.TunnelStream{Stream: down}
	set.conns.add(s)
	defer set.conns.remove(s)
	r.pumped(netio.Pump(stream, s, &set.buffers, &r.traffic))
	r.streamFlags()
}

// failureDetails is what Envoy writes as RESPONSE_CODE_DETAILS of a 503, by flag.
var failureDetails = map[string]string{
	accesslog.FlagNoClusterFound:            "cluster_not_found",
	accesslog.FlagNoHealthyUpstream:         "no_healthy_upstream",
	accesslog.FlagUpstreamConnectionFailure: "upstream_reset_before_response_started{connection_failure}",
}
