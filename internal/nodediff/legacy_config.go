// SPDX-License-Identifier: Apache-2.0

package nodediff

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/ambient22/ambient22/geneve"
	"github.com/ambient22/ambient22/internal/dump"
	"github.com/ambient22/ambient22/internal/dump/iptsave"
	"github.com/ambient22/ambient22/noderoute"
)

// Options say what is known beforehand; what is left out is found in the dump.
type Options struct {
	ZtunnelIP netip.Addr
	Veth      string
	HostIP    netip.Addr
	Pods      []netip.Addr
	// Profile is "article", "hardened", or "" for what the dump shows.
	Profile string
	// Scope is "host", "ztunnel", or "" or "all" for both.
	Scope string
}

// covers tells whether a namespace is asked for.
func (o Options) covers(space string) bool {
	switch o.Scope {
	case "", "all":
		return true
	}
	return o.Scope == space
}

// legacy is what is known of a node of the legacy Geneve generation.
type legacy struct {
	node      *dump.Node
	host, pod *space
	w         *witnesses
	options   Options
	pods      []noderoute.Pod
	// uids tells that the dump says which pod has which UID, so that the comments
	// of the set can be compared.
	uids     bool
	dns      bool
	hardened bool
	logRule  bool
	lent     []string // parameters that nothing in the dump tells
}

// readLegacy finds the parameters of a node.
func readLegacy(n *dump.Node, o Options) *legacy {
	l := &legacy{
		node: n, w: newWitnesses(), options: o,
		host: spaceOf(n.Host, dump.HostSpace, legacyChain),
		pod:  spaceOf(n.Ztunnel, dump.ZtunnelSpace, func(c string) bool { return c == "PREROUTING" }),
	}
	l.w.give(paramZtunnel, addrText(o.ZtunnelIP))
	l.w.give(paramVeth, o.Veth)
	l.w.give(paramHost, addrText(o.HostIP))
	hearHost(l.w, l.host)
	hearPod(l.w, l.pod)
	l.gatewayFromHost()
	l.findPods()
	l.dns = l.hasRule("nat", "ztunnel-PREROUTING", func(f map[string]string) bool { return f["target"] == "DNAT" })
	l.hardened = o.Profile == "hardened" || o.Profile == "" && l.looksHardened()
	l.logRule = l.w.value(paramName) != ""
	return l
}

// gatewayFromHost is for a dump of which the pod's routes are missing: the gateway is
// then the host IP, if the pod's range has it.
func (l *legacy) gatewayFromHost() {
	if len(l.w.said[paramGateway]) > 0 {
		return
	}
	for _, e := range l.w.said[paramHost] {
		l.w.hear(paramGateway, e.Says, e)
	}
}

func (l *legacy) hasRule(table, chain string, is func(map[string]string) bool) bool {
	if l.host == nil {
		return false
	}
	c := l.host.chain(table, chain)
	return c != nil && slices.ContainsFunc(c.Rules, func(r *iptsave.Rule) bool { return is(fieldsOf(ruleItem(r, nil))) })
}

// looksHardened goes by what only that profile has: most of its three differences.
func (l *legacy) looksHardened() bool {
	signs := 0
	if l.hasRule("mangle", "ztunnel-OUTPUT", func(f map[string]string) bool { return f["set-xmark"] == hex(noderoute.OwnMark) }) {
		signs++
	}
	if l.hasRule("mangle", "ztunnel-OUTPUT", func(f map[string]string) bool { return f["-s"] != "" && f["set-xmark mask"] == "0x220" }) {
		signs++
	}
	if l.host != nil {
		for _, r := range l.host.Rules {
			if r.Table == noderoute.TableInbound && r.Mark == 0 && r.Mask == noderoute.OwnMask {
				signs++
			}
		}
	}
	return signs >= 2
}

// findPods collects the enrolled pods: those that the node controller knew, where the
// dump has that, else those of the set and of table 100.
func (l *legacy) findPods() {
	uid := map[netip.Addr]string{}
	ips := map[netip.Addr]bool{}
	switch {
	case len(l.options.Pods) > 0:
		for _, ip := range l.options.Pods {
			ips[ip] = true
		}
		l.commented(uid)
	case l.knownPods(ips, uid):
		l.uids = true
	default:
		for ip := range l.commented(uid) {
			ips[ip] = true
		}
		for ip := range l.routed() {
			ips[ip] = true
		}
	}
	for ip := range ips {
		l.pods = append(l.pods, noderoute.Pod{UID: uid[ip], IP: ip})
	}
	slices.SortFunc(l.pods, func(a, b noderoute.Pod) int { return a.IP.Compare(b.IP) })
}

// knownPods takes what the node controller knew, if it knows this node's pods.
func (l *legacy) knownPods(ips map[netip.Addr]bool, uid map[netip.Addr]string) bool {
	if l.node.Workloads == nil {
		return false
	}
	for _, p := range l.node.Workloads.Pods {
		if p.Node == l.node.Name && p.Captured && p.IP.IsValid() {
			ips[p.IP] = true
			uid[p.IP] = p.UID
		}
	}
	return len(ips) > 0
}

// commented are the set's entries; their comments are UIDs.
func (l *legacy) commented(uid map[netip.Addr]string) map[netip.Addr]bool {
	out := map[netip.Addr]bool{}
	if l.host == nil {
		return out
	}
	if set := l.host.set(noderoute.SetName); set != nil {
		for _, e := range set.Entries {
			if ip, err := netip.ParseAddr(e.Elem); err == nil {
				out[ip] = true
				uid[ip] = e.Comment
			}
		}
	}
	return out
}

// routed are the pods that table 100 leads into the tunnel.
func (l *legacy) routed() map[netip.Addr]bool {
	out := map[netip.Addr]bool{}
	if l.host == nil {
		return out
	}
	for _, r := range l.host.Routes {
		if r.Table == noderoute.TableInbound && r.Dst.IsSingleIP() && r.Via.IsValid() && r.Dev == noderoute.DeviceInbound {
			out[r.Dst.Addr()] = true
		}
	}
	return out
}

func (l *legacy) tunnel() geneve.Kind {
	kind, err := geneve.ParseKind(l.w.value(paramKind))
	if err != nil {
		return geneve.Geneve
	}
	return kind
}

func (l *legacy) port() uint16 {
	port, err := strconv.ParseUint(l.w.value(paramPort), 10, 16)
	if err != nil {
		return geneve.DefaultPort
	}
	return uint16(port)
}

func (l *legacy) addr(name string) netip.Addr {
	ip, err := netip.ParseAddr(l.w.value(name))
	if err != nil {
		return netip.Addr{}
	}
	return ip
}

// noVeth stands for a pod's device where the dump has no route to it.
const noVeth = "unknown"

// planHost is what should be on the node.
func (l *legacy) planHost() (noderoute.Plan, error) {
	l.lend(paramZtunnel, paramVeth, paramHost)
	config := noderoute.HostConfig{
		ZtunnelIP: l.addr(paramZtunnel), HostIP: l.addr(paramHost), Tunnel: l.tunnel(), TunnelPort: l.port(),
		DNSCapture: l.dns, Hardened: l.hardened, Pods: l.pods,
	}
	facts := noderoute.Facts{
		Ztunnel: noderoute.Hop{Dev: l.w.value(paramVeth), Bits: 32, MTU: l.mtu(l.w.value(paramVeth))},
		Pods:    map[netip.Addr]noderoute.Hop{},
	}
	for _, p := range l.pods {
		facts.Pods[p.IP] = l.hop(p.IP)
	}
	return noderoute.PlanHost(config, facts.Held(drains(l.host)))
}

func (l *legacy) mtu(device string) int {
	if link := l.host.link(device); link != nil {
		return int(link.MTU)
	}
	return 0
}

// hop is the main table's route to a pod. Where a dump does not have that table, the
// pod's own device is taken for granted.
func (l *legacy) hop(ip netip.Addr) noderoute.Hop {
	own := noderoute.Hop{Dev: noVeth, Bits: 32}
	if l.host.excerptTableRoutes(254) {
		return own
	}
	if r := l.host.route(255, ip); r != nil && r.Type == "local" {
		return noderoute.Hop{Dev: r.Dev, Bits: r.Dst.Bits(), Local: true}
	}
	r := l.host.route(254, ip)
	if r == nil {
		return noderoute.Hop{}
	}
	return noderoute.Hop{Dev: r.Dev, Bits: r.Dst.Bits(), Via: r.Via}
}

// planPod is what should be in the ztunnel's pod.
func (l *legacy) planPod() (noderoute.Plan, error) {
	l.lend(paramZtunnel, paramGateway)
	facts := noderoute.PodFacts{IP: l.addr(paramZtunnel), Gateway: l.gateway()}
	if link := l.pod.link("eth0"); link != nil {
		facts.MTU = int(link.MTU)
	}
	name := l.w.value(paramName)
	return noderoute.PlanPod(noderoute.PodConfig{
		PodName: name, LogRule: l.logRule, Tunnel: l.tunnel(), TunnelPort: l.port(),
	}, facts)
}

// gateway is the node's address as the pod sees it. The pod's own address cannot be
// it, whatever the pod's lines say.
func (l *legacy) gateway() netip.Addr {
	g := l.addr(paramGateway)
	if l.pod == nil {
		return g
	}
	if own, is := l.pod.address("eth0"); is && own.Addr() == g && l.addr(paramHost).IsValid() {
		return l.addr(paramHost)
	}
	return g
}

// logName is the pod's name in the prefix of the rule that logs.
func logName(r *iptsave.Rule) string {
	l, is := targetByValue(r.Target).(iptsave.Log)
	if !is {
		return ""
	}
	rest, is := strings.CutPrefix(l.Prefix, "mangle pre [ ")
	if !is {
		return ""
	}
	return strings.TrimRight(rest, "] ")
}

// parameters are those of the generation, in the order in which they are shown.
func (l *legacy) parameters() []Parameter {
	var out []Parameter
	for _, name := range questioned() {
		p := l.w.parameter(name)
		if name == paramGateway {
			p.Value = addrText(l.gateway())
		}
		if p.Value != "" && p.Value != standIns()[name] {
			out = append(out, p)
		}
	}
	var ips []string
	for _, p := range l.pods {
		ips = append(ips, p.IP.String())
	}
	profile, dns := "article", "off"
	if l.hardened {
		profile = "hardened"
	}
	if l.dns {
		dns = "on"
	}
	return append(out,
		Parameter{Name: paramPods, Value: strings.Join(ips, " "), Given: len(l.options.Pods) > 0},
		Parameter{Name: paramProfile, Value: profile, Given: l.options.Profile != ""},
		Parameter{Name: paramDNS, Value: dns})
}
