// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"errors"
	"maps"
	"slices"

	"github.com/ambient22/ambient22/internal/proxy/adsclient"
	"github.com/ambient22/ambient22/internal/proxy/config"
	"github.com/ambient22/ambient22/internal/proxy/state"
	"github.com/ambient22/ambient22/internal/proxy/upstream"
)

// endpointEntry is one load assignment by name, as long as a cluster wants it.
type endpointEntry struct {
	users    map[*upstream.Cluster]bool
	ready    chan struct{} // closed at the first version
	hosts    []config.Host
	accepted *state.Accepted
	err      *state.Rejected
}

// wantEndpoints makes c a user of the assignment; the returned channel is closed
// when there is one.
func (m *manager) wantEndpoints(name string, c *upstream.Cluster) <-chan struct{} {
	e := m.endpoints[name]
	if e == nil {
		e = &endpointEntry{users: make(map[*upstream.Cluster]bool), ready: make(chan struct{})}
		m.endpoints[name] = e
	}
	e.users[c] = true
	if e.accepted != nil {
		c.SetHosts(e.hosts)
	}
	m.endpointsChanged = true
	return e.ready
}

// forgetEndpoints ends c's use of its assignment.
func (m *manager) forgetEndpoints(c *upstream.Cluster) {
	e := m.endpoints[c.Config.EDSName]
	if e == nil {
		return
	}
	delete(e.users, c)
	if len(e.users) == 0 {
		delete(m.endpoints, c.Config.EDSName)
		m.endpointsChanged = true
	}
}

// subscribeEndpoints asks for the assignments in use, if they changed.
func (m *manager) subscribeEndpoints() {
	if !m.endpointsChanged {
		return
	}
	m.endpointsChanged = false
	m.p.ads.Subscribe(endpointType, slices.AppendSeq([]string{}, maps.Keys(m.endpoints)))
}

func (m *manager) takeEndpoints(r adsclient.Resource) error {
	e := m.endpoints[r.Name]
	if e == nil {
		return nil // asked for before its cluster went
	}
	name, hosts, err := m.decoder.Endpoints(r.Body)
	if err == nil && name != r.Name {
		err = errors.New("cluster_name: differs from the resource's name")
	}
	if err != nil {
		e.err = rejected(r, err)
		return err
	}
	e.err = nil
	first := e.accepted == nil
	a := accepted(r)
	e.hosts, e.accepted = hosts, &a
	for c := range e.users {
		c.SetHosts(hosts)
	}
	if first {
		close(e.ready)
	}
	return nil
}

// removeEndpoints leaves the clusters without hosts.
func (m *manager) removeEndpoints(name string) {
	e := m.endpoints[name]
	if e == nil || e.accepted == nil {
		return
	}
	e.hosts, e.accepted = nil, &state.Accepted{Updated: e.accepted.Updated}
	for c := range e.users {
		c.SetHosts(nil)
	}
}
