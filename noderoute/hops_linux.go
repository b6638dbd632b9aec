// SPDX-License-Identifier: Apache-2.0

package noderoute

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/ambient22/ambient22/geneve"
	"github.com/ambient22/ambient22/noderoute/nlbatch"
	"golang.org/x/sys/unix"
)

// hops finds the route to each address as a skipped packet takes it, in a few
// system calls.
func (s *session) hops(addrs []netip.Addr) (map[netip.Addr]Hop, error) {
	answers, err := s.askRoutes(addrs)
	if err == nil {
		err = s.lookAgain(answers)
	}
	if err != nil {
		return nil, err
	}
	out := make(map[netip.Addr]Hop, len(answers))
	names := map[int]string{}
	for a, r := range answers {
		if r.typ != unix.RTN_UNICAST && r.typ != unix.RTN_LOCAL {
			continue // no route, or one that leads nowhere
		}
		if names[r.oif] == "" {
			name, err := s.name(r.oif)
			if err != nil && !errors.Is(err, unix.ENODEV) { // it may go at any time
				return nil, err
			}
			names[r.oif] = name
		}
		out[a] = Hop{Dev: names[r.oif], Bits: r.dst.Bits(), Via: r.via, Local: r.typ == unix.RTN_LOCAL}
	}
	return out, nil
}

// askRoutes asks the kernel for the route to each address. The question carries
// SkipMark, so that once our rules are there it is still the main table that
// answers, and asks for the matching entry itself, so that its prefix tells a
// pod's own route from a bridge's, and for its table. What has no route is among
// the answers with the zero value.
func (s *session) askRoutes(addrs []netip.Addr) (map[netip.Addr]rawRoute, error) {
	var b nlbatch.Batch
	var asked []netip.Addr
	out := make(map[netip.Addr]rawRoute, len(addrs))
	for _, a := range addrs {
		if !a.Is4() {
			continue
		}
		asked = append(asked, a)
		out[a] = rawRoute{}
		msg := make([]byte, unix.SizeofRtMsg)
		msg[0], msg[1] = unix.AF_INET, 32
		binary.NativeEndian.PutUint32(msg[8:], unix.RTM_F_FIB_MATCH|unix.RTM_F_LOOKUP_TABLE)
		b.Begin(unix.RTM_GETROUTE, 0, msg)
		ip := a.As4()
		b.Bytes(unix.RTA_DST, ip[:])
		b.Uint32(unix.RTA_MARK, SkipMark)
	}
	if b.Len() == 0 {
		return nil, nil
	}
	failures, err := s.route.Query(&b, func(i int, m nlbatch.Message) error {
		if r, ok := readRoute(m.Data); ok {
			out[asked[i]] = r
		}
		return nil
	})
	for _, f := range failures {
		// Unreachable and the like is an answer: there is no route.
		if !noRoute(f.Err) {
			err = errors.Join(err, fmt.Errorf("asking for the route to %s: %w", asked[f.Index], f.Err))
		}
	}
	return out, err
}

func noRoute(err error) bool {
	for _, e := range []error{unix.ENETUNREACH, unix.EHOSTUNREACH, unix.EINVAL, unix.EACCES, unix.ESRCH} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// hostFacts reads what a node's plan depends on.
func (s *session) hostFacts(c HostConfig) (Facts, error) {
	links, err := s.links.List(deviceNames(Host)...)
	if err != nil {
		return Facts{}, err
	}
	f := Facts{MACs: map[string]geneve.MAC{}}
	var old netip.Addr // whom the tunnels lead to
	for _, l := range links {
		f.MACs[l.Name] = l.MAC
		if !isSlotDevice(l.Name) && l.Remote.Is4() && l.Remote != c.ZtunnelIP {
			old = l.Remote
			f.unturned = f.unturned || l.Name == DeviceInbound // it is turned first
		}
	}
	addrs := slices.Concat([]netip.Addr{c.ZtunnelIP}, c.Draining)
	if old.IsValid() {
		addrs = append(addrs, old)
	}
	for _, p := range c.Pods {
		addrs = append(addrs, p.IP)
	}
	s.node.interest.replace(c.HostIP, c.ZtunnelIP, addrs)
	hops, err := s.hops(addrs)
	if err != nil {
		return Facts{}, err
	}
	s.node.interest.devices(hops)
	f.Ztunnel, f.Pods = hops[c.ZtunnelIP], hops
	ztunnel := func(a netip.Addr) (Ztunnel, bool) {
		// Where a pod has its address by now, the old ztunnel is gone.
		reused := slices.ContainsFunc(c.Pods, func(p Pod) bool { return p.IP == a })
		hop := hops[a]
		return Ztunnel{IP: a, Veth: hop.Dev}, a.Is4() && hop.own() && !reused
	}
	if z, ok := ztunnel(old); ok {
		f.Replaced = z
	}
	for _, a := range c.Draining {
		if z, ok := ztunnel(a); ok {
			f.Draining = append(f.Draining, z)
		}
	}
	if f.slots, err = s.slots(c.Draining); err != nil {
		return f, err
	}
	if f.Ztunnel.Dev != "" {
		f.Ztunnel.MTU, err = s.mtu(f.Ztunnel.Dev)
	}
	return f, err
}

// slots tells from the kernel who has which slot, and from the state file where
// somebody has damaged that.
func (s *session) slots(draining []netip.Addr) (slots, error) {
	l := &listing{side: Host, known: draining}
	var err error
	if l.rules, err = s.listRules(); err != nil {
		return slots{}, err
	}
	for slot := 1; slot <= DrainSlots; slot++ {
		routes, err := s.listRoutes(slotTable(slot))
		if err != nil {
			return slots{}, err
		}
		l.routes = append(l.routes, routes...)
	}
	have := l.slots()
	for _, d := range s.state.Drains {
		if d.Slot < 1 || d.Slot > DrainSlots {
			continue
		}
		if is := &have[d.Slot]; is.owner == (Ztunnel{}) && !is.foreign {
			is.owner, is.used = Ztunnel{d.IP, d.Veth}, true
		}
	}
	return have, nil
}

func (s *session) mtu(device string) (int, error) {
	links, err := s.links.List(device)
	if err != nil {
		return 0, err
	}
	if len(links) == 0 {
		return 0, fmt.Errorf("reading the MTU of %s: %w", device, unix.ENODEV)
	}
	return links[0].MTU, nil
}

// podFacts reads what a ztunnel pod's plan depends on: eth0's address and the
// gateway of the default route over it.
func (s *session) podFacts() (PodFacts, error) {
	links, err := s.links.List(podInterface)
	if err != nil {
		return PodFacts{}, err
	}
	if len(links) == 0 || len(links[0].Addrs) == 0 {
		return PodFacts{}, fmt.Errorf("finding the pod's address: there is no %s with an IPv4 address", podInterface)
	}
	f := PodFacts{IP: links[0].Addrs[0].Prefix.Addr(), MTU: links[0].MTU}
	routes, err := s.listRoutes(tableMain)
	if err != nil {
		return PodFacts{}, err
	}
	for _, r := range routes {
		if r.Dst.Bits() == 0 && r.Dev == podInterface && r.Via.IsValid() {
			f.Gateway = r.Via
			return f, nil
		}
	}
	return PodFacts{}, fmt.Errorf("finding the pod's gateway: there is no default route with a gateway over %s", podInterface)
}
