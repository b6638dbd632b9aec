// SPDX-License-Identifier: Apache-2.0

package nodediff

import (
	"fmt"
	"strings"

	"github.com/ambient22/ambient22/ipset"
	"github.com/ambient22/ambient22/noderoute"
)

// reasons knows what each line of a plan is for.
type reasons struct {
	plan   noderoute.Plan
	names  *strings.Replacer // puts V for the veth, Z, H and so on
	rules  map[string][]string
	asked  map[string]int
	drains []noderoute.Drain
}

// reasons prepares the sentences for a plan.
func (l *legacy) reasons(p noderoute.Plan) *reasons {
	var swap []string
	put := func(value, letter string) {
		if value != "" {
			swap = append(swap, value, letter)
		}
	}
	put(l.w.value(paramZtunnel)+"/32", "Z/32")
	put("-i "+l.w.value(paramVeth)+" ", "-i V ")
	put(l.w.value(paramHost)+"/32", "H/32")
	put(fmt.Sprintf("--dport %d ", l.port()), "--dport PORT ")
	return &reasons{plan: p, names: strings.NewReplacer(swap...), rules: ruleReasons(), asked: map[string]int{}, drains: p.Drains}
}

// rule is what a planned rule of iptables is for. Rules that stand in a chain several
// times have a sentence for each time.
func (r *reasons) rule(table, chain string, i int, text string) string {
	if why := r.drain(chain, i, text); why != "" {
		return why
	}
	key := table + "/" + chain + " " + r.names.Replace(text)
	if strings.Contains(key, " -j LOG ") {
		key = table + "/" + chain + " -j LOG"
	}
	if strings.Contains(key, "-j DNAT ") {
		key = table + "/" + chain + " DNAT"
	}
	sentences := r.rules[key]
	n := r.asked[key]
	r.asked[key]++
	if n < len(sentences) {
		return sentences[n]
	}
	if len(sentences) > 0 {
		return sentences[len(sentences)-1]
	}
	return ""
}

// drain is what the rules are for that a node has only while a ztunnel drains.
func (r *reasons) drain(chain string, i int, text string) string {
	if len(r.drains) == 0 {
		return ""
	}
	if chain == "ztunnel-PREROUTING" && i < r.drainRules() || chain == "ztunnel-OUTPUT" && strings.HasPrefix(text, "-m connmark --mark ") {
		return "A ztunnel that was replaced keeps the connections it has; this tells them from others, by the number of its slot in the connection's mark."
	}
	return ""
}

// drainRules is how many rules stand in front of the article's first one.
func (r *reasons) drainRules() int {
	for _, t := range r.plan.Tables {
		for _, c := range t.Own {
			if t.Name != "mangle" || c.Name != "ztunnel-PREROUTING" {
				continue
			}
			for i, text := range c.Rules {
				if strings.HasPrefix(text, "-i "+noderoute.DeviceInbound+" ") {
					return i
				}
			}
		}
	}
	return 0
}

func (r *reasons) ipRule(x noderoute.Rule) string {
	if r.plan.Side == noderoute.InPod {
		switch x.Priority {
		case noderoute.PriorityTproxy:
			return "What TPROXY marked is delivered here, whatever its address; without this rule the kernel would send it on."
		case noderoute.PriorityOutboundReply:
			return "The outbound listener's answers carry 0x401 and go back into the tunnel that the call came out of."
		case noderoute.PriorityInboundReply:
			return "The inbound listeners' answers carry 0x402 and go back into the tunnel that the connection came out of."
		}
		return "Answers to what the proxy sent with a pod's address are for somebody else's address, and are delivered here all the same."
	}
	switch {
	case x.Mask == noderoute.DrainMask:
		return "Packets of connections that a draining ztunnel still has are routed to it, or to the active one where it has just gone."
	case x.Priority == noderoute.PrioritySkip:
		return "What is to be left alone jumps over all that follows to the main table."
	case x.Priority == noderoute.PriorityOutbound:
		return "What was captured goes into the outbound tunnel."
	case x.Priority == noderoute.PriorityProxyReturn:
		return "Answers to what ztunnel sent with a pod's address go to ztunnel."
	case x.Mask != 0:
		return "What is for an enrolled pod goes into the inbound tunnel, unless the node itself sends it."
	}
	return "What is for an enrolled pod goes into the inbound tunnel; where no pod has the address, the search goes on."
}

func (r *reasons) ipRuleMain() string {
	return "Skipped packets jump to the kernel's own rule for the main table."
}

func (r *reasons) route(x noderoute.Route) string {
	direct := x.Dst.IsSingleIP() && !x.Via.IsValid()
	if r.plan.Side == noderoute.InPod {
		switch {
		case x.Local:
			return "Every address is local to what TPROXY or the rule for answers marked; otherwise the kernel would drop it."
		case direct:
			return "The tunnel's outer packets keep the mark of what they carry, so this table has to know the way to the node, too."
		case x.Table == noderoute.TableOutbound:
			return "Answers of the outbound listener go back through its tunnel."
		}
		return "Answers of the inbound listeners go back through their tunnel."
	}
	switch {
	case x.Table >= noderoute.TableDrain:
		return "What belongs to a ztunnel that drains goes straight to it."
	case direct:
		return "The tunnel's outer packets may keep the mark of what they carry, so this table has to know the way to the ztunnel, too."
	case x.Table == noderoute.TableOutbound:
		return "Captured packets go to the far end of the outbound tunnel, in the ztunnel's pod."
	case x.Table == noderoute.TableProxyReturn:
		return "Whatever address such an answer is for, it goes to the ztunnel's veth."
	}
	return fmt.Sprintf("What is for pod %s goes to its ztunnel through the inbound tunnel.", x.Dst.Addr())
}

func (r *reasons) device(name string) string {
	switch name {
	case noderoute.DeviceInbound, noderoute.PodDeviceInbound:
		return "The inbound tunnel between the node and the ztunnel's pod, for what is sent to enrolled pods."
	case noderoute.DeviceOutbound, noderoute.PodDeviceOutbound:
		return "The outbound tunnel between the node and the ztunnel's pod, for what enrolled pods send."
	}
	return "A Geneve device hears its remote alone, so a ztunnel that drains is heard by devices of its own."
}

func (r *reasons) set() string {
	return "The set of the enrolled pods' addresses: what they send is captured."
}

func (r *reasons) entry(e ipset.Entry) string {
	return fmt.Sprintf("Without its entry, what pod %s sends is not captured.", e.IP)
}

func (r *reasons) sysctl(y noderoute.Sysctl) string {
	switch {
	case y.Key == "accept_local":
		return "Packets with an address of the node itself come in here again, through a tunnel or from ztunnel."
	case y.Device == "all":
		return "The kernel takes the stricter of this and the device's own; packets come in where their way back is another device."
	case y.Device == "default":
		return "Devices to come start with this."
	}
	return "Packets come in here of which the way back is another device; the reverse path check would drop them."
}
