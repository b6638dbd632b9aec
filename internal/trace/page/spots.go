// SPDX-License-Identifier: Apache-2.0

package page

import (
	"strings"

	"github.com/ambient22/ambient22/internal/trace/story"
)

// role says where in the picture a spot has its place.
type role uint8

const (
	rolePod       role = iota // a pod's box
	roleHook                  // a hook of netfilter, or "routing"
	roleTunnel                // a Geneve device
	rolePodVeth               // a host's device that leads to a pod
	roleZtunnel               // a host's device that leads to the ztunnel, or the ztunnel's eth0
	roleUplink                // a host's device that leads to other nodes
	roleProxy                 // a part of the proxy: a listener, its clusters, the tunnel
	roleLink                  // between the nodes
	roleElsewhere             // the namespace as a whole
)

// spotKey tells spots apart.
type spotKey struct {
	space spaceKey
	role  role
	name  string
}

// spaceKey is a network namespace, or the link.
type spaceKey struct{ node, space, pod string }

// spot is a place in the picture that a step can be at.
type spot struct {
	ID    int
	Label string
	Title string // the whole name, where Label is cut
	key   spotKey
	box
}

// route is the whole way in spots: for each step, those that it passes; the last
// one is where it is.
type route struct {
	spots []*spot
	byKey map[spotKey]*spot
	ways  [][]*spot
	// roles are those of the hosts' devices.
	roles map[spotKey]role
}

func space(p story.Place) spaceKey {
	k := spaceKey{node: p.Node, space: p.Space}
	if p.Space == "pod" {
		k.pod = p.Pod
	}
	return k
}

// walk finds the way through all legs.
func walk(s *story.Story) *route {
	r := &route{byKey: map[spotKey]*spot{}, roles: map[spotKey]role{}}
	for _, leg := range s.Legs {
		r.devices(leg.Stops)
	}
	for _, leg := range s.Legs {
		var before *story.Stop
		for i := range leg.Stops {
			r.ways = append(r.ways, r.way(before, &leg.Stops[i]))
			before = &leg.Stops[i]
		}
	}
	return r
}

// devices finds out what each device of a host and of a ztunnel leads to.
func (r *route) devices(stops []story.Stop) {
	for i := range stops {
		p := stops[i].Place
		if p.Device == "" || p.Space != "host" && p.Space != "ztunnel" {
			continue
		}
		key := spotKey{space: space(p), name: p.Device}
		switch {
		case stops[i].Kind == "tunnel":
			r.roles[key] = roleTunnel
		case p.Space == "ztunnel" && stops[i].Kind == "device":
			if r.roles[key] != roleTunnel {
				r.roles[key] = roleZtunnel
			}
		case stops[i].Kind == "device" && i+1 < len(stops):
			r.leadsTo(key, space(stops[i+1].Place))
		}
		if i > 0 && space(stops[i-1].Place) != space(p) {
			r.leadsTo(key, space(stops[i-1].Place))
		}
	}
}

// leadsTo notes what is behind a device.
func (r *route) leadsTo(device spotKey, there spaceKey) {
	if r.roles[device] == roleTunnel || there == device.space {
		return
	}
	switch {
	case device.space.space == "ztunnel":
		r.roles[device] = roleZtunnel
	case there.space == "link" || there.node != device.space.node:
		r.roles[device] = roleUplink
	case there.space == "ztunnel":
		r.roles[device] = roleZtunnel
	case there.space == "pod":
		r.roles[device] = rolePodVeth
	}
}

// way is what a step passes: the device that it comes in by, and its own spot.
func (r *route) way(before, at *story.Stop) []*spot {
	var way []*spot
	if before != nil && space(before.Place) != space(at.Place) && at.Kind != "tunnel" {
		if d := r.device(at.Place); d != nil {
			way = append(way, d)
		}
	}
	last := r.spotOf(at)
	if last == nil && before != nil && space(before.Place) == space(at.Place) && len(r.ways) > 0 {
		there := r.ways[len(r.ways)-1]
		last = there[len(there)-1] // it goes no further than the step before
	}
	if last == nil {
		key := spotKey{space: space(at.Place), role: roleElsewhere}
		last = r.spot(key, at.Place.Space)
	}
	return append(way, last)
}

// device is a device's spot, if it is drawn.
func (r *route) device(p story.Place) *spot {
	key := spotKey{space: space(p), name: p.Device}
	role, drawn := r.roles[key]
	if !drawn {
		return nil
	}
	key.role = role
	return r.spot(key, p.Device)
}

// spotOf is where a step is, as far as its own words tell.
func (r *route) spotOf(at *story.Stop) *spot {
	p := at.Place
	key := spotKey{space: space(p)}
	switch {
	case p.Space == "link":
		key.role = roleLink
		return r.spot(key, "network")
	case p.Space == "pod":
		key.role = rolePod
		return r.spot(key, p.Pod)
	case p.Table == "proxy":
		key.role, key.name = roleProxy, proxyPart(at)
		return r.spot(key, key.name)
	case at.Kind == "device" || at.Kind == "tunnel":
		if d := r.device(p); d != nil {
			return d
		}
	}
	key.role = roleHook
	switch {
	case p.Table == "routing":
		key.name = "routing"
	case p.Hook != "":
		key.name = p.Hook
	case at.Kind == "socket":
		key.name = "socket"
		if p.Space == "ztunnel" {
			key.role = roleProxy
		}
	default:
		return nil
	}
	return r.spot(key, key.name)
}

func (r *route) spot(key spotKey, label string) *spot {
	if s := r.byKey[key]; s != nil {
		return s
	}
	s := &spot{ID: len(r.spots), Label: label, Title: label, key: key}
	r.byKey[key] = s
	r.spots = append(r.spots, s)
	return s
}

// proxyPart names the part of the proxy that a step is in.
func proxyPart(at *story.Stop) string {
	switch at.Kind {
	case "listener":
		return listenerName(at.Line)
	case "cluster", "endpoint":
		return "clusters"
	case "hbone":
		return "HBONE"
	}
	return "chains"
}

// listenerName is a listener's short name with the port that it is known for.
func listenerName(name string) string {
	switch name {
	case "ztunnel_outbound":
		return "outbound 15001"
	case "ztunnel_inbound":
		return "inbound 15008"
	case "ztunnel_inbound_plaintext":
		return "plaintext 15006"
	case "":
		return "listener"
	}
	if strings.Contains(name, "_tunnel_lis_") {
		return "tunnel listener" // inside the proxy
	}
	return name
}
