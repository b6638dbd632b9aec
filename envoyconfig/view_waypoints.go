// SPDX-License-Identifier: Apache-2.0

package envoyconfig

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"

	"github.com/ambient22/ambient22/internal/mesh"
)

// waypoint is the waypoint of one identity: the pods that run as that identity and
// carry the label. It takes what the identity's pods send (client) and what is
// sent to them (server).
type waypoint struct {
	identity string
	pods     []netip.Addr // by address
}

// addWaypoints finds the waypoints. Connections go to those of their pods that are
// ready and stay; where an identity has none of these, to all it has, because a
// waypoint must not be passed by.
func (v *view) addWaypoints(workloads []*mesh.Workload) {
	running := map[string][]netip.Addr{}
	ready := map[string][]netip.Addr{}
	for _, w := range workloads {
		if w.Class != mesh.Waypoint {
			continue
		}
		identity := v.identity(w)
		running[identity] = append(running[identity], w.IP)
		if w.Ready && !w.Terminating {
			ready[identity] = append(ready[identity], w.IP)
		}
	}
	for _, identity := range slices.Sorted(maps.Keys(running)) {
		pods := ready[identity]
		if len(pods) == 0 {
			pods = running[identity]
		}
		slices.SortFunc(pods, netip.Addr.Compare)
		v.waypoints = append(v.waypoints, waypoint{identity: identity, pods: slices.Compact(pods)})
		v.represented[identity] = true
	}
}

// label is one label of the pods of one namespace.
type label struct{ namespace, key, value string }

// behindWaypoints indexes the pods of the mesh whose identity has a waypoint by
// their labels, the oldest first.
func (v *view) behindWaypoints(workloads []*mesh.Workload) map[label][]*mesh.Workload {
	index := map[label][]*mesh.Workload{}
	for _, w := range workloads {
		if w.Class != mesh.InMesh || !v.represented[v.identity(w)] {
			continue
		}
		for key, value := range w.Labels {
			at := label{w.Namespace, key, value}
			index[at] = append(index[at], w)
		}
	}
	return index
}

// serviceWaypoint is the identity whose server waypoint stands in front of a
// service, "" for none: that of the oldest of the service's pods that have one. A
// service may have pods with and without, but a connection to its address must be
// sent one way or the other before an endpoint is chosen.
func (v *view) serviceWaypoint(s *mesh.Service, behind map[label][]*mesh.Workload) string {
	if len(v.represented) == 0 {
		return ""
	}
	pod := v.oldestSelected(s, behind)
	if len(s.Selector) == 0 {
		pod = v.oldestEndpoint(s)
	}
	if pod == nil {
		return ""
	}
	return v.identity(pod)
}

// oldestSelected is the oldest pod behind a waypoint that a service's selector
// selects, nil where there is none.
func (v *view) oldestSelected(s *mesh.Service, behind map[label][]*mesh.Workload) *mesh.Workload {
	var fewest []*mesh.Workload
	first := true
	for key, value := range s.Selector {
		pods := behind[label{s.Namespace, key, value}]
		if first || len(pods) < len(fewest) {
			fewest, first = pods, false
		}
	}
	for _, w := range fewest {
		if selects(s.Selector, w.Labels) {
			return w
		}
	}
	return nil
}

func selects(selector, labels map[string]string) bool {
	for key, value := range selector {
		if got, ok := labels[key]; !ok || got != value {
			return false
		}
	}
	return true
}

// oldestEndpoint is the oldest pod behind a waypoint among the endpoints of a
// service, nil where there is none.
func (v *view) oldestEndpoint(s *mesh.Service) *mesh.Workload {
	var oldest *mesh.Workload
	for i := range s.Ports {
		for _, e := range s.Ports[i].Endpoints {
			w := v.pods[e.IP]
			if w == nil || !v.represented[v.identity(w)] {
				continue
			}
			if oldest == nil || compareAge(w, oldest) < 0 {
				oldest = w
			}
		}
	}
	return oldest
}

// addCrossed finds out which server waypoints any connection takes. That depends
// on the destination alone, so it is the same for all callers.
func (v *view) addCrossed() {
	taken := map[string]bool{}
	for _, s := range v.virtual {
		taken[s.waypoint] = true
	}
	for _, d := range v.destinations {
		taken[d.waypoint] = true
	}
	v.direct = taken[""]
	delete(taken, "")
	v.crossed = slices.SortedFunc(maps.Keys(taken), cmp.Compare[string])
}
