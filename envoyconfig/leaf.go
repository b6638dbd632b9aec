// SPDX-License-Identifier: Apache-2.0

package envoyconfig

import (
	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	tcpproxyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/types/known/anypb"
)

// builder makes messages in their typed form. It holds the parts that many of them
// share, which are built once and never changed.
type builder struct {
	packer
	matchInputs
	view    *view
	options Options

	logs          map[string][]*accesslogv3.AccessLog
	byAddress     *tcpproxyv3.TcpProxy_TunnelingConfig
	byMetadata    *tcpproxyv3.TcpProxy_TunnelingConfig
	toWaypoint    *tcpproxyv3.TcpProxy_TunnelingConfig
	fromMetadata  []*listenerv3.ListenerFilter
	edsConfig     *clusterv3.Cluster_EdsClusterConfig
	socketMatches []*clusterv3.Cluster_TransportSocketMatch
	tunnelHTTP    map[string]*anypb.Any
	meshPeers     *tlsv3.CommonTlsContext_CombinedValidationContext
	rules         ruleWriter
}

func newBuilder(v *view, o Options) *builder {
	b := &builder{
		view:       v,
		options:    o,
		logs:       map[string][]*accesslogv3.AccessLog{},
		byAddress:  tunnelByAddress(),
		byMetadata: tunnelByMetadata(o.Dialect),
		toWaypoint: tunnelToWaypoint(o.Dialect),
		edsConfig:  edsConfig(),
		meshPeers:  trusted(o.Dialect, meshPeers(v.snapshot.TrustDomain)),
		rules:      newRuleWriter(v.snapshot.TrustDomain, o),
	}
	b.matchInputs = newMatchInputs(&b.packer)
	b.fromMetadata = addressFromMetadata(&b.packer, o.Dialect)
	b.socketMatches = socketMatches(&b.packer, o.Dialect)
	b.tunnelHTTP = tunnelHTTP(&b.packer)
	return b
}
