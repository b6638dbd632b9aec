// SPDX-License-Identifier: Apache-2.0

package envoyconfig

import (
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	tcpproxyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	"google.golang.org/protobuf/types/known/anypb"
)

// targetHeader is the header in which the ztunnel at the end of a tunnel looks for
// the address it is for. The callers send both, so ztunnels of different dialects
// understand each other.
func targetHeader(d Dialect) string {
	if d == Upstream {
		return ":authority"
	}
	return originalDstHeader
}

// originalDstHeader tells the ztunnel at the other end which address the tunnel
// is for.
const originalDstHeader = "x-envoy-original-dst-host"

// tcpProxy sends a connection on to a cluster. place "" writes no log, a nil
// tunnel sends the bytes as they are.
func (b *builder) tcpProxy(stat, cluster, place string, tunnel *tcpproxyv3.TcpProxy_TunnelingConfig) []*listenerv3.Filter {
	proxy := &tcpproxyv3.TcpProxy{
		StatPrefix:       stat,
		ClusterSpecifier: &tcpproxyv3.TcpProxy_Cluster{Cluster: cluster},
		TunnelingConfig:  tunnel,
	}
	if place != "" {
		proxy.AccessLog = b.accessLog(place)
	}
	return []*listenerv3.Filter{networkFilter("envoy.filters.network.tcp_proxy", b.any(proxy))}
}

// tunnelByAddress opens a tunnel for the address that the client called.
func tunnelByAddress() *tcpproxyv3.TcpProxy_TunnelingConfig {
	return tunneling("%DOWNSTREAM_LOCAL_ADDRESS%", "%DOWNSTREAM_LOCAL_ADDRESS%")
}

// tunnelByMetadata opens a tunnel for the address in the endpoint's metadata,
// which internal_upstream hands over to the internal listener (listing 12).
// The upstream dialect has made it the connection's own address by then.
func tunnelByMetadata(d Dialect) *tcpproxyv3.TcpProxy_TunnelingConfig {
	if d == Upstream {
		return tunnelByAddress()
	}
	return tunneling("%DYNAMIC_METADATA(tunnel:destination)%", `%DYNAMIC_METADATA(["tunnel", "destination"])%`)
}

// tunnelToWaypoint opens a tunnel for the address that the client called and tells
// the waypoint which workload called, of which the certificate tells no more than
// the identity. The upstream dialect has no filter that knows.
func tunnelToWaypoint(d Dialect) *tcpproxyv3.TcpProxy_TunnelingConfig {
	t := tunnelByAddress()
	if d == Upstream {
		return t
	}
	t.HeadersToAdd = append(t.HeadersToAdd, header("baggage", `%DYNAMIC_METADATA(["`+MetadataName+`", "baggage"])%`))
	return t
}

func tunneling(hostname, address string) *tcpproxyv3.TcpProxy_TunnelingConfig {
	return &tcpproxyv3.TcpProxy_TunnelingConfig{
		Hostname:     hostname,
		HeadersToAdd: []*corev3.HeaderValueOption{header(originalDstHeader, address)},
	}
}

func header(name, value string) *corev3.HeaderValueOption {
	return &corev3.HeaderValueOption{Header: &corev3.HeaderValue{Key: name, Value: value}}
}

func networkFilter(name string, config *anypb.Any) *listenerv3.Filter {
	return &listenerv3.Filter{
		Name:       name,
		ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: config},
	}
}
