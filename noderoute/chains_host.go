// SPDX-License-Identifier: Apache-2.0

package noderoute

import "fmt"

// hostNAT keeps captured packets as they are: an accepted packet leaves the
// nat table before kube-proxy's rules could turn the service's virtual address
// into a pod's, so ztunnel sees what the caller asked for (listing 01).
func hostNAT(c HostConfig) Table {
	keep := fmt.Sprintf("-m mark --mark %s -j ACCEPT", mask(OutboundMark, OutboundMask))
	pre := []string{keep}
	if c.DNSCapture {
		pre = append(pre, fmt.Sprintf("-p udp -m udp --dport 53 -m set --match-set %s src -j DNAT --to-destination %s:%d",
			SetName, c.ZtunnelIP, PortDNS))
	}
	return jumped("nat", Chain{"PREROUTING", pre}, Chain{"POSTROUTING", []string{keep}})
}

// hostMangle decides what is captured (listing 01). The packets of ztunnels that
// drain are as little captured as those of the active one.
func hostMangle(c HostConfig, z Ztunnel, drains []Drain) Table {
	save := []string{saveMark(ConnSkipMark, ConnSkipMask), saveMark(ProxyMark, ProxyMask)}
	return jumped("mangle",
		Chain{"PREROUTING", append(drainRules(c, drains), captureRules(c, z)...)},
		Chain{"INPUT", save},
		Chain{"FORWARD", save},
		Chain{"OUTPUT", append(ownRules(c), drainOutput(drains)...)},
		Chain{"POSTROUTING", nil},
	)
}

// ownRules are about packets from the node itself. The listing's rule, the only one
// without a mask, sets the whole mark: what others put there before is lost. With a
// mask, a tunnel's outer packets also keep the mark of what they carry; rule 100 comes
// before the one that would route by it.
//
// That rule knows one address. With another, the answer to an enrolled pod that
// calls the node goes to ztunnel, which knows nothing of that connection; and so does
// what a process sends to a service, whose address becomes a pod's only afterwards, so
// that no rule here could ask for the pod. The hardened rule therefore marks whatever
// the node sends, with a bit that does nothing but keep it out of the table of enrolled
// pods: ip rules of others route it as before. The answers to what ztunnel sent with a
// pod's address have to go to ztunnel, as without the rule.
func ownRules(c HostConfig) []string {
	from := fmt.Sprintf("-s %s/32 -j MARK --set-xmark ", c.HostIP)
	if !c.Hardened {
		return []string{from + mask(ConnSkipMark, 0xffffffff)}
	}
	return []string{
		from + mask(ConnSkipMark, ConnSkipMask),
		fmt.Sprintf("-m connmark ! --mark %s -j MARK --set-xmark %s", mask(ProxyMark, ProxyMask), mask(OwnMark, OwnMask)),
	}
}

func captureRules(c HostConfig, z Ztunnel) []string {
	set := func(match string, mark, bits uint32) string {
		return fmt.Sprintf("%s -j MARK --set-xmark %s", match, mask(mark, bits))
	}
	in := func(dev string) string { return "-i " + dev }
	skipped := fmt.Sprintf("-m mark --mark %s -j RETURN", mask(SkipMark, SkipMask))

	return []string{
		// What came out of a tunnel is not captured again.
		set(in(DeviceInbound), SkipMark, SkipMask),
		in(DeviceInbound) + " -j RETURN",
		set(in(DeviceOutbound), SkipMark, SkipMask),
		in(DeviceOutbound) + " -j RETURN",
		// A tunnel's outer packets carry on without a mark.
		fmt.Sprintf("-p udp -m udp --dport %d -j RETURN", c.TunnelPort),
		// The answer of a skipped connection is skipped too.
		set("-m connmark --mark "+mask(ConnSkipMark, ConnSkipMask), SkipMark, SkipMask),
		skipped,
		// The answer to what ztunnel sent with a pod's address goes to ztunnel.
		set(fmt.Sprintf("! -i %s -m connmark --mark %s", z.Veth, mask(ProxyMark, ProxyMask)), ProxyReturnMark, ProxyReturnMask),
		fmt.Sprintf("-m mark --mark %s -j RETURN", mask(ProxyReturnMark, ProxyReturnMask)),
		// What ztunnel sends with a pod's address, remembered for its answer.
		set(fmt.Sprintf("! -s %s/32 -i %s", z.IP, z.Veth), ProxyMark, ProxyMask),
		skipped,
		// Everything else from ztunnel, and all UDP.
		set(in(z.Veth), ConnSkipMark, ConnSkipMask),
		set("-p udp", ConnSkipMark, ConnSkipMask),
		skipped,
		// What is left of an enrolled pod's TCP is captured.
		set("-p tcp -m set --match-set "+SetName+" src", OutboundMark, OutboundMask),
	}
}

// jumped makes a table of own chains, each reached from the first place of the
// built-in chain it is named after.
func jumped(name string, chains ...Chain) Table {
	t := Table{Name: name}
	for _, c := range chains {
		own := chainPrefix + c.Name
		t.Own = append(t.Own, Chain{own, c.Rules})
		t.Head = append(t.Head, Chain{c.Name, []string{"-j " + own}})
	}
	return t
}

func saveMark(mark, bits uint32) string {
	return fmt.Sprintf("-m mark --mark %s -j CONNMARK --save-mark --nfmask %#x --ctmask %#x", mask(mark, bits), bits, bits)
}

// mask writes a mark and its mask the way iptables-save does.
func mask(mark, bits uint32) string { return fmt.Sprintf("%#x/%#x", mark, bits) }
