// SPDX-License-Identifier: Apache-2.0

package noderoute

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	"github.com/ambient22/ambient22/ipset"
)

// UpdatePods enrols and releases pods on a node that Apply has programmed, at
// a cost that depends on these pods only: it lists nothing, starts no process
// and sends everything in batches. c.Pods is not looked at. An address in add
// stays enrolled even if remove names it too, under the UID in add: addresses
// are used again.
//
// Pods that cannot take part are in Result.Refused. Nothing that is not about
// these pods is checked or repaired; that is Apply's work.
func (n *Node) UpdatePods(ctx context.Context, c HostConfig, add, remove []Pod) (Result, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.in(ctx, Host, func(s *session) error { return s.updatePods(c, add, remove) })
}

func (s *session) updatePods(c HostConfig, add, remove []Pod) error {
	c = c.withDefaults()
	if err := c.check(); err != nil {
		return err
	}
	c.Pods = add
	var addrs []netip.Addr
	enrolled := make(map[netip.Addr]bool, len(add))
	for _, p := range add {
		addrs = append(addrs, p.IP)
		enrolled[p.IP] = true
	}
	remove = slices.DeleteFunc(slices.Clone(remove), func(p Pod) bool { return enrolled[p.IP] || !p.IP.Is4() })
	for _, p := range remove {
		addrs = append(addrs, p.IP)
	}
	s.node.interest.change(add, remove)
	hops, err := s.hops(addrs)
	if err != nil {
		return err
	}
	s.node.interest.devices(hops)
	if err := s.addPods(c, hops); err != nil {
		return err
	}
	return s.removePods(c, remove, hops)
}

// addPods gives each pod its setting and its route before its address is in
// the set: what is captured has a way.
func (s *session) addPods(c HostConfig, hops map[netip.Addr]Hop) error {
	if len(c.Pods) == 0 {
		return nil
	}
	p := Plan{Side: Host, Set: &ipset.Set{Name: SetName}}
	p.enrol(c, Facts{Pods: hops})
	s.result.Refused = p.Refused
	var sysctls []sysctlChange
	for _, y := range p.Sysctls {
		sysctls = append(sysctls, sysctlChange{Sysctl: y})
	}
	var routes []routeChange
	for _, r := range p.Routes {
		routes = append(routes, routeChange{Route: r})
	}
	if err := s.setSysctls(sysctls, nil); err != nil {
		return err
	}
	if err := s.writeRoutes(routes); err != nil {
		return err
	}
	if err := s.sets.Apply(ipset.Changes{Name: SetName, Add: p.Set.Entries}); err != nil {
		return err
	}
	for _, e := range p.Set.Entries {
		s.result.Changes = append(s.result.Changes, "enrol "+e.String())
	}
	return nil
}

// removePods ends each pod's capture before its route goes.
func (s *session) removePods(c HostConfig, pods []Pod, hops map[netip.Addr]Hop) error {
	if len(pods) == 0 {
		return nil
	}
	var entries []ipset.Entry
	var routes []routeChange
	veths := map[string]bool{}
	for _, p := range pods {
		entries = append(entries, podEntry(p))
		routes = append(routes, routeChange{del: true, Route: podRoute(p, c.HostIP)})
		if hop := hops[p.IP]; hop.own() {
			veths[hop.Dev] = true
		}
	}
	if err := s.sets.Apply(ipset.Changes{Name: SetName, Delete: entries}); err != nil {
		return err
	}
	if err := s.writeRoutes(routes); err != nil {
		return err
	}
	for _, e := range entries {
		s.result.Changes = append(s.result.Changes, fmt.Sprintf("release %s", e))
	}
	return s.releaseSysctls(func(o sysctlOrigin) bool { return veths[o.Device] })
}
