// SPDX-License-Identifier: Apache-2.0

package xds

import (
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	secretv3 "github.com/envoyproxy/go-control-plane/envoy/service/secret/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/peer"
)

// The services, as they are called in metrics and status.
const (
	adsService = "ADS"
	sdsService = "SDS"
)

// services are the gRPC services of one listener. FetchSecrets, the polling form
// of SDS, stays unimplemented: no ztunnel is configured for it.
type services struct {
	discoveryv3.UnimplementedAggregatedDiscoveryServiceServer
	secretv3.UnimplementedSecretDiscoveryServiceServer

	server *Server
	stop   <-chan struct{} // closed when the listener's streams are to end
}

// StreamAggregatedResources implements ADS as state of the world.
func (v *services) StreamAggregatedResources(rpc discoveryv3.AggregatedDiscoveryService_StreamAggregatedResourcesServer) error {
	return v.serve(rpc, adsService, newSotwDialect())
}

// DeltaAggregatedResources implements ADS as delta.
func (v *services) DeltaAggregatedResources(rpc discoveryv3.AggregatedDiscoveryService_DeltaAggregatedResourcesServer) error {
	return v.serve(rpc, adsService, deltaDialect{})
}

// StreamSecrets implements SDS as state of the world.
func (v *services) StreamSecrets(rpc secretv3.SecretDiscoveryService_StreamSecretsServer) error {
	return v.serve(rpc, sdsService, newSotwDialect())
}

// DeltaSecrets implements SDS as delta.
func (v *services) DeltaSecrets(rpc secretv3.SecretDiscoveryService_DeltaSecretsServer) error {
	return v.serve(rpc, sdsService, deltaDialect{})
}

func (v *services) serve(rpc grpc.ServerStream, service string, d dialect) error {
	var who Peer
	if p, ok := peer.FromContext(rpc.Context()); ok {
		if info, ok := p.AuthInfo.(peerInfo); ok {
			who = info.Peer
		}
	}
	s := v.server.open(rpc, service, d, who)
	defer v.server.close(s)
	return s.run(v.stop)
}
