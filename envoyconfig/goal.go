// SPDX-License-Identifier: Apache-2.0

package envoyconfig

import (
	"cmp"
	"slices"
)

// goal is one address that callers go to: a pod's, or a service's.
type goal struct {
	text    string // the address
	pod     destination
	service *virtual // nil for a pod
}

// goals are all addresses that callers go to: the services by name, then the pods
// by address.
func (v *view) goals() []goal {
	all := make([]goal, 0, len(v.virtual)+len(v.destinations))
	for i := range v.virtual {
		all = append(all, goal{text: v.virtual[i].VIP.String(), service: &v.virtual[i]})
	}
	for _, d := range v.destinations {
		all = append(all, goal{text: d.ip.String(), pod: d})
	}
	return all
}

// byText is the order in which a matcher holds addresses.
func byText(goals []goal) []goal {
	return slices.SortedFunc(slices.Values(goals), func(a, b goal) int { return cmp.Compare(a.text, b.text) })
}

// sameGoals compares what a caller's chains and ways show of goals.
func sameGoals(a, b []goal) bool { return slices.EqualFunc(a, b, sameGoal) }

func sameGoal(a, b goal) bool {
	if a.text != b.text || a.pod != b.pod || (a.service == nil) != (b.service == nil) {
		return false
	}
	return a.service == nil || sameService(a.service, b.service)
}

func sameService(a, b *virtual) bool {
	if a.waypoint != b.waypoint || a.Name != b.Name || a.Namespace != b.Namespace || len(a.Ports) != len(b.Ports) {
		return false
	}
	for i := range a.Ports {
		if a.Ports[i].Number != b.Ports[i].Number || a.Ports[i].Name != b.Ports[i].Name {
			return false
		}
	}
	return true
}

// meanChunk is how many goals stay together on average. Fewer make a change
// cheaper, and everything else a little dearer. It is a power of two.
const meanChunk = 64

// chunks cuts a list where the goals themselves say so, so that one more or less
// changes the chunk it is in, and at most one beside it.
func chunks(goals []goal) [][]goal {
	var all [][]goal
	first := 0
	for i := range goals {
		if endsChunk(goals[i].text) {
			all = append(all, goals[first:i+1])
			first = i + 1
		}
	}
	if first < len(goals) {
		all = append(all, goals[first:])
	}
	return all
}

// endsChunk is true for one in meanChunk texts (FNV-1a).
func endsChunk(text string) bool {
	const offset, prime = 2166136261, 16777619
	hash := uint32(offset)
	for i := range len(text) {
		hash = (hash ^ uint32(text[i])) * prime
	}
	return (hash^hash>>16)%meanChunk == 0
}
