// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"cmp"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"

	adminv3 "github.com/envoyproxy/go-control-plane/envoy/admin/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"

	"github.com/ambient22/ambient22/internal/proxy/state"
)

// clusters answers /clusters.
func (s *server) clusters(w http.ResponseWriter, r *http.Request) {
	statuses, err := clusterStatuses(s.Source.State())
	if err != nil {
		text(w, http.StatusInternalServerError, err.Error()+"\n")
		return
	}
	if r.URL.Query().Get("format") == "json" {
		replyJSON(w, &adminv3.Clusters{ClusterStatuses: statuses})
		return
	}
	text(w, http.StatusOK, clustersText(statuses))
}

// clusterStatuses is the clusters in use with the hosts they were given.
func clusterStatuses(s *state.Snapshot) ([]*adminv3.ClusterStatus, error) {
	hosts := make(map[string][]*adminv3.HostStatus)
	for _, r := range s.Endpoints.Resources {
		if r.Active == nil || r.Active.Body == nil {
			continue
		}
		var a endpointv3.ClusterLoadAssignment
		if err := r.Active.Body.UnmarshalTo(&a); err != nil {
			return nil, fmt.Errorf("reading the endpoints of %s: %w", r.Name, err)
		}
		hosts[r.Name] = hostStatuses(&a)
	}
	var out []*adminv3.ClusterStatus
	for _, c := range s.Bootstrap.GetStaticResources().GetClusters() {
		out = append(out, &adminv3.ClusterStatus{Name: c.GetName(), HostStatuses: hostStatuses(c.GetLoadAssignment())})
	}
	for _, r := range s.Clusters.Resources {
		if r.Active != nil {
			out = append(out, &adminv3.ClusterStatus{Name: r.Name, AddedViaApi: true, HostStatuses: hosts[r.Name]})
		}
	}
	slices.SortFunc(out, func(a, b *adminv3.ClusterStatus) int { return cmp.Compare(a.Name, b.Name) })
	return out, nil
}

func hostStatuses(a *endpointv3.ClusterLoadAssignment) []*adminv3.HostStatus {
	var out []*adminv3.HostStatus
	for _, locality := range a.GetEndpoints() {
		for _, host := range locality.GetLbEndpoints() {
			out = append(out, &adminv3.HostStatus{
				Address:      host.GetEndpoint().GetAddress(),
				HealthStatus: &adminv3.HostHealthStatus{EdsHealthStatus: corev3.HealthStatus_HEALTHY},
				Weight:       max(1, host.GetLoadBalancingWeight().GetValue()),
				Locality:     locality.GetLocality(),
			})
		}
	}
	return out
}

func clustersText(statuses []*adminv3.ClusterStatus) string {
	var b strings.Builder
	for _, c := range statuses {
		fmt.Fprintf(&b, "%s::observability_name::%s\n", c.GetName(), c.GetName())
		fmt.Fprintf(&b, "%s::added_via_api::%t\n", c.GetName(), c.GetAddedViaApi())
		for _, h := range c.GetHostStatuses() {
			host := c.GetName() + "::" + addressText(h.GetAddress())
			fmt.Fprintf(&b, "%s::health_flags::healthy\n%s::weight::%d\n", host, host, h.GetWeight())
		}
	}
	return b.String()
}

// listeners answers /listeners.
func (s *server) listeners(w http.ResponseWriter, r *http.Request) {
	statuses, err := listenerStatuses(s.Source.State())
	if err != nil {
		text(w, http.StatusInternalServerError, err.Error()+"\n")
		return
	}
	if r.URL.Query().Get("format") == "json" {
		replyJSON(w, &adminv3.Listeners{ListenerStatuses: statuses})
		return
	}
	var b strings.Builder
	for _, l := range statuses {
		fmt.Fprintf(&b, "%s::%s\n", l.GetName(), addressText(l.GetLocalAddress()))
	}
	text(w, http.StatusOK, b.String())
}

func listenerStatuses(s *state.Snapshot) ([]*adminv3.ListenerStatus, error) {
	var out []*adminv3.ListenerStatus
	for _, r := range s.Listeners.Resources {
		if r.Active == nil || r.Active.Body == nil {
			continue
		}
		var l listenerv3.Listener
		if err := r.Active.Body.UnmarshalTo(&l); err != nil {
			return nil, fmt.Errorf("reading listener %s: %w", r.Name, err)
		}
		address := l.GetAddress()
		if l.GetInternalListener() != nil {
			address = internalAddress(r.Name)
		}
		out = append(out, &adminv3.ListenerStatus{Name: r.Name, LocalAddress: address})
	}
	return out, nil
}

func internalAddress(listener string) *corev3.Address {
	return &corev3.Address{Address: &corev3.Address_EnvoyInternalAddress{
		EnvoyInternalAddress: &corev3.EnvoyInternalAddress{
			AddressNameSpecifier: &corev3.EnvoyInternalAddress_ServerListenerName{ServerListenerName: listener},
		},
	}}
}

// addressText is an address as Envoy writes it in text: IP:port, a socket's path,
// or envoy://LISTENER/ENDPOINT inside the proxy.
func addressText(a *corev3.Address) string {
	switch {
	case a.GetSocketAddress() != nil:
		sock := a.GetSocketAddress()
		return net.JoinHostPort(sock.GetAddress(), strconv.FormatUint(uint64(sock.GetPortValue()), 10))
	case a.GetPipe() != nil:
		return a.GetPipe().GetPath()
	case a.GetEnvoyInternalAddress() != nil:
		in := a.GetEnvoyInternalAddress()
		return "envoy://" + in.GetServerListenerName() + "/" + in.GetEndpointId()
	}
	return ""
}
