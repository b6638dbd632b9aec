// SPDX-License-Identifier: Apache-2.0

package envoyconfig

import (
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	"google.golang.org/protobuf/types/known/durationpb"
)

// waypointPair is cluster and endpoints of one waypoint as one caller sees it.
type waypointPair struct {
	cluster   *clusterv3.Cluster
	endpoints *endpointv3.ClusterLoadAssignment
}

// clientWaypoint leads an identity of this node to its own waypoint.
func (b *builder) clientWaypoint(c *caller, w *waypoint) waypointPair {
	return b.waypointPair(clientWaypointName(c.identity), c, w, waypointClientPort)
}

// serverWaypoint leads an identity of this node to any waypoint, whether or not a
// chain does.
func (b *builder) serverWaypoint(c *caller, w *waypoint) waypointPair {
	return b.waypointPair(serverWaypointName(c.identity, w.identity), c, w, waypointServerPort)
}

func (b *builder) waypointPair(name string, c *caller, w *waypoint, port uint16) waypointPair {
	tls := b.tunnelClientTLS(c.secret, b.peer(w.identity))
	return waypointPair{cluster: b.waypointCluster(name, tls), endpoints: waypointEndpoints(name, w, port)}
}

// waypointCluster balances over the pods of a waypoint, each at the end of a
// tunnel of its own.
func (b *builder) waypointCluster(name string, tls *corev3.TransportSocket) *clusterv3.Cluster {
	return &clusterv3.Cluster{
		Name:                          name,
		ClusterDiscoveryType:          &clusterv3.Cluster_Type{Type: clusterv3.Cluster_EDS},
		EdsClusterConfig:              b.edsConfig,
		LbPolicy:                      clusterv3.Cluster_ROUND_ROBIN,
		ConnectTimeout:                durationpb.New(tunnelConnectTimeout),
		TransportSocket:               tls,
		TypedExtensionProtocolOptions: b.tunnelHTTP,
	}
}

// waypointEndpoints are a waypoint's pods at one of its two ports.
func waypointEndpoints(cluster string, w *waypoint, port uint16) *endpointv3.ClusterLoadAssignment {
	lb := make([]*endpointv3.LbEndpoint, 0, len(w.pods))
	for _, ip := range w.pods {
		lb = append(lb, &endpointv3.LbEndpoint{HostIdentifier: at(socketAddress(ip.String(), uint32(port)))})
	}
	return &endpointv3.ClusterLoadAssignment{
		ClusterName: cluster,
		Endpoints:   []*endpointv3.LocalityLbEndpoints{{LbEndpoints: lb}},
	}
}
