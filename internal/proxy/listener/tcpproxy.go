// SPDX-License-Identifier: Apache-2.0

package listener

import (
	"errors"

	"golang.org/x/net/http2/hpack"

	"github.com/ambient22/ambient22/internal/proxy/accesslog"
	"github.com/ambient22/ambient22/internal/proxy/config"
	"github.com/ambient22/ambient22/internal/proxy/netio"
	"github.com/ambient22/ambient22/internal/proxy/upstream"
)

// proxyTCP joins the connection with one of the cluster.
func (c *connection) proxyTCP(p *config.TCPProxy, r *record) {
	set := c.listener.set
	st := newTCPStats(set.o.Stats, p.StatPrefix)
	st.total.Inc()
	r.cluster = p.Cluster
	defer func() { c.logChain(p.AccessLogs, r) }()

	req := &upstream.Request{Override: c.override, Source: c.source}
	if c.restored {
		req.OriginalDst = c.local
	}
	var err error
	if p.Tunnel != nil {
		req.Tunnel, err = c.tunnel(p.Tunnel, r)
	}
	var up *upstream.Stream
	if err == nil {
		up, err = set.o.Clusters.Connect(set.ctx, p.Cluster, req)
	}
	if err != nil {
		r.fail(err, true)
		if r.flags == accesslog.FlagNoClusterFound {
			st.noRoute.Inc()
		}
		c.listener.log().Debug("no upstream connection", "remote", c.remoteText(), "local", c.localText(), "cluster", p.Cluster, "error", err)
		c.Reset()
		return
	}
	r.upstreamHost, r.upstreamLocal = up.Host, up.Local
	set.conns.add(up)
	defer set.conns.remove(up)
	r.pumped(netio.Pump(c.Conn, up, &set.buffers, &r.traffic))
	st.received.Add(r.traffic.Up.Load())
	st.sent.Add(r.traffic.Down.Load())
}

// tunnel fills in the CONNECT request for this connection. A header whose value
// is not known is left out; without a target there is no request.
func (c *connection) tunnel(t *config.Tunnel, r *record) (*upstream.Tunnel, error) {
	e := r.entry()
	host := string(t.Hostname.Append(nil, e))
	if host == "" || host == accesslog.Missing {
		return nil, errors.New("the tunnel's hostname is not known for this connection")
	}
	out := &upstream.Tunnel{Authority: host}
	for _, h := range t.Headers {
		value := string(h.Value.Append(nil, e))
		if value == "" || value == accesslog.Missing {
			continue
		}
		out.Header = append(out.Header, hpack.HeaderField{Name: h.Name, Value: value})
	}
	return out, nil
}

// fail notes why there was no upstream. tcp says that the TCP proxy tried: it
// counts its one attempt as the limit of its retries.
func (r *record) fail(err error, tcp bool) {
	var f *upstream.Failure
	if !errors.As(err, &f) {
		r.flags, r.failure = upstream.NoHost.Flag(), err.Error()
		return
	}
	r.flags, r.upstreamHost = f.Reason.Flag(), f.Host
	if f.Reason != upstream.ConnectFailed {
		return
	}
	if tcp {
		r.flags += "," + accesslog.FlagUpstreamRetryLimitExceeded
	}
	r.failure = f.Transport()
}
