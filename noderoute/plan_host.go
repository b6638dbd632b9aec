// SPDX-License-Identifier: Apache-2.0

package noderoute

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/ambient22/ambient22/geneve"
	"github.com/ambient22/ambient22/ipset"
)

// Facts are what has to be read from a node before it can be planned.
type Facts struct {
	// Ztunnel is the route to the ztunnel pod.
	Ztunnel Hop
	// Replaced is the ztunnel that the tunnels lead to at present, if it is
	// another one than the configuration names and its veth still exists.
	Replaced Ztunnel
	// Draining are the ztunnels that may drain and whose veths exist, the newest
	// first.
	Draining []Ztunnel
	// MACs are the tunnel devices' hardware addresses.
	MACs map[string]geneve.MAC

	// unturned tells that both tunnels still lead to the one that is replaced.
	unturned bool
	slots    slots
	// Pods are the routes to the pods, by address.
	Pods map[netip.Addr]Hop
}

// Hop is the route to one address that skipped packets take: what the main routing
// table says, unless somebody's ip rule comes before ours.
type Hop struct {
	Dev   string     // device of the most specific route; empty where there is no route
	MTU   int        // of Dev, in bytes; only for the ztunnel
	Bits  int        // length of that route's prefix
	Via   netip.Addr // its gateway; the zero Addr where the address is on the link
	Local bool       // the address is the node's own
}

// own tells whether the route leads over a device of the address's own.
func (h Hop) own() bool { return h.Dev != "" && h.Bits == 32 && !h.Via.IsValid() && !h.Local }

// none tells whether no route leads to the address as one of the node's pods.
func (h Hop) none() bool { return !h.Local && (h.Dev == "" || h.Via.IsValid() || h.Bits == 0) }

// PlanHost says what should be on a node. A pod that cannot take part is left
// out and named in Plan.Refused; the error is about the node as a whole.
func PlanHost(c HostConfig, f Facts) (Plan, error) {
	c = c.withDefaults()
	if err := c.check(); err != nil {
		return Plan{}, err
	}
	if !f.Ztunnel.own() {
		return Plan{}, fmt.Errorf("finding the veth of ztunnel pod %s: %w", c.ZtunnelIP, ErrNoRoute)
	}
	if err := checkDevice(f.Ztunnel.Dev); err != nil {
		return Plan{}, err
	}
	z := Ztunnel{IP: c.ZtunnelIP, Veth: f.Ztunnel.Dev}
	p := Plan{
		Side:    Host,
		Sysctls: hostSysctls(z.Veth),
		Set:     &ipset.Set{Name: SetName},
		Rules:   hostRules(c.Hardened),
		Routes:  hostRoutes(z),
	}
	p.host = c.HostIP
	p.drain(c, f, z)
	p.Devices = drainDevices(hostDevices(c, f.Ztunnel.MTU), p.Drains, f.MACs)
	p.Tables = []Table{hostNAT(c), hostMangle(c, z, p.Drains)}
	p.enrol(c, f)
	return p, nil
}

// drain adds what the ztunnels need that are not active any more.
func (p *Plan) drain(c HostConfig, f Facts, z Ztunnel) {
	usable := func(old Ztunnel) bool {
		return old.Veth != "" && old.Veth != z.Veth && old.IP != z.IP && checkDevice(old.Veth) == nil
	}
	var live []Ztunnel
	for _, old := range f.Draining {
		if usable(old) && !slices.Contains(live, old) {
			live = append(live, old)
		}
	}
	replaced := f.Replaced
	if p.switches = usable(replaced); !p.switches || !f.unturned {
		replaced = Ztunnel{} // its connections were told from others already
	}
	places := place(live, replaced, f.slots)
	p.Drains, p.begins, p.ending, p.over = places.drains, places.begins, places.ending, places.over
	for _, d := range p.Drains {
		p.Rules = append(p.Rules, slotRules(d.Slot)...)
		p.Routes = append(p.Routes, d.route())
		p.Sysctls = append(p.Sysctls, vethSysctls(d.Veth)...)
	}
	if !p.switches {
		return
	}
	// Until the tunnels are turned, nobody may lose its rules: neither the one that
	// they lead to nor one that is active again.
	during := slices.Clone(p.Drains)
	for _, d := range p.ending {
		if d.Slot != p.begins.Slot && d.Veth != "" {
			during = append(during, d)
		}
	}
	if !slices.ContainsFunc(during, func(d Drain) bool { return d.Ztunnel == f.Replaced }) {
		during = append(during, Drain{Ztunnel: f.Replaced})
	}
	if len(during) > len(p.Drains) {
		both := hostMangle(c, z, during)
		p.handover = &both
	}
}

// enrol adds each pod's route, set entry and sysctl.
func (p *Plan) enrol(c HostConfig, f Facts) {
	pods := slices.Clone(c.Pods)
	slices.SortFunc(pods, func(a, b Pod) int {
		return cmp.Or(a.IP.Compare(b.IP), cmp.Compare(a.UID, b.UID))
	})
	for i, pod := range pods {
		var before *Pod
		if i > 0 {
			before = &pods[i-1]
		}
		if err := admit(c, pod, f.Pods[pod.IP], before); err != nil {
			p.Refused = append(p.Refused, &PodError{Pod: pod, Err: err})
			continue
		}
		p.Set.Entries = append(p.Set.Entries, podEntry(pod))
		p.Routes = append(p.Routes, podRoute(pod, c.HostIP))
		p.Sysctls = append(p.Sysctls, podSysctl(f.Pods[pod.IP].Dev))
	}
}

// admit refuses a pod that could only be half-programmed.
func admit(c HostConfig, pod Pod, hop Hop, before *Pod) error {
	switch {
	case !pod.IP.Is4():
		return ErrIPv6
	case before != nil && before.IP == pod.IP:
		return fmt.Errorf("%w: %s", ErrDuplicate, before.UID)
	case pod.IP == c.ZtunnelIP:
		return errors.New("it is the ztunnel itself")
	case pod.IP == c.HostIP, hop.Local:
		return errors.New("it has the node's own address")
	case !hop.own():
		return ErrNoRoute
	}
	return nil
}

func podEntry(p Pod) ipset.Entry { return ipset.Entry{IP: p.IP, Comment: p.UID} }

// podRoute leads what is for the pod into the inbound tunnel (listing 16).
func podRoute(p Pod, hostIP netip.Addr) Route {
	return Route{
		Table: TableInbound, Dst: host(p.IP),
		Via: inboundPodAddr().Addr(), Dev: DeviceInbound, Src: hostIP,
	}
}

// podSysctl lets the pod's packets in although their answers come from
// elsewhere: the reverse path of a captured address is the tunnel.
func podSysctl(veth string) Sysctl { return Sysctl{veth, "rp_filter", "0"} }

func hostDevices(c HostConfig, vethMTU int) []geneve.Device {
	in := geneve.Device{
		Name: DeviceInbound, Kind: c.Tunnel, VNI: VNIInbound, Remote: c.ZtunnelIP, Port: c.TunnelPort,
		Addr: inboundHostAddr(), Broadcast: true, MTU: tunnelMTU(c.Tunnel, vethMTU),
	}
	out := in
	out.Name, out.VNI, out.Addr = DeviceOutbound, VNIOutbound, outboundHostAddr()
	in.MAC, _ = fixedMACs(c.Tunnel, in.Addr.Addr(), inboundPodAddr().Addr())
	out.MAC, _ = fixedMACs(c.Tunnel, out.Addr.Addr(), outboundPodAddr().Addr())
	return []geneve.Device{in, out}
}

// tunnelMTU leaves a Geneve device's MTU to the kernel and gives the stand-in
// what the kernel would give to Geneve.
func tunnelMTU(k geneve.Kind, underlay int) int {
	if k == geneve.Geneve || underlay == 0 {
		return 0
	}
	return underlay - geneve.Overhead
}

// hostSysctls turns the reverse path check off where packets come in whose
// way back is another device (the kernel takes the stricter of "all" and the
// device; "default" is for veths to come), and admits packets from an address
// of the node itself that arrive through a tunnel or from ztunnel.
func hostSysctls(veth string) []Sysctl {
	var out []Sysctl
	for _, d := range []string{"all", "default", veth, DeviceInbound, DeviceOutbound} {
		out = append(out, Sysctl{d, "rp_filter", "0"})
	}
	for _, d := range []string{veth, DeviceInbound, DeviceOutbound} {
		out = append(out, Sysctl{d, acceptLocal, "1"})
	}
	return out
}

// vethSysctls are those of them for the veth of a ztunnel that drains.
func vethSysctls(veth string) []Sysctl {
	return []Sysctl{{veth, "rp_filter", "0"}, {veth, acceptLocal, "1"}}
}

// hostRules are those of listing 02. On a hardened node the last one leaves out what
// the node itself sends.
func hostRules(hardened bool) []Rule {
	inbound := Rule{Priority: PriorityInbound, Table: TableInbound}
	if hardened {
		inbound.Mask = OwnMask // and none of its bits set
	}
	return []Rule{
		skipRule(),
		{Priority: PriorityOutbound, Mark: OutboundMark, Mask: OutboundMask, Table: TableOutbound},
		{Priority: PriorityProxyReturn, Mark: ProxyReturnMark, Mask: ProxyReturnMask, Table: TableProxyReturn},
		inbound,
	}
}

// skipRule lets what has SkipMark jump over all others of ours.
func skipRule() Rule {
	return Rule{Priority: PrioritySkip, Mark: SkipMark, Mask: SkipMask, Goto: priorityMain}
}

// hostRoutes are the routes that do not depend on pods. The tunnels' outer
// packets keep the mark of what they carry, so every table knows the way to
// ztunnel. Table 100 has no default: what is for nobody here goes on to main.
func hostRoutes(z Ztunnel) []Route {
	direct := func(table uint32) Route {
		return Route{Table: table, Dst: host(z.IP), Dev: z.Veth, Scope: scopeLink}
	}
	return []Route{
		direct(TableOutbound),
		{Table: TableOutbound, Dst: anywhere(), Via: outboundPodAddr().Addr(), Dev: DeviceOutbound},
		direct(TableProxyReturn),
		{Table: TableProxyReturn, Dst: anywhere(), Via: z.IP, Dev: z.Veth, OnLink: true},
		direct(TableInbound),
	}
}

// checkDevice refuses device names that cannot stand in an iptables rule: a
// trailing "+" would match every device of that beginning.
func checkDevice(name string) error {
	if name == "" || strings.HasSuffix(name, "+") || strings.HasPrefix(name, "-") || strings.ContainsAny(name, " \t\n\"'!\\") {
		return fmt.Errorf("checking device name %q: it cannot stand in an iptables rule", name)
	}
	return nil
}
