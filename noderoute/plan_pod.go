// SPDX-License-Identifier: Apache-2.0

package noderoute

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/ambient22/ambient22/geneve"
)

// PodFacts are what has to be read inside a ztunnel pod before it can be
// planned.
type PodFacts struct {
	// IP is the pod's address on eth0.
	IP netip.Addr
	// Gateway is the gateway of the pod's default route: the node, as the pod
	// sees it.
	Gateway netip.Addr
	// MTU of eth0, in bytes.
	MTU int
}

// PlanPod says what should be inside a ztunnel pod.
func PlanPod(c PodConfig, f PodFacts) (Plan, error) {
	c = c.withDefaults()
	if err := errors.Join(checkAddr("pod", f.IP), checkAddr("gateway", f.Gateway), checkPodName(c)); err != nil {
		return Plan{}, err
	}
	return Plan{
		Side:    InPod,
		Devices: podDevices(c, f),
		Sysctls: podSysctls(),
		Tables:  []Table{podNAT(), podMangle(c, f)},
		Rules:   podRules(),
		Routes:  podRoutes(f.Gateway),
	}, nil
}

// checkPodName keeps everything but a Kubernetes name out of the LOG prefix.
func checkPodName(c PodConfig) error {
	if !c.LogRule {
		return nil
	}
	if c.PodName == "" {
		return errors.New("checking pod name: there is none for the LOG rule's prefix")
	}
	bad := strings.IndexFunc(c.PodName, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '.'
	})
	if bad >= 0 {
		return fmt.Errorf("checking pod name %q: a pod's name has lower-case letters, digits, dashes and dots", c.PodName)
	}
	return nil
}

func podDevices(c PodConfig, f PodFacts) []geneve.Device {
	in := geneve.Device{
		Name: PodDeviceInbound, Kind: c.Tunnel, VNI: VNIInbound, Remote: f.Gateway, Port: c.TunnelPort,
		Addr: inboundPodAddr(), TxQueueLen: geneve.DefaultTxQueueLen, MTU: tunnelMTU(c.Tunnel, f.MTU),
	}
	out := in
	out.Name, out.VNI, out.Addr = PodDeviceOutbound, VNIOutbound, outboundPodAddr()
	in.MAC, in.Far = fixedMACs(c.Tunnel, in.Addr.Addr(), inboundHostAddr().Addr())
	out.MAC, out.Far = fixedMACs(c.Tunnel, out.Addr.Addr(), outboundHostAddr().Addr())
	return []geneve.Device{in, out}
}

// podSysctls turns the reverse path check off: a captured packet comes out of a
// tunnel with an address whose way back is eth0.
func podSysctls() []Sysctl {
	var out []Sysctl
	for _, d := range []string{"all", "default", podInterface, PodDeviceInbound, PodDeviceOutbound} {
		out = append(out, Sysctl{d, "rp_filter", "0"})
	}
	return out
}

// podRules are those of listing 07.
func podRules() []Rule {
	rule := func(priority, mark, table uint32) Rule {
		return Rule{Priority: priority, Mark: mark, Mask: PodMarkMask, Table: table}
	}
	return []Rule{
		rule(PriorityTproxy, TproxyMark, TableInbound),
		rule(PriorityOutboundReply, OutboundReplyMark, TableOutbound),
		rule(PriorityInboundReply, InboundReplyMark, TableProxyReturn),
		rule(PriorityOriginalSrcReply, OriginalSrcReplyMark, TableInbound),
	}
}

// podRoutes make every address local for what TPROXY marked (listing 08), and
// send the listeners' answers back into the tunnel that the question came
// through. The tunnels' outer packets keep the mark, so both tables know the
// way to the node.
func podRoutes(gateway netip.Addr) []Route {
	direct := func(table uint32) Route {
		return Route{Table: table, Dst: host(gateway), Dev: podInterface, Scope: scopeLink}
	}
	return []Route{
		{Table: TableInbound, Local: true, Dst: anywhere(), Dev: "lo", Scope: scopeHost},
		direct(TableOutbound),
		{Table: TableOutbound, Dst: anywhere(), Via: outboundHostAddr().Addr(), Dev: PodDeviceOutbound},
		direct(TableProxyReturn),
		{Table: TableProxyReturn, Dst: anywhere(), Via: inboundHostAddr().Addr(), Dev: PodDeviceInbound},
	}
}

// podNAT turns the node-local tunnel's port into the listener's.
func podNAT() Table {
	return Table{Name: "nat", Head: []Chain{{"OUTPUT", []string{
		fmt.Sprintf("-p tcp -m tcp --dport %d -j REDIRECT --to-ports %d", PortNodeLocal, PortHBONE),
	}}}}
}

// podMangle hands what comes out of the tunnels to the proxy's listeners
// (listings 06 and 18), and marks answers to connections that it made with a
// pod's address: they arrive on eth0 for an address that is not the pod's.
func podMangle(c PodConfig, f PodFacts) Table {
	tproxy := func(match string, port int) string {
		return fmt.Sprintf("%s -j TPROXY --on-port %d --on-ip 127.0.0.1 --tproxy-mark %s", match, port, mask(TproxyMark, PodMarkMask))
	}
	var rules []string
	if c.LogRule {
		rules = append(rules, fmt.Sprintf("-j LOG --log-prefix %q", logPrefix(c.PodName)))
	}
	rules = append(rules,
		tproxy(fmt.Sprintf("-i %s -p tcp -m tcp --dport %d", PodDeviceInbound, PortHBONE), PortHBONE),
		tproxy(fmt.Sprintf("-i %s -p tcp", PodDeviceOutbound), PortOutbound),
		tproxy(fmt.Sprintf("-i %s -p tcp", PodDeviceInbound), PortPlaintext),
		fmt.Sprintf("! -d %s/32 -i %s -p tcp -j MARK --set-xmark %s", f.IP, podInterface, mask(OriginalSrcReplyMark, PodMarkMask)),
	)
	return Table{Name: "mangle", Head: []Chain{{"PREROUTING", rules}}}
}

// logPrefix is cut where iptables would cut it, so that what is asked for is
// what iptables-save prints.
func logPrefix(name string) string {
	p := "mangle pre [ " + name + "] "
	return p[:min(len(p), logPrefixLimit)]
}
