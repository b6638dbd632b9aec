// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	filelogv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/file/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	networkrbacv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/rbac/v3"
	tcpproxyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/ambient22/ambient22/internal/proxy/accesslog"
	"github.com/ambient22/ambient22/internal/proxy/rbac"
	"github.com/ambient22/ambient22/internal/proxy/strict"
)

// FilterChain is what happens to a connection that matched it. Exactly one of
// TCP and HTTP is set.
type FilterChain struct {
	Name string
	TLS  *DownstreamTLS // nil: plain bytes
	RBAC []*rbac.Filter // asked in this order before all else
	TCP  *TCPProxy
	HTTP *HTTP

	prefixes []netip.Prefix // of the destination; none: every address
}

// TCPProxy forwards a connection's bytes to a cluster.
type TCPProxy struct {
	StatPrefix string
	Cluster    string
	Tunnel     *Tunnel // nil: the bytes themselves; else inside a CONNECT request
	AccessLogs []*accesslog.Format
}

// Tunnel describes the CONNECT request that a connection's bytes travel in.
type Tunnel struct {
	Hostname *accesslog.Format // gives :authority
	Headers  []Header
}

// Header is a request header whose value is filled in per connection.
type Header struct {
	Name  string // lower case
	Value *accesslog.Format
}

// chainDecoder decodes the chains of one listener.
type chainDecoder struct {
	*Decoder
	check *strict.Checker
	known map[digest]*FilterChain // of the listener's last version
	// logs are the formats of access logs, by the wire form of their
	// configuration. There are a few of them, repeated in every chain.
	logs map[string]*accesslog.Format
	// formats are those of tunnels, by their text.
	formats map[string]*accesslog.Format
}

func (c *chainDecoder) chain(m *listenerv3.FilterChain) (*FilterChain, error) {
	chain := &FilterChain{Name: m.GetName()}
	for i, r := range m.GetFilterChainMatch().GetPrefixRanges() {
		p, err := prefix(r)
		if err != nil {
			return nil, in(err, "filter_chain_match.prefix_ranges[%d]", i)
		}
		chain.prefixes = append(chain.prefixes, p)
	}
	for i, f := range m.GetFilters() {
		if chain.terminated() {
			return nil, fmt.Errorf("filters[%d]: stands behind a terminal filter", i)
		}
		if err := c.filter(chain, f.GetTypedConfig()); err != nil {
			return nil, in(err, "filters[%d].typed_config", i)
		}
	}
	if !chain.terminated() {
		return nil, errors.New("filters: there is no terminal filter")
	}
	ts := m.GetTransportSocket()
	if ts == nil || isRawBuffer(ts) {
		return chain, nil
	}
	ctx, err := message[*tlsv3.DownstreamTlsContext](ts.GetTypedConfig(), "transport_socket.typed_config")
	if err != nil {
		return nil, err
	}
	if chain.TLS, err = c.downstreamTLS(ctx); err != nil {
		return nil, in(err, "transport_socket.typed_config")
	}
	return chain, nil
}

// terminated reports whether there is a filter that nothing can follow.
func (f *FilterChain) terminated() bool { return f.TCP != nil || f.HTTP != nil }

func (c *chainDecoder) filter(chain *FilterChain, a *anypb.Any) error {
	msg, err := c.check.Message(a)
	if err != nil {
		return err
	}
	switch t := msg.(type) {
	case *tcpproxyv3.TcpProxy:
		chain.TCP, err = c.tcpProxy(t)
	case *hcmv3.HttpConnectionManager:
		chain.HTTP, err = c.http(t)
	case *networkrbacv3.RBAC:
		var f *rbac.Filter
		f, err = networkRBAC(t)
		chain.RBAC = append(chain.RBAC, f)
	default:
		err = fmt.Errorf("type %q is not supported here", a.GetTypeUrl())
	}
	return err
}

func (c *chainDecoder) tcpProxy(m *tcpproxyv3.TcpProxy) (*TCPProxy, error) {
	p := &TCPProxy{StatPrefix: m.GetStatPrefix(), Cluster: m.GetCluster()}
	var err error
	if p.AccessLogs, err = c.accessLogs(m.GetAccessLog()); err != nil {
		return nil, err
	}
	if t := m.GetTunnelingConfig(); t != nil {
		if p.Tunnel, err = c.tunnel(t); err != nil {
			return nil, in(err, "tunneling_config")
		}
	}
	return p, nil
}

func (c *chainDecoder) tunnel(m *tcpproxyv3.TcpProxy_TunnelingConfig) (*Tunnel, error) {
	host, err := c.format(m.GetHostname())
	if err != nil {
		return nil, in(err, "hostname")
	}
	t := &Tunnel{Hostname: host}
	for i, h := range m.GetHeadersToAdd() {
		name := strings.ToLower(h.GetHeader().GetKey())
		if strings.HasPrefix(name, ":") || name == "host" {
			return nil, fmt.Errorf("headers_to_add[%d].header.key: %s cannot be added", i, name)
		}
		value, err := c.format(h.GetHeader().GetValue())
		if err != nil {
			return nil, in(err, "headers_to_add[%d].header.value", i)
		}
		t.Headers = append(t.Headers, Header{Name: name, Value: value})
	}
	return t, nil
}

func (c *chainDecoder) accessLogs(logs []*accesslogv3.AccessLog) ([]*accesslog.Format, error) {
	var out []*accesslog.Format
	for i, l := range logs {
		f, ok := c.logs[string(l.GetTypedConfig().GetValue())]
		if !ok {
			var err error
			if f, err = c.accessLog(l.GetTypedConfig()); err != nil {
				return nil, in(err, "access_log[%d].typed_config", i)
			}
		}
		out = append(out, f)
	}
	return out, nil
}

// accessLog reads the one kind of log there is.
func (c *chainDecoder) accessLog(a *anypb.Any) (*accesslog.Format, error) {
	msg, err := a.UnmarshalNew()
	if err != nil {
		return nil, err
	}
	file, ok := msg.(*filelogv3.FileAccessLog)
	if !ok {
		return nil, fmt.Errorf("type %q is not supported here", a.GetTypeUrl())
	}
	const field = "log_format.text_format_source.inline_string"
	text := file.GetLogFormat().GetTextFormatSource().GetInlineString()
	if text == "" {
		return nil, errors.New(field + ": is missing")
	}
	f, err := accesslog.Parse(text)
	if err != nil {
		return nil, in(err, field)
	}
	if c.logs == nil {
		c.logs = make(map[string]*accesslog.Format)
	}
	c.logs[string(a.GetValue())] = f
	return f, nil
}

func (c *chainDecoder) format(text string) (*accesslog.Format, error) {
	if f, ok := c.formats[text]; ok {
		return f, nil
	}
	f, err := accesslog.Parse(text)
	if err != nil {
		return nil, err
	}
	if c.formats == nil {
		c.formats = make(map[string]*accesslog.Format)
	}
	c.formats[text] = f
	return f, nil
}
