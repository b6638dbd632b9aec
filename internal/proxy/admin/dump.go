// SPDX-License-Identifier: Apache-2.0

package admin

import (
	"fmt"
	"net/http"
	"time"

	adminv3 "github.com/envoyproxy/go-control-plane/envoy/admin/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/ambient22/ambient22/internal/proxy/state"
)

// configDump answers /config_dump.
func (s *server) configDump(w http.ResponseWriter, r *http.Request) {
	query, err := parseDumpQuery(r.URL.Query())
	if err != nil {
		text(w, http.StatusBadRequest, err.Error()+"\n")
		return
	}
	parts, err := dump(s.Source.State(), query)
	if err != nil {
		text(w, http.StatusInternalServerError, err.Error()+"\n")
		return
	}
	configs, err := query.pick(parts)
	if err != nil {
		text(w, http.StatusNotFound, err.Error()+"\n")
		return
	}
	out := &adminv3.ConfigDump{}
	for _, m := range configs {
		packed, err := anypb.New(m)
		if err != nil {
			text(w, http.StatusInternalServerError, fmt.Sprintf("packing the dump: %v\n", err))
			return
		}
		out.Configs = append(out.Configs, packed)
	}
	replyJSON(w, out)
}

// dump is the parts of a config_dump in Envoy's order, private keys replaced.
func dump(s *state.Snapshot, q dumpQuery) ([]proto.Message, error) {
	parts := []proto.Message{
		&adminv3.BootstrapConfigDump{Bootstrap: s.Bootstrap, LastUpdated: stamp(s.Started)},
		clustersDump(s, q.keep),
		ecdsDump(s, q.keep),
	}
	if q.endpoints {
		endpoints, err := endpointsDump(s, q.keep)
		if err != nil {
			return nil, err
		}
		parts = append(parts, endpoints)
	}
	routes, err := routesDump(s, q.keep)
	if err != nil {
		return nil, err
	}
	parts = append(parts, listenersDump(s, q.keep), routes, secretsDump(s, q.keep))
	for i, part := range parts {
		// The snapshot's messages belong to the proxy.
		parts[i] = proto.Clone(part)
		if err := redact(parts[i]); err != nil {
			return nil, err
		}
	}
	return parts, nil
}

// stamp is a time as Envoy prints it, in milliseconds; no time gives none.
func stamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t.Truncate(time.Millisecond))
}

func failure(r *state.Rejected) *adminv3.UpdateFailureState {
	if r == nil {
		return nil
	}
	return &adminv3.UpdateFailureState{
		FailedConfiguration: r.Body,
		LastUpdateAttempt:   stamp(r.Attempt),
		Details:             r.Details,
		VersionInfo:         r.Version,
	}
}

func listenersDump(s *state.Snapshot, keep filter) *adminv3.ListenersConfigDump {
	out := &adminv3.ListenersConfigDump{VersionInfo: s.Listeners.Version}
	for _, r := range s.Listeners.Resources {
		if !keep(r.Name) {
			continue
		}
		out.DynamicListeners = append(out.DynamicListeners, &adminv3.ListenersConfigDump_DynamicListener{
			Name:          r.Name,
			ActiveState:   listenerState(r.Active),
			WarmingState:  listenerState(r.Warming),
			DrainingState: listenerState(r.Draining),
			ErrorState:    failure(r.Error),
		})
	}
	return out
}

func listenerState(a *state.Accepted) *adminv3.ListenersConfigDump_DynamicListenerState {
	if a == nil {
		return nil
	}
	return &adminv3.ListenersConfigDump_DynamicListenerState{
		VersionInfo: a.Version, Listener: a.Body, LastUpdated: stamp(a.Updated),
	}
}

func clustersDump(s *state.Snapshot, keep filter) *adminv3.ClustersConfigDump {
	out := &adminv3.ClustersConfigDump{VersionInfo: s.Clusters.Version}
	for _, c := range s.Bootstrap.GetStaticResources().GetClusters() {
		if packed, err := anypb.New(c); err == nil && keep(c.GetName()) {
			out.StaticClusters = append(out.StaticClusters, &adminv3.ClustersConfigDump_StaticCluster{
				Cluster: packed, LastUpdated: stamp(s.Started),
			})
		}
	}
	for _, r := range s.Clusters.Resources {
		if !keep(r.Name) {
			continue
		}
		if r.Active != nil {
			out.DynamicActiveClusters = append(out.DynamicActiveClusters, dynamicCluster(r.Active, r.Error))
		}
		// One that was only ever refused is not in use, and its place says so.
		if r.Warming != nil || (r.Active == nil && r.Error != nil) {
			out.DynamicWarmingClusters = append(out.DynamicWarmingClusters, dynamicCluster(r.Warming, r.Error))
		}
	}
	return out
}

func dynamicCluster(a *state.Accepted, e *state.Rejected) *adminv3.ClustersConfigDump_DynamicCluster {
	out := &adminv3.ClustersConfigDump_DynamicCluster{ErrorState: failure(e)}
	if a != nil {
		out.VersionInfo, out.Cluster, out.LastUpdated = a.Version, a.Body, stamp(a.Updated)
	}
	return out
}

func ecdsDump(s *state.Snapshot, keep filter) *adminv3.EcdsConfigDump {
	out := &adminv3.EcdsConfigDump{}
	for _, r := range s.Extensions.Resources {
		accepted := r.Active
		if accepted == nil {
			accepted = r.Warming
		}
		if !keep(r.Name) || (accepted == nil && r.Error == nil) {
			continue
		}
		filter := &adminv3.EcdsConfigDump_EcdsFilterConfig{ErrorState: failure(r.Error)}
		if accepted != nil {
			filter.VersionInfo, filter.EcdsFilter, filter.LastUpdated = accepted.Version, accepted.Body, stamp(accepted.Updated)
		}
		out.EcdsFilters = append(out.EcdsFilters, filter)
	}
	return out
}

func secretsDump(s *state.Snapshot, keep filter) *adminv3.SecretsConfigDump {
	out := &adminv3.SecretsConfigDump{}
	for _, r := range s.Secrets.Resources {
		if !keep(r.Name) {
			continue
		}
		if r.Active != nil {
			out.DynamicActiveSecrets = append(out.DynamicActiveSecrets, dynamicSecret(r.Name, r.Active, r.Error))
		}
		if r.Warming != nil || (r.Active == nil && r.Error != nil) {
			out.DynamicWarmingSecrets = append(out.DynamicWarmingSecrets, dynamicSecret(r.Name, r.Warming, r.Error))
		}
	}
	return out
}

func dynamicSecret(name string, a *state.Accepted, e *state.Rejected) *adminv3.SecretsConfigDump_DynamicSecret {
	// Envoy's word for a secret that was asked for and has not come.
	out := &adminv3.SecretsConfigDump_DynamicSecret{Name: name, VersionInfo: "uninitialized", ErrorState: failure(e)}
	if a == nil {
		return out
	}
	out.Secret, out.LastUpdated = a.Body, stamp(a.Updated)
	if out.Secret == nil {
		if named, err := anypb.New(&tlsv3.Secret{Name: name}); err == nil {
			out.Secret = named
		}
	}
	if a.Version != "" {
		out.VersionInfo = a.Version
	}
	return out
}
