// SPDX-License-Identifier: Apache-2.0

package envoyconfig

import (
	"net/netip"
	"slices"

	"github.com/ambient22/ambient22/envoyconfig/internal/wire"
)

// waypointRows are cluster and endpoints of one waypoint for every caller of this
// node.
type waypointRows struct {
	pods      []netip.Addr // what the endpoints are made from
	clusters  []*Resource
	endpoints []*Resource
	// client are cluster and endpoints of the caller whose own waypoint it is; nil
	// where that has no pod here.
	client *waypointClient
}

// waypointClient is the pair that leads one identity to its own waypoint.
type waypointClient struct {
	secret              string // what the cluster is made from
	cluster, assignment *Resource
}

// waypoints makes the rows of every waypoint.
func (m *maker) waypoints() error {
	all := make([]*waypointRows, len(m.view.waypoints))
	for i := range all {
		// The leaf builder is for one goroutine, and waypoints are few.
		var err error
		if all[i], err = m.waypoint(&m.view.waypoints[i]); err != nil {
			return err
		}
	}
	m.next.waypoints = make(map[string]*waypointRows, len(all))
	for i := range all {
		m.next.waypoints[m.view.waypoints[i].identity] = all[i]
	}
	return nil
}

func (m *maker) waypoint(v *waypoint) (*waypointRows, error) {
	callers := m.next.order.callers
	now := &waypointRows{pods: v.pods}
	old := m.old.waypoints[v.identity]
	if old == nil {
		old = &waypointRows{}
	}
	was := old.endpoints
	samePods := slices.Equal(old.pods, now.pods)
	if !samePods {
		was = nil
	}
	var gaps, endpointGaps []int
	now.clusters, gaps = carryOver(m.certified, old.clusters, len(callers))
	now.endpoints, endpointGaps = carryOver(m.callers, was, len(callers))
	if len(gaps)+len(endpointGaps) > 0 {
		pair := m.leaf.serverWaypoint(anyCaller(), v)
		cluster, err := m.leaf.form(pair.cluster.Name, pair.cluster, 2)
		if err != nil {
			return nil, err
		}
		endpoints, err := m.leaf.form(pair.cluster.Name, pair.endpoints, 1)
		if err != nil {
			return nil, err
		}
		var w wire.Writer
		if err := fill(&w, cluster, now.clusters, gaps, callers, nil); err != nil {
			return nil, err
		}
		if err := fill(&w, endpoints, now.endpoints, endpointGaps, callers, now.clusters); err != nil {
			return nil, err
		}
	}
	err := m.waypointClient(v, old, now, samePods)
	return now, err
}

// waypointClient makes the pair of the identity whose own waypoint it is.
func (m *maker) waypointClient(v *waypoint, old, now *waypointRows, samePods bool) error {
	at := slices.IndexFunc(m.next.order.callers, func(c caller) bool { return c.identity == v.identity })
	if at < 0 {
		return nil
	}
	c := &m.next.order.callers[at]
	if old.client != nil && old.client.secret == c.secret && samePods {
		now.client = old.client
		return nil
	}
	pair := m.leaf.clientWaypoint(c, v)
	cluster, err := m.leaf.resource(pair.cluster.Name, pair.cluster)
	if err != nil {
		return err
	}
	assignment, err := m.leaf.resource(pair.cluster.Name, pair.endpoints)
	if err != nil {
		return err
	}
	if old.client != nil {
		cluster, assignment = kept(old.client.cluster, cluster), kept(old.client.assignment, assignment)
	}
	now.client = &waypointClient{secret: c.secret, cluster: cluster, assignment: assignment}
	return nil
}
