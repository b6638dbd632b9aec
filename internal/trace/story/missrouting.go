// SPDX-License-Identifier: Apache-2.0

package story

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/ambient22/ambient22/internal/dump/iproute"
	"github.com/ambient22/ambient22/internal/trace"
)

// missByRouting is a packet with mark 0x100 that was not led to the tunnel.
func (t *teller) missByRouting(c *connection) *Miss {
	host := c.from.space.node.host
	if host == nil || intoTunnel(c) {
		return nil
	}
	var routing []seenStep
	for _, s := range t.seen {
		if s.space == host && (s.Kind == trace.StepIPRule || s.Kind == trace.StepRoute) && s.Mark&captureMark != 0 {
			routing = append(routing, s)
		}
	}
	if len(routing) == 0 {
		return t.missInNat(c, host)
	}
	if c.arrival.walk == trace.Martian {
		return &Miss{Sentence: "It is marked 0x100, but " + lower(c.arrival.reason), Stop: t.lastStop(c), Remedy: remedyFilter}
	}
	var rule *seenStep // the last one that matched
	for i := range routing {
		s := &routing[i]
		ours := rule != nil && rule.IPRule != nil && rule.IPRule.Table == 101 && rule.IPRule.Mask != 0
		switch {
		case s.Kind == trace.StepIPRule && s.Matched:
			rule = s
		case s.Kind == trace.StepRoute && s.Route == nil && ours && isDown(host.link(outDevice)):
			return &Miss{Sentence: "It is marked 0x100 and ip rule 101 matches, but istioout is down, and the kernel takes a device's routes away with it: table 101 has none for it, so the search goes on below.", Stop: s.stop, Remedy: remedyRepair}
		case s.Kind == trace.StepRoute && s.Route == nil && ours:
			return &Miss{Sentence: "It is marked 0x100 and ip rule 101 matches, but table 101 has no route for it (default via 192.168.127.2 dev istioout is missing), so the search goes on below.", Stop: s.stop, Remedy: remedyRepair}
		case s.Kind == trace.StepRoute && s.Route != nil && ours && strings.HasPrefix(s.Route.Dev, outDevice) && host.ns.Sysctls["net.ipv4.ip_forward"] == "0":
			return &Miss{Sentence: "It is marked 0x100 and table 101 leads it to istioout, but the node does not forward packets: net.ipv4.ip_forward is 0.", Stop: s.stop, Remedy: remedyForward}
		case s.Kind == trace.StepRoute && s.Route != nil && ours && strings.HasPrefix(s.Route.Dev, outDevice):
			return &Miss{Sentence: fmt.Sprintf("It is marked 0x100 and table 101 leads it to %s, but goes no further. %s", s.Route.Dev, t.deviceTrouble(host, s.Route.Dev, c)), Stop: s.stop, Remedy: remedyRepair}
		case s.Kind == trace.StepRoute && s.Route != nil && ours && s.Route.Dst.IsSingleIP() && s.Route.Dst.Addr() == host.node.ztunnelIP():
			return &Miss{Sentence: "It is for the ztunnel's own pod. Table 101 has a route of its own to that address, past the tunnel.", Stop: s.stop, Remedy: remedyByDesign}
		case s.Kind == trace.StepRoute && s.Route != nil && ours:
			return &Miss{Sentence: fmt.Sprintf("Table 101 leads it to %s and not to %s: %s.", cmp.Or(s.Route.Dev, s.Route.Type), outDevice, strings.TrimSpace(s.Route.String())), Stop: s.stop, Remedy: remedyRepair}
		case s.Kind == trace.StepRoute && s.Route != nil:
			return t.missShadowed(host, rule, s)
		}
	}
	if !leadsCaptured(host) {
		return &Miss{Sentence: "It is marked 0x100, but the ip rule that leads this mark to table 101 is missing or changed, and no other table has a route for it.", Stop: routing[len(routing)-1].stop, Remedy: remedyRepair}
	}
	return nil
}

// isDown tells of a device that is there and not up.
func isDown(l *iproute.Link) bool { return l != nil && hasFlags(l) && !hasFlag(l, "UP") }

// deviceTrouble says what is wrong with a tunnel device.
func (t *teller) deviceTrouble(host *space, name string, c *connection) string {
	l := host.link(name)
	switch {
	case l == nil:
		return fmt.Sprintf("There is no device %s in the dump.", name)
	case l.Tunnel == nil:
		return fmt.Sprintf("%s is no tunnel device, but one of kind %q.", capital(name), l.Kind)
	}
	return cmp.Or(c.arrival.reason, "Where it is lost the dump does not tell.")
}

// leadsCaptured tells that the ip rule is there which leads captured packets to
// table 101.
func leadsCaptured(host *space) bool {
	for _, r := range host.ns.Rules {
		if r.Mask == captureMark && r.Mark == captureMark && r.Table == 101 && r.Action == "lookup" {
			return true
		}
	}
	return false
}

// missShadowed is a route found before, or without, ip rule 101.
func (t *teller) missShadowed(host *space, rule, route *seenStep) *Miss {
	line := strings.TrimSpace(route.Route.String())
	if rule == nil || rule.IPRule == nil {
		return nil
	}
	m := &Miss{Stop: route.stop, Remedy: remedyRoom}
	switch {
	case !leadsCaptured(host):
		m.Sentence = "It is marked 0x100, but the ip rule that leads this mark to table 101 is missing or changed, so the main table takes it."
		m.Remedy = remedyRepair
	case rule.IPRule.Priority == 0 && route.Route.Dev == "kube-ipvs0":
		m.Sentence = fmt.Sprintf("It is marked 0x100, but the service's address is the node's own on kube-ipvs0 (%s): kube-proxy in its IPVS mode puts it there, and table local comes before every mark.", line)
		m.Remedy = "This data path needs kube-proxy in its iptables mode."
	case rule.IPRule.Priority == 0:
		m.Sentence = fmt.Sprintf("It is marked 0x100, but its destination is an address of the node itself (%s): table local comes before every mark.", line)
		m.Remedy = remedyByDesign
	default:
		m.Sentence = fmt.Sprintf("It is marked 0x100, but the ip rule of priority %d comes before 101 and has a route for it: %s.", rule.IPRule.Priority, line)
	}
	return m
}

// missInNat is a captured packet that nat or another table ended before routing.
func (t *teller) missInNat(c *connection, host *space) *Miss {
	if c.arrival.fate != lost || c.arrival.space != host {
		return nil
	}
	return &Miss{Sentence: capital(c.arrival.reason), Stop: t.lastStop(c), Remedy: remedyForeign}
}

// missInTunnel is a packet that was led to the tunnel and did not get through.
func (t *teller) missInTunnel(c *connection) *Miss {
	if !intoTunnel(c) {
		return nil
	}
	return &Miss{Sentence: "It is marked and led into the tunnel, but does not reach the ztunnel. " + capital(c.arrival.reason), Stop: t.lastStop(c), Remedy: remedyRepair}
}
