// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/ambient22/ambient22/internal/dump/iproute"
)

// loopback is the device that a namespace's own packets go through.
const loopback = "lo"

// device is one network device with its sysctls.
type device struct {
	name  string
	link  *iproute.Link // nil where the dump only mentions it
	up    bool
	addrs []deviceAddr
	conf  conf
}

// deviceAddr is one IPv4 address of a device.
type deviceAddr struct {
	local, net, mask uint32
	scope            uint8
	secondary        bool
}

// conf are a device's sysctls as the kernel combines them with "all".
type conf struct {
	rpFilter, acceptLocal, routeLocalnet setting
	srcValidMark, forwarding, redirects  setting
	ignoreLinkdown, broadcastForwarding  setting
}

// setting is a sysctl's value; guessed tells that the dump does not have it and
// the kernel's default stands in.
type setting struct {
	value   int
	guessed string // the sysctl's name; "" where nothing was guessed
}

func (v setting) on() bool { return v.value != 0 }

func (s *Space) compileDevices() {
	s.devices = map[string]*device{}
	s.locals = map[uint32]string{}
	for _, l := range s.ns.Links {
		d := &device{name: l.Name, link: l, up: l.Up()}
		for _, a := range l.Addrs {
			d.add(a)
		}
		s.devices[l.Name] = d
		s.order = append(s.order, d)
	}
	slices.SortStableFunc(s.order, func(a, b *device) int { return a.link.Index - b.link.Index })
	for _, d := range s.order {
		for _, a := range d.addrs {
			if _, ok := s.locals[a.local]; !ok {
				s.locals[a.local] = d.name
			}
		}
	}
	for _, src := range s.ns.Routes {
		s.mention(src.Dev)
		for _, n := range src.Nexthops {
			s.mention(n.Dev)
		}
		if src.Type == "local" && src.Table == tableLocal && src.Dst.Bits() == 32 && len(s.ns.Links) == 0 {
			if a, ok := number(src.Dst.Addr()); ok {
				s.locals[a] = src.Dev
			}
		}
	}
	s.mention(loopback)
	for _, d := range s.devices {
		d.conf = s.readConf(d.name)
	}
}

// mention makes sure that a device is known that the dump's addresses don't have.
func (s *Space) mention(name string) {
	if name != "" && s.devices[name] == nil {
		s.devices[name] = &device{name: name, up: true}
	}
}

func (d *device) add(a iproute.Addr) {
	local, ok := number(a.Prefix.Addr())
	if !ok || !a.Prefix.Addr().IsValid() {
		return
	}
	net := a.Prefix
	if a.Peer.IsValid() {
		net = a.Peer
	}
	base, _ := number(net.Addr())
	mask := maskOf(net.Bits())
	d.addrs = append(d.addrs, deviceAddr{
		local: local, net: base & mask, mask: mask, scope: scopes[a.Scope],
		secondary: slices.Contains(a.Flags, "secondary"),
	})
}

// device finds one by its name, also one that is in no dump.
func (s *Space) device(name string) *device {
	if d := s.devices[name]; d != nil {
		return d
	}
	return &device{name: name, up: true, conf: s.readConf(name)}
}

func (s *Space) readConf(dev string) conf {
	return conf{
		rpFilter:            s.larger("rp_filter", dev),
		acceptLocal:         s.larger("accept_local", dev),
		routeLocalnet:       s.larger("route_localnet", dev),
		srcValidMark:        s.larger("src_valid_mark", dev),
		redirects:           s.redirects(dev),
		forwarding:          s.forwarding(dev),
		ignoreLinkdown:      s.own("ignore_routes_with_linkdown", dev),
		broadcastForwarding: s.both("bc_forwarding", dev),
	}
}

// sysctl reads a number; a dot in a device's name is a slash in a sysctl's.
func (s *Space) sysctl(name string) (int, bool) {
	text, ok := s.ns.Sysctls[name]
	if !ok {
		if text, ok = s.cfg.assume[name]; !ok {
			return 0, false
		}
	}
	n, err := strconv.Atoi(strings.TrimSpace(text))
	return n, err == nil
}

func confName(dev, key string) string {
	return "net.ipv4.conf." + strings.ReplaceAll(dev, ".", "/") + "." + key
}

// larger is the device's value or that for all, whichever is larger: so the kernel
// combines rp_filter, and those that are on or off.
func (s *Space) larger(key, dev string) setting {
	all, ok1 := s.sysctl(confName("all", key))
	own, ok2 := s.sysctl(confName(dev, key))
	v := setting{value: max(all, own)}
	switch {
	case !ok2:
		v.guessed = confName(dev, key)
	case !ok1:
		v.guessed = confName("all", key)
	}
	return v
}

func (s *Space) own(key, dev string) setting {
	n, ok := s.sysctl(confName(dev, key))
	v := setting{value: n}
	if !ok {
		v.guessed = confName(dev, key)
	}
	return v
}

// both is on only where it is for the device and for all.
func (s *Space) both(key, dev string) setting {
	all, _ := s.sysctl(confName("all", key))
	own := s.own(key, dev)
	own.value = min(own.value, all)
	return own
}

// redirects is on by default.
func (s *Space) redirects(dev string) setting {
	all, ok1 := s.sysctl(confName("all", "send_redirects"))
	own, ok2 := s.sysctl(confName(dev, "send_redirects"))
	if !ok1 && !ok2 {
		return setting{value: 1}
	}
	return setting{value: max(all, own)}
}

// forwarding is the device's; ip_forward is written to every device, so it stands
// in where the device's is not in the dump.
func (s *Space) forwarding(dev string) setting {
	for _, name := range []string{confName(dev, "forwarding"), "net.ipv4.ip_forward", confName("all", "forwarding")} {
		if n, ok := s.sysctl(name); ok {
			return setting{value: n}
		}
	}
	return setting{guessed: "net.ipv4.ip_forward"}
}

func (s *Space) ignoresLinkdown(dev string) bool {
	d := s.devices[dev]
	return d != nil && d.conf.ignoreLinkdown.on()
}

// addressType is what inet_addr_type finds: by the local table alone, and only of
// dev's own where dev is given.
func (s *Space) addressType(a uint32, dev string) routeType {
	switch {
	case isZeronet(a), isBroadcast(a):
		return typeBroadcast
	case isMulticast(a):
		return typeMulticast
	}
	res, again := s.fibs[tableLocal].lookup(s, &flow{dst: a})
	if again || res.kind != foundRoute || dev != "" && res.route.hops[res.hop].dev != dev {
		return typeUnicast
	}
	return res.route.typ
}

// isLocal tells whether an address is this namespace's own: one of a device's, or
// one that the local table takes.
func (s *Space) isLocal(a uint32) bool {
	if _, ok := s.locals[a]; ok {
		return true
	}
	res, again := s.fibs[tableLocal].lookup(s, &flow{dst: a})
	return !again && res.kind == foundRoute && res.route.typ == typeLocal
}

// Owns tells whether an address is one of the namespace's own.
func (s *Space) Owns(a netip.Addr) bool {
	n, ok := number(a)
	return ok && a.IsValid() && s.isLocal(n)
}

// firstAddr is the address that a device shows where a rule leaves it open: its
// first that is not secondary.
func (d *device) firstAddr() (uint32, bool) {
	for _, a := range d.addrs {
		if !a.secondary {
			return a.local, true
		}
	}
	return 0, false
}

// selectAddr is the kernel's choice of a source address towards dst: one whose
// network has dst, else the device's first, else any other device's.
func (s *Space) selectAddr(dev string, dst uint32, scope uint8) (uint32, bool) {
	d := s.device(dev)
	var first *deviceAddr
	for i := range d.addrs {
		a := &d.addrs[i]
		limit := a.scope
		if d.conf.routeLocalnet.on() {
			limit = min(limit, scopes["link"])
		}
		if a.secondary || limit > scope {
			continue
		}
		if dst == 0 || dst&a.mask == a.net {
			return a.local, true
		}
		if first == nil {
			first = a
		}
	}
	if first != nil {
		return first.local, true
	}
	for _, other := range s.order {
		for _, a := range other.addrs {
			if !a.secondary && a.scope != scopes["link"] && a.scope <= scope {
				return a.local, true
			}
		}
	}
	return 0, false
}
