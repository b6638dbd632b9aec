// SPDX-License-Identifier: Apache-2.0

package envoyconfig

import (
	"cmp"
	"slices"
	"strings"
)

// layout is what a list of clusters or endpoints is put together from. The rows
// are compared by where they are in memory.
type layout struct {
	others    []*Resource   // by name
	ports     [][]*Resource // rows for the identities, in the order of the service ports
	waypoints [][]*Resource // rows for the callers, in the order of the waypoints
	before    []int         // for each waypoint how many service ports come before it
}

func (l *layout) equal(other *layout) bool {
	return slices.Equal(l.others, other.others) && slices.Equal(l.before, other.before) &&
		slices.EqualFunc(l.ports, other.ports, sameList) && slices.EqualFunc(l.waypoints, other.waypoints, sameList)
}

// lists makes the sorted lists of the edition, and keeps those that are the same.
func (m *maker) lists() {
	old, now := m.old.resources, m.next.resources
	m.arrange()
	now.Clusters = m.list(old.Clusters, &m.old.clusters, &m.next.clusters)
	now.Endpoints = m.list(old.Endpoints, &m.old.endpoints, &m.next.endpoints)

	listeners := []*Resource{m.next.outbound.resource, m.next.inbound.tunnel, m.next.inbound.plaintext}
	now.Listeners = same(old.Listeners, byName(slices.Concat(append(m.next.tunnels.listeners, listeners)...)))
	now.Secrets = same(old.Secrets, m.view.secrets)
}

// arrange collects what clusters and endpoints are put together from.
func (m *maker) arrange() {
	clusters, endpoints := &m.next.clusters, &m.next.endpoints
	clusters.others = slices.Concat(append(m.next.tunnels.clusters, m.next.static)...)
	for _, p := range m.next.order.ports {
		rows := m.next.ports[p.name]
		clusters.ports = append(clusters.ports, rows.clusters)
		endpoints.ports = append(endpoints.ports, rows.endpoints)
	}
	for _, w := range m.view.waypoints {
		rows := m.next.waypoints[w.identity]
		clusters.waypoints = append(clusters.waypoints, rows.clusters)
		endpoints.waypoints = append(endpoints.waypoints, rows.endpoints)
		if c := rows.client; c != nil {
			clusters.others = append(clusters.others, c.cluster)
			endpoints.others = append(endpoints.others, c.assignment)
		}
		before, _ := slices.BinarySearchFunc(m.next.order.ports, serverWaypointPrefix+w.identity, func(p servicePort, name string) int {
			return cmp.Compare(p.name, name)
		})
		clusters.before = append(clusters.before, before)
	}
	endpoints.before = clusters.before
	clusters.others, endpoints.others = byName(clusters.others), byName(endpoints.others)
}

// list puts a list together in the order of names, without comparing those that
// begin with an identity: the order of identities and ports is theirs.
func (m *maker) list(old []*Resource, was, now *layout) []*Resource {
	o := &m.next.order
	if old != nil && m.identities == nil && m.callers == nil && now.equal(was) {
		return old
	}
	size := len(now.others) + len(now.ports)*len(o.identities) + len(now.waypoints)*len(o.callers)
	list := make([]*Resource, 0, size)
	// No other name begins like an identity.
	first, _ := slices.BinarySearchFunc(now.others, identityPrefix, func(r *Resource, prefix string) int {
		return strings.Compare(r.Name, prefix)
	})
	list = append(list, now.others[:first]...)
	for i := range o.identities {
		list = now.appendIdentity(list, i, o.callerAt[i])
	}
	return same(old, append(list, now.others[first:]...))
}

// same is the old list where the new one has nothing else.
func same[E comparable](old, now []E) []E {
	if slices.Equal(old, now) {
		return old
	}
	return now
}

// appendIdentity appends what belongs to one identity.
func (l *layout) appendIdentity(list []*Resource, identity, caller int) []*Resource {
	waypoint := 0
	if caller < 0 {
		waypoint = len(l.waypoints)
	}
	for port, row := range l.ports {
		for ; waypoint < len(l.waypoints) && l.before[waypoint] == port; waypoint++ {
			list = append(list, l.waypoints[waypoint][caller])
		}
		list = append(list, row[identity])
	}
	for ; waypoint < len(l.waypoints); waypoint++ {
		list = append(list, l.waypoints[waypoint][caller])
	}
	return list
}

func byName(list []*Resource) []*Resource {
	slices.SortFunc(list, func(a, b *Resource) int { return strings.Compare(a.Name, b.Name) })
	return list
}
