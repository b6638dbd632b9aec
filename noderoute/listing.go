// SPDX-License-Identifier: Apache-2.0

package noderoute

import (
	"net/netip"
	"slices"

	"github.com/ambient22/ambient22/geneve"
	"github.com/ambient22/ambient22/ipset"
)

// listing is what a network namespace holds of the things that plans speak of.
type listing struct {
	side    Side
	links   []geneve.Link     // those with our devices' names
	sysctls map[Sysctl]string // by setting with an empty value; only of devices that exist
	set     *ipset.Listed
	tables  saved
	// elsewhere are the tables of a variant that is not in use and yet holds
	// rules of ours: an earlier run decided otherwise.
	elsewhere map[Variant]saved
	rules     []listedRule
	routes    []listedRoute // of tables 100 to 102
	// known are addresses of ztunnels (in the pod: of gateways) that this
	// project programmed at some time: routes to them are ours.
	known []netip.Addr
}

// listedRule is an ip rule of the kernel.
type listedRule struct {
	Rule
	// other tells that the rule has more to it than a Rule can say.
	other bool
	// picky tells that it asks for a source, device or port, and so is not for a
	// question that names none.
	picky bool
}

// listedRoute is a route of the kernel.
type listedRoute struct {
	Route
	other  bool // it has more to it than a Route can say: metric, several hops, another type
	metric uint32
}

// deviceNames are the tunnel devices of a side.
func deviceNames(s Side) []string {
	if s == Host {
		names := []string{DeviceInbound, DeviceOutbound}
		for slot := 1; slot <= DrainSlots; slot++ {
			in, out := slotDevices(slot)
			names = append(names, in, out)
		}
		return names
	}
	return []string{PodDeviceInbound, PodDeviceOutbound}
}

// sideRules are the ip rules that a side may have.
func sideRules(s Side) []Rule {
	if s == InPod {
		return podRules()
	}
	rules := append(hostRules(false), hostRules(true)...)
	for slot := 1; slot <= DrainSlots; slot++ {
		rules = append(rules, slotRules(slot)...)
	}
	return rules
}

// setNames are the sets of a side.
func setNames(s Side) []string {
	if s == Host {
		return []string{SetName}
	}
	return nil
}

// ownsRule tells whether a listed rule is ours: it has exactly the shape of one.
func (l *listing) ownsRule(r listedRule) bool {
	return !r.other && slices.Contains(sideRules(l.side), r.Rule)
}

// inTheWay tells whether a foreign rule stands at one of our priorities.
func (l *listing) inTheWay(r listedRule) bool {
	at := slices.ContainsFunc(sideRules(l.side), func(o Rule) bool { return o.Priority == r.Priority })
	return at && !l.ownsRule(r)
}

// ownsRoute tells whether a listed route in tables 100 to 102 is ours: it uses
// one of our devices, leads to a ztunnel that we know, or (in the pod) is the
// local default.
func (l *listing) ownsRoute(r listedRoute) bool {
	if slices.Contains(deviceNames(l.side), r.Dev) {
		return true
	}
	if r.other {
		return false
	}
	if l.side == InPod && r.Route == podRoutes(netip.IPv4Unspecified())[0] {
		return true
	}
	if r.Table >= TableDrain {
		return l.side == Host && l.ownsSlot(r)
	}
	toKnown := r.Dst.IsSingleIP() && slices.Contains(l.known, r.Dst.Addr()) && r.Scope == scopeLink
	return toKnown || (l.side == Host && r.OnLink && slices.Contains(l.known, r.Via))
}

// ownsSlot tells whether a route in a slot's table is ours: it has the shape of ours,
// and leads to a ztunnel or is where a rule of ours leads.
func (l *listing) ownsSlot(r listedRoute) bool {
	slot := int(r.Table) - TableDrain + 1
	if r.Route != (Drain{Ztunnel{r.Via, r.Dev}, slot}).route() {
		return false
	}
	return slices.Contains(l.known, r.Via) || slices.ContainsFunc(l.rules, func(o listedRule) bool {
		return !o.other && slices.Contains(slotRules(slot), o.Rule)
	})
}

// slots are the slots as the kernel tells of them.
func (l *listing) slots() slots {
	var have slots
	for slot := 1; slot <= DrainSlots; slot++ {
		for _, r := range l.rules {
			if !r.other && slices.Contains(slotRules(slot), r.Rule) {
				have[slot].used = true
			}
		}
		for _, r := range l.routes {
			switch {
			case r.Table != slotTable(slot):
			case !r.other && l.ownsSlot(r):
				have[slot].owner, have[slot].used = Ztunnel{r.Via, r.Dev}, true
			default:
				have[slot].foreign = true
			}
		}
	}
	return have
}

// learn collects the ztunnels that the kernel's state tells of, so that routes
// to them are recognised without remembering anything: the tunnels' remotes,
// and whom table 102 knows the direct way to, if that table also sends the rest
// there, or table 101 knows the same way. The latter tells of a ztunnel that was
// being replaced when an earlier run was killed.
func (l *listing) learn(more ...netip.Addr) {
	l.known = append(l.known, more...)
	for _, link := range l.links {
		if link.Remote.IsValid() {
			l.known = append(l.known, link.Remote)
		}
	}
	for _, r := range l.routes {
		if r.Table != TableProxyReturn || !r.Dst.IsSingleIP() {
			continue
		}
		way := Route{Table: TableProxyReturn, Dst: r.Dst, Dev: r.Dev, Scope: scopeLink}
		twin, rest := way, Route{Table: TableProxyReturn, Dst: anywhere(), Via: r.Dst.Addr(), Dev: r.Dev, OnLink: true}
		twin.Table = TableOutbound
		if r.Route == way && slices.ContainsFunc(l.routes, func(o listedRoute) bool { return o.Route == twin || o.Route == rest }) {
			l.known = append(l.known, r.Dst.Addr())
		}
	}
}

// empty tells whether nothing of ours is there.
func (l *listing) empty() bool {
	return steps(Plan{Side: l.side}, l).Empty()
}
