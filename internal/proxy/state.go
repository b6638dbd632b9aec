// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"slices"
	"strings"

	"github.com/ambient22/ambient22/internal/proxy/state"
)

// State is the configuration at this moment.
func (p *Proxy) State() *state.Snapshot {
	s := &state.Snapshot{Bootstrap: p.bootstrap, Started: p.started, Secrets: p.secretState()}
	m := p.manager
	m.mu.Lock()
	defer m.mu.Unlock()
	s.Listeners = kind(m, listenerType, m.listeners, func(e *listenerEntry) state.Resource {
		return state.Resource{Active: e.active.state(), Warming: e.warming.state(), Error: e.err}
	})
	s.Clusters = kind(m, clusterType, m.clusters, func(e *clusterEntry) state.Resource {
		return state.Resource{Active: e.active.state(), Warming: e.warming.state(), Error: e.err}
	})
	s.Endpoints = kind(m, endpointType, m.endpoints, func(e *endpointEntry) state.Resource {
		return state.Resource{Active: e.accepted, Error: e.err}
	})
	s.Extensions = kind(m, extensionType, m.exts, func(e *extensionEntry) state.Resource {
		return state.Resource{Active: e.accepted, Error: e.err}
	})
	return s
}

func (v *listenerVersion) state() *state.Accepted {
	if v == nil {
		return nil
	}
	return &v.accepted
}

func (v *clusterVersion) state() *state.Accepted {
	if v == nil {
		return nil
	}
	return &v.accepted
}

// kind lists one kind of resource. The caller holds the manager's lock.
func kind[E any](m *manager, typeURL string, entries map[string]E, describe func(E) state.Resource) state.Kind {
	k := state.Kind{Version: m.versions[typeURL]}
	for name, e := range entries {
		r := describe(e)
		r.Name = name
		if r.Active != nil && r.Active.Body == nil {
			r.Active = nil // withdrawn by the server
		}
		if r.Active != nil || r.Warming != nil || r.Error != nil {
			k.Resources = append(k.Resources, r)
		}
	}
	byName(k.Resources)
	return k
}

// secretState lists the secrets; one that has not come yet is warming.
func (p *Proxy) secretState() state.Kind {
	var k state.Kind
	for _, e := range p.secrets.Entries() {
		r := state.Resource{Name: e.Ref.Name}
		if v := e.Get(); v != nil {
			r.Active = &state.Accepted{Version: v.Version, Updated: v.Updated, Body: v.Redacted()}
			k.Version = max(k.Version, v.Version)
		} else {
			r.Warming = &state.Accepted{Updated: p.started}
		}
		if f := e.Refused(); f != nil {
			r.Error = &state.Rejected{Version: f.Version, Attempt: f.Attempt, Details: f.Details}
		}
		k.Resources = append(k.Resources, r)
	}
	byName(k.Resources)
	return k
}

func byName(resources []state.Resource) {
	slices.SortFunc(resources, func(a, b state.Resource) int { return strings.Compare(a.Name, b.Name) })
}
