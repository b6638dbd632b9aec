// SPDX-License-Identifier: Apache-2.0

package listener

import (
	"crypto/tls"
	"time"

	"google.golang.org/protobuf/types/known/structpb"

	"github.com/ambient22/ambient22/internal/hbone"
	"github.com/ambient22/ambient22/internal/proxy/accesslog"
	"github.com/ambient22/ambient22/internal/proxy/netio"
)

// record is what the access log says about a connection or a stream.
type record struct {
	c       *connection
	start   time.Time
	chain   string
	request *hbone.Request // nil: not HTTP
	tls     *tls.ConnectionState

	status         int
	flags, details string
	denied         string // why an RBAC filter said no
	failure        string // of the transport
	cluster, route string

	upstreamHost, upstreamLocal string

	metadata map[string]*structpb.Struct // replaced, never changed

	traffic netio.Traffic
	result  netio.Result
}

func (c *connection) record() *record {
	return &record{c: c, start: c.start, metadata: c.metadata}
}

// pumped notes how the exchange ended.
func (r *record) pumped(result netio.Result) { r.result = result }

// streamFlags notes who broke a stream off.
func (r *record) streamFlags() {
	switch {
	case r.result.DownstreamErr != nil:
		r.flags = accesslog.FlagDownstreamConnectionTerminated
	case r.result.UpstreamErr != nil:
		r.flags = accesslog.FlagUpstreamConnectionTermination
	}
}

// entry is the record in the access log's form.
func (r *record) entry() *accesslog.Entry {
	e := &accesslog.Entry{
		Start:                          r.start,
		Duration:                       time.Since(r.start),
		ResponseCode:                   r.status,
		ResponseFlags:                  r.flags,
		ResponseCodeDetails:            r.details,
		ConnectionTerminationDetails:   r.termination(),
		UpstreamTransportFailureReason: r.failure,
		BytesReceived:                  r.traffic.Up.Load(),
		BytesSent:                      r.traffic.Down.Load(),
		UpstreamHost:                   r.upstreamHost,
		UpstreamCluster:                r.cluster,
		UpstreamLocalAddress:           r.upstreamLocal,
		DownstreamLocalAddress:         r.c.localText(),
		DownstreamRemoteAddress:        r.c.remoteText(),
		RouteName:                      r.route,
		DynamicMetadata:                r.metadata,
	}
	if r.tls != nil {
		e.RequestedServerName = r.tls.ServerName
	}
	if r.request != nil {
		e.Protocol, e.RequestHeader = "HTTP/2", r.header
	}
	return e
}

// termination is why this proxy ended the connection; a request that is denied
// ends alone.
func (r *record) termination() string {
	if r.request != nil {
		return ""
	}
	return r.denied
}

// header is a header of the request, pseudo-headers included.
func (r *record) header(name string) string {
	value, _ := header(r.request, name)
	return value
}

func (c *connection) logChain(formats []*accesslog.Format, r *record) { c.log(formats, r) }

func (c *connection) logListener(r *record) { c.log(c.config.AccessLogs, r) }

func (c *connection) log(formats []*accesslog.Format, r *record) {
	if len(formats) == 0 {
		return
	}
	e := r.entry()
	for _, f := range formats {
		c.listener.set.o.AccessLog(f.Append(nil, e))
	}
}
