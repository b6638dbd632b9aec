// SPDX-License-Identifier: Apache-2.0

package envoyconfig

import (
	"cmp"
	"fmt"
	"slices"

	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	tcpproxyv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/tcp_proxy/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/ambient22/ambient22/internal/mesh"
)

// Build makes everything that one node's ztunnel is served, from nothing. Every
// message has passed its own validation and the whole is consistent; otherwise the
// error names the resource that isn't, and nothing is returned.
func Build(s *mesh.Snapshot, o Options) (*Resources, error) {
	return NewBuilder(o).Update(s, o.ProxyID)
}

func build(s *mesh.Snapshot, o Options) (*Resources, error) {
	if err := o.check(); err != nil {
		return nil, fmt.Errorf("building resources: %w", err)
	}
	v, err := newView(s, o.Node)
	if err != nil {
		return nil, fmt.Errorf("building resources: %w", err)
	}
	b := newBuilder(v, o)
	r := &Resources{Secrets: v.secrets}
	for _, build := range []func(*Resources) error{b.addListeners, b.addStaticAndTunnels, b.addWaypoints, b.addServices, b.addExtensions} {
		if err := build(r); err != nil {
			return nil, err
		}
	}
	r.sort()
	if err := r.Verify(); err != nil {
		return nil, fmt.Errorf("building resources: %w", err)
	}
	return r, nil
}

// builder holds the parts that many resources share. They are built once and
// never changed.
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
	policies      *policyFilters
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
	}
	b.policies = newPolicyFilters(&b.packer, v.snapshot, o.Dialect == Istio116)
	b.matchInputs = newMatchInputs(&b.packer)
	b.fromMetadata = addressFromMetadata(&b.packer, o.Dialect)
	b.socketMatches = socketMatches(&b.packer, o.Dialect)
	b.tunnelHTTP = tunnelHTTP(&b.packer)
	return b
}

func (b *builder) addListeners(r *Resources) error {
	listeners := []*listenerv3.Listener{b.outboundListener(), b.inboundListener(), b.plaintextListener()}
	for _, identity := range b.view.identities {
		listeners = append(listeners, b.tunnelListeners(identity)...)
	}
	for _, l := range listeners {
		done, err := b.resource(l.Name, l)
		if err != nil {
			return err
		}
		r.Listeners = append(r.Listeners, done)
	}
	return nil
}

func (b *builder) addStaticAndTunnels(r *Resources) error {
	clusters := b.staticClusters()
	for _, c := range b.view.callers {
		clusters = append(clusters, b.tunnelClusters(c)...)
	}
	for _, c := range clusters {
		done, err := b.resource(c.Name, c)
		if err != nil {
			return err
		}
		r.Clusters = append(r.Clusters, done)
	}
	return nil
}

func (b *builder) addWaypoints(r *Resources) error {
	for i := range b.view.callers {
		for _, pair := range b.waypointPairs(&b.view.callers[i]) {
			cluster, err := b.resource(pair.cluster.Name, pair.cluster)
			if err != nil {
				return err
			}
			endpoints, err := b.resource(pair.cluster.Name, pair.endpoints)
			if err != nil {
				return err
			}
			r.Clusters = append(r.Clusters, cluster)
			r.Endpoints = append(r.Endpoints, endpoints)
		}
	}
	return nil
}

// addServices builds cluster and endpoints for every identity of the mesh, service
// and port. 2022 did so for identities of other nodes too, which nobody here calls.
func (b *builder) addServices(r *Resources) error {
	for _, s := range b.view.services {
		for i := range s.Ports {
			if err := b.addPort(r, s, &s.Ports[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

func (b *builder) addPort(r *Resources, s *mesh.Service, p *mesh.ServicePort) error {
	targets := b.targets(p)
	for _, identity := range b.view.identities {
		name := serviceName(identity, s, p)
		cluster, err := b.resource(name, b.serviceCluster(name))
		if err != nil {
			return err
		}
		endpoints, err := b.resource(name, b.endpoints(name, identity, targets))
		if err != nil {
			return err
		}
		r.Clusters = append(r.Clusters, cluster)
		r.Endpoints = append(r.Endpoints, endpoints)
	}
	return nil
}

func (b *builder) addExtensions(r *Resources) error {
	if b.options.Dialect == Upstream {
		return nil // has no listener filter that would ask for it
	}
	m := b.workloadMetadata()
	done, err := b.resource(m.Name, m)
	if err != nil {
		return err
	}
	r.Extensions = append(r.Extensions, done)
	return nil
}

func (r *Resources) sort() {
	for _, kind := range r.kinds() {
		slices.SortFunc(kind, func(a, b *Resource) int { return cmp.Compare(a.Name, b.Name) })
	}
}
