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
	first     int           // how many of the others come before all rows
}

// sameShape reports whether lists can only differ in what the rows of the service
// ports hold.
func (l *layout) sameShape(other *layout) bool {
	return slices.Equal(l.others, other.others) && slices.Equal(l.before, other.before) &&
		len(l.ports) == len(other.ports) && slices.EqualFunc(l.waypoints, other.waypoints, sameList)
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
	for _, l := range []*layout{clusters, endpoints} {
		byName(l.others)
		// No other name begins like an identity.
		l.first, _ = slices.BinarySearchFunc(l.others, identityPrefix, func(r *Resource, prefix string) int {
			return strings.Compare(r.Name, prefix)
		})
	}
}

// list puts a list together in the order of names, without comparing those that
// begin with an identity: the order of identities and ports is theirs.
func (m *maker) list(old []*Resource, was, now *layout) []*Resource {
	if old != nil && m.identities == nil && m.callers == nil && now.sameShape(was) {
		return now.patch(old, was, &m.next.order)
	}
	o := &m.next.order
	list := make([]*Resource, 0, now.start(o, len(o.identities))+len(now.others))
	list = append(list, now.others[:now.first]...)
	for i := range o.identities {
		list = now.appendIdentity(list, i, o.callerAt[i])
	}
	return same(old, append(list, now.others[now.first:]...))
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

// start is where an identity's part of the list begins.
func (l *layout) start(o *order, identity int) int {
	callers := 0
	for _, at := range o.callerAt[:identity] {
		if at >= 0 {
			callers++
		}
	}
	return l.first + identity*len(l.ports) + callers*len(l.waypoints)
}

// patch is the old list, with other resources of the same names where rows of the
// service ports differ.
func (l *layout) patch(old []*Resource, was *layout, o *order) []*Resource {
	list := old
	for port, row := range l.ports {
		if sameList(row, was.ports[port]) {
			continue
		}
		if sameList(list, old) {
			list = slices.Clone(old)
		}
		waypoints, _ := slices.BinarySearch(l.before, port+1)
		at := l.first + port
		for i := range o.identities {
			if o.callerAt[i] >= 0 {
				list[at+waypoints] = row[i]
				at += len(l.waypoints)
			} else {
				list[at] = row[i]
			}
			at += len(l.ports)
		}
	}
	return list
}

func byName(list []*Resource) []*Resource {
	slices.SortFunc(list, func(a, b *Resource) int { return strings.Compare(a.Name, b.Name) })
	return list
}
