// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"strings"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	internalv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/internal_upstream/v3"
	rawbufferv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/raw_buffer/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	httpv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/upstreams/http/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"
)

// ClusterType says where a cluster's hosts come from.
type ClusterType int

// The cluster types.
const (
	Static      ClusterType = iota // the resource itself, often none at all
	EDS                            // ADS
	ToOriginDst                    // the connection's own destination
)

// DefaultOriginalDstHeader names the destination where a cluster takes it from
// a header.
const DefaultOriginalDstHeader = "x-envoy-original-dst-host"

// Cluster is a cluster ready to be executed.
type Cluster struct {
	Name            string
	Type            ClusterType
	ConnectTimeout  time.Duration
	CleanupInterval time.Duration

	Hosts      []Host        // Static
	EDSName    string        // EDS: the name of the assignment
	EDSTimeout time.Duration // EDS: how long the cluster waits for it; 0: for ever

	DstHeader    string // ToOriginDst: the header with the destination, lower case; "" for none
	PortOverride uint16 // ToOriginDst; 0 for none

	Socket  TransportSocket
	Matches []SocketMatch
	HTTP2   *HTTP2 // not nil: the cluster's hosts speak HTTP/2, which tunnels need
}

// TransportSocket is what a connection runs over; the zero value is plain bytes.
type TransportSocket struct {
	TLS *UpstreamTLS
	// Passthrough are the host metadata that an internal connection takes along.
	Passthrough []string
}

// SocketMatch chooses a transport socket by an endpoint's metadata.
type SocketMatch struct {
	Name   string
	Match  *structpb.Struct
	Socket TransportSocket
}

// Secrets are the secrets that the cluster needs.
func (c *Cluster) Secrets() []SecretRef {
	var refs []SecretRef
	if c.Socket.TLS != nil {
		refs = c.Socket.TLS.secrets()
	}
	for _, m := range c.Matches {
		if m.Socket.TLS != nil {
			refs = append(refs, m.Socket.TLS.secrets()...)
		}
	}
	return refs
}

// SocketFor is the transport socket for a host: the first match whose every
// field the host's metadata has, else the cluster's own.
func (c *Cluster) SocketFor(h *Host) *TransportSocket {
	for i := range c.Matches {
		if h.fulfils(c.Matches[i].Match) {
			return &c.Matches[i].Socket
		}
	}
	return &c.Socket
}

func (h *Host) fulfils(match *structpb.Struct) bool {
	have := h.Metadata[socketMatchMetadata].GetFields()
	for k, want := range match.GetFields() {
		if !proto.Equal(have[k], want) {
			return false
		}
	}
	return true
}

// Cluster decodes a cluster.
func (d *Decoder) Cluster(body *anypb.Any) (*Cluster, error) {
	var m clusterv3.Cluster
	if err := d.unpack(body, &m); err != nil {
		return nil, err
	}
	c := &Cluster{Name: m.GetName()}
	var err error
	if c.ConnectTimeout, err = duration(m.GetConnectTimeout(), defaultConnectTimeout); err != nil {
		return nil, in(err, "connect_timeout")
	}
	if c.CleanupInterval, err = duration(m.GetCleanupInterval(), defaultCleanupInterval); err != nil {
		return nil, in(err, "cleanup_interval")
	}
	if err := d.hosts(c, &m); err != nil {
		return nil, err
	}
	if err := d.sockets(c, &m); err != nil {
		return nil, err
	}
	if err := protocolOptions(c, m.GetTypedExtensionProtocolOptions()); err != nil {
		return nil, in(err, "typed_extension_protocol_options")
	}
	if c.HTTP2 != nil && len(c.Matches) > 0 {
		// The shared connections know the cluster's own socket only.
		return nil, errors.New("transport_socket_matches: not supported in a cluster that speaks HTTP/2")
	}
	return c, nil
}

// hosts reads where the hosts come from, and refuses what belongs to another
// type of cluster.
func (d *Decoder) hosts(c *Cluster, m *clusterv3.Cluster) error {
	original := m.GetType() == clusterv3.Cluster_ORIGINAL_DST
	if original != (m.GetLbPolicy() == clusterv3.Cluster_CLUSTER_PROVIDED) {
		return fmt.Errorf("lb_policy: %s does not go with type %s", m.GetLbPolicy(), m.GetType())
	}
	if m.GetOriginalDstLbConfig() != nil && !original {
		return errors.New("original_dst_lb_config: only for type ORIGINAL_DST")
	}
	if (m.GetEdsClusterConfig() != nil) != (m.GetType() == clusterv3.Cluster_EDS) {
		return errors.New("eds_cluster_config: needed for type EDS, and only there")
	}
	if m.GetLoadAssignment() != nil && m.GetType() != clusterv3.Cluster_STATIC {
		return errors.New("load_assignment: only for type STATIC")
	}
	var err error
	switch m.GetType() {
	case clusterv3.Cluster_EDS:
		c.Type, c.EDSName = EDS, m.GetEdsClusterConfig().GetServiceName()
		if c.EDSName == "" {
			c.EDSName = c.Name
		}
		if c.EDSTimeout, err = ads(m.GetEdsClusterConfig().GetEdsConfig()); err != nil {
			return in(err, "eds_cluster_config.eds_config")
		}
	case clusterv3.Cluster_ORIGINAL_DST:
		c.Type = ToOriginDst
		return originalDst(c, m.GetOriginalDstLbConfig())
	default:
		c.Type = Static
		if c.Hosts, err = hosts(m.GetLoadAssignment()); err != nil {
			return in(err, "load_assignment")
		}
	}
	return nil
}

func originalDst(c *Cluster, m *clusterv3.Cluster_OriginalDstLbConfig) error {
	switch {
	case m.GetUseHttpHeader() && m.GetHttpHeaderName() != "":
		c.DstHeader = strings.ToLower(m.GetHttpHeaderName())
	case m.GetUseHttpHeader():
		c.DstHeader = DefaultOriginalDstHeader
	case m.GetHttpHeaderName() != "":
		return errors.New("original_dst_lb_config.http_header_name: needs use_http_header")
	}
	port := m.GetUpstreamPortOverride().GetValue()
	if port > 65535 {
		return fmt.Errorf("original_dst_lb_config.upstream_port_override: %d is not a port", port)
	}
	c.PortOverride = uint16(port)
	return nil
}

func (d *Decoder) sockets(c *Cluster, m *clusterv3.Cluster) error {
	var err error
	if c.Socket, err = d.socket(m.GetTransportSocket()); err != nil {
		return in(err, "transport_socket")
	}
	for i, sm := range m.GetTransportSocketMatches() {
		s, err := d.socket(sm.GetTransportSocket())
		if err != nil {
			return in(err, "transport_socket_matches[%d].transport_socket", i)
		}
		c.Matches = append(c.Matches, SocketMatch{Name: sm.GetName(), Match: sm.GetMatch(), Socket: s})
	}
	return nil
}

func (d *Decoder) socket(ts *corev3.TransportSocket) (TransportSocket, error) {
	if ts == nil {
		return TransportSocket{}, nil
	}
	msg, err := ts.GetTypedConfig().UnmarshalNew()
	if err != nil {
		return TransportSocket{}, in(err, "typed_config")
	}
	switch t := msg.(type) {
	case *rawbufferv3.RawBuffer:
		return TransportSocket{}, nil
	case *tlsv3.UpstreamTlsContext:
		tls, err := d.upstreamTLS(t)
		if err != nil {
			return TransportSocket{}, in(err, "typed_config")
		}
		return TransportSocket{TLS: tls}, nil
	case *internalv3.InternalUpstreamTransport:
		return internalUpstream(t)
	}
	return TransportSocket{}, fmt.Errorf("typed_config: type %q is not supported here", ts.GetTypedConfig().GetTypeUrl())
}

func internalUpstream(m *internalv3.InternalUpstreamTransport) (TransportSocket, error) {
	var s TransportSocket
	if !isRawBuffer(m.GetTransportSocket()) {
		return s, errors.New("typed_config.transport_socket: only raw_buffer is supported here")
	}
	for i, src := range m.GetPassthroughMetadata() {
		if src.GetKind().GetHost() == nil {
			return s, fmt.Errorf("typed_config.passthrough_metadata[%d].kind: only host is supported", i)
		}
		s.Passthrough = append(s.Passthrough, src.GetName())
	}
	return s, nil
}

func protocolOptions(c *Cluster, options map[string]*anypb.Any) error {
	for key, a := range options {
		if key != httpProtocolOptionsID {
			return fmt.Errorf("%q is not supported", key)
		}
		m, err := message[*httpv3.HttpProtocolOptions](a, key)
		if err != nil {
			return err
		}
		if h2 := m.GetExplicitHttpConfig().GetHttp2ProtocolOptions(); h2 != nil {
			limits := http2Limits(h2)
			c.HTTP2 = &limits
		}
		// use_downstream_protocol_config follows the downstream's HTTP version;
		// a TCP connection has none, and nothing else gets to such a cluster.
	}
	return nil
}
