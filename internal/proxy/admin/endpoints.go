// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"fmt"

	adminv3 "github.com/envoyproxy/go-control-plane/envoy/admin/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/ambient22/ambient22/internal/proxy/state"
)

// overprovisioningFactor is Envoy's default, which its dump always prints.
const overprovisioningFactor = 140

// endpointsDump is the endpoints of the bootstrap's clusters and those that came
// over EDS. As in Envoy, what is printed is the hosts as the load balancer holds
// them, not the resource that was served, so defaults are filled in (listing 11)
// and there is no version.
func endpointsDump(s *state.Snapshot, keep filter) (*adminv3.EndpointsConfigDump, error) {
	out := &adminv3.EndpointsConfigDump{}
	for _, c := range s.Bootstrap.GetStaticResources().GetClusters() {
		if !keep(c.GetName()) || c.GetLoadAssignment() == nil {
			continue
		}
		packed, err := asHosts(c.GetLoadAssignment())
		if err != nil {
			return nil, err
		}
		out.StaticEndpointConfigs = append(out.StaticEndpointConfigs,
			&adminv3.EndpointsConfigDump_StaticEndpointConfig{EndpointConfig: packed})
	}
	for _, r := range s.Endpoints.Resources {
		if !keep(r.Name) || r.Active == nil || r.Active.Body == nil {
			continue
		}
		var served endpointv3.ClusterLoadAssignment
		if err := r.Active.Body.UnmarshalTo(&served); err != nil {
			return nil, fmt.Errorf("reading the endpoints of %s: %w", r.Name, err)
		}
		packed, err := asHosts(&served)
		if err != nil {
			return nil, err
		}
		out.DynamicEndpointConfigs = append(out.DynamicEndpointConfigs,
			&adminv3.EndpointsConfigDump_DynamicEndpointConfig{EndpointConfig: packed})
	}
	return out, nil
}

// asHosts is an assignment with everything in it that Envoy adds to a host.
func asHosts(served *endpointv3.ClusterLoadAssignment) (*anypb.Any, error) {
	a := proto.Clone(served).(*endpointv3.ClusterLoadAssignment)
	if a.Policy == nil {
		a.Policy = &endpointv3.ClusterLoadAssignment_Policy{}
	}
	if a.Policy.OverprovisioningFactor == nil {
		a.Policy.OverprovisioningFactor = wrapperspb.UInt32(overprovisioningFactor)
	}
	for _, locality := range a.GetEndpoints() {
		if locality.Locality == nil {
			locality.Locality = &corev3.Locality{}
		}
		for _, host := range locality.GetLbEndpoints() {
			fillHost(host)
		}
	}
	packed, err := anypb.New(a)
	if err != nil {
		return nil, fmt.Errorf("packing the endpoints of %s: %w", a.GetClusterName(), err)
	}
	return packed, nil
}

func fillHost(host *endpointv3.LbEndpoint) {
	if e := host.GetEndpoint(); e != nil && e.HealthCheckConfig == nil {
		e.HealthCheckConfig = &endpointv3.Endpoint_HealthCheckConfig{}
	}
	// Nothing checks these hosts, and an unchecked host counts as healthy.
	if host.GetHealthStatus() == corev3.HealthStatus_UNKNOWN {
		host.HealthStatus = corev3.HealthStatus_HEALTHY
	}
	if host.LoadBalancingWeight == nil {
		host.LoadBalancingWeight = wrapperspb.UInt32(1)
	}
}
