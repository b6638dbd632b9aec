// SPDX-License-Identifier: Apache-2.0

package noderoute

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/ambient22/ambient22/geneve"
)

// foreignProblems are others' objects where ours are to be. Where there is no
// ztunnel yet, a plan for nobody tells the names, numbers and places.
func (s *session) foreignProblems(c HostConfig, t tools) ([]Problem, error) {
	p, err := probePlan(c)
	if err != nil {
		return nil, err
	}
	l, err := s.list(p, c.ZtunnelIP)
	if err != nil {
		return nil, err
	}
	out := obstacles(p, l)
	port, err := s.portProblems(c.Tunnel, c.TunnelPort)
	if err != nil {
		return nil, err
	}
	out = append(out, port...)
	if t.variant != NFT {
		return out, nil
	}
	tables, err := listNFT()
	if err != nil {
		return nil, err
	}
	if len(l.tables) == 0 && (tables["mangle"] != nil || tables["nat"] != nil) {
		// Without a chain of ours the rules were not read yet, and only reading
		// them tells whether iptables can.
		have, err := s.saveTables(t)
		if err != nil {
			return nil, err
		}
		out = append(out, unreadable(have)...)
	}
	for _, name := range []string{"mangle", "nat"} {
		if tables[name] == nil {
			continue
		}
		for _, chain := range tables[name].chains {
			if chain.base && ownChain(Host, chain.name) {
				out = append(out, Problem{
					What:  "a base chain has the name of one of ours",
					Where: fmt.Sprintf("nft list chain ip %s %s", name, chain.name), WayOut: "delete or rename it", Blocking: true,
				})
			}
		}
	}
	return out, nil
}

// portProblems find who else has the tunnels' UDP port. Tunnels of one kind
// share a port as long as their identifiers differ and none takes everything.
func (s *session) portProblems(kind geneve.Kind, port uint16) ([]Problem, error) {
	links, err := s.links.Links()
	if err != nil {
		return nil, err
	}
	var out []Problem
	explained := false
	for _, l := range links {
		if !l.Tunnel() || l.Port != port {
			continue
		}
		explained = true
		if slices.Contains(deviceNames(s.side), l.Name) {
			continue
		}
		if l.External || l.Kind != kind.String() || l.VNI == VNIInbound || l.VNI == VNIOutbound {
			out = append(out, Problem{
				What:     fmt.Sprintf("another %s device holds UDP port %d", l.Kind, port),
				Where:    "ip -d link show " + l.Name,
				WayOut:   "give ambient22 another port: --tunnel-port, the same on the node and in the ztunnel pod",
				Blocking: true,
			})
		}
	}
	if !explained && udpPortTaken(port) {
		out = append(out, Problem{
			What:     fmt.Sprintf("a process holds UDP port %d", port),
			Where:    fmt.Sprintf("ss -lunp sport = :%d", port),
			WayOut:   "stop it, or give ambient22 another port: --tunnel-port, the same on the node and in the ztunnel pod",
			Blocking: true,
		})
	}
	return out, nil
}

// udpPortTaken reads the kernel's lists of UDP sockets, in which a tunnel's own
// socket stands as well. A socket of IPv6 usually takes IPv4 packets too; one
// that does not is named needlessly, which is better than failing later.
func udpPortTaken(port uint16) bool {
	suffix := fmt.Sprintf(":%04X", port)
	for _, list := range []string{"udp", "udp6"} {
		text, err := os.ReadFile("/proc/thread-self/net/" + list)
		if err != nil {
			continue // a kernel without IPv6
		}
		for line := range strings.Lines(string(text)) {
			fields := strings.Fields(line)
			if len(fields) > 2 && strings.HasSuffix(fields[1], suffix) {
				return true
			}
		}
	}
	return false
}

// routeProblems are about the routes to the ztunnel and to each pod, and about
// the node's own address. A pod's problem keeps only that pod out.
func (s *session) routeProblems(c HostConfig, _ tools) ([]Problem, error) {
	var addrs []netip.Addr
	for _, a := range []netip.Addr{c.ZtunnelIP, c.HostIP} {
		if a.IsValid() {
			addrs = append(addrs, a)
		}
	}
	for _, p := range c.Pods {
		addrs = append(addrs, p.IP)
	}
	hops, err := s.hops(addrs)
	if err != nil {
		return nil, err
	}
	var out []Problem
	if c.HostIP.IsValid() && !hops[c.HostIP].Local {
		out = append(out, Problem{
			What:  "the host address is not an address of this node; packets from the node itself would be captured",
			Where: "ip addr: " + c.HostIP.String(), WayOut: "correct the Node's spec.podCIDR (the node has its first address) or, where it has none, its InternalIP", Blocking: true,
		})
	}
	if c.ZtunnelIP.IsValid() {
		problem, err := s.routeProblem("the ztunnel pod", c.ZtunnelIP, hops[c.ZtunnelIP])
		if err != nil {
			return nil, err
		}
		for i := range problem {
			problem[i].Blocking = true // without it there is no data path at all
		}
		out = append(out, problem...)
	}
	bridges := map[string]bool{}
	for _, p := range c.Pods {
		hop := hops[p.IP]
		if bridges[hop.Dev] {
			continue // one word per bridge is enough
		}
		problem, err := s.routeProblem("pod "+p.UID, p.IP, hop)
		if err != nil {
			return nil, err
		}
		out = append(out, problem...)
		bridges[hop.Dev] = len(problem) > 0 && hop.Dev != ""
	}
	return out, nil
}

// routeProblem says why an address cannot be reached the way it has to be.
func (s *session) routeProblem(whose string, ip netip.Addr, hop Hop) ([]Problem, error) {
	problem := Problem{Where: "ip route get " + ip.String()}
	switch {
	case !ip.Is4():
		problem.What = fmt.Sprintf("%s has the address %s: %v", whose, ip, ErrIPv6)
		problem.WayOut = "give it an IPv4 address, or take it out of the mesh"
	case hop.own():
		return nil, nil
	case hop.Local:
		problem.What = whose + " has an address of the node itself"
		problem.WayOut = "pods on the host's network cannot take part"
	case hop.Dev == "" || hop.Via.IsValid() || hop.Bits == 0:
		problem.What = "there is no route to " + whose + " on this node"
		problem.WayOut = "see whether the pod runs on this node and its CNI plugin has finished"
	default:
		links, err := s.links.List(hop.Dev)
		if err != nil {
			return nil, err
		}
		problem.What = fmt.Sprintf("%s is reached through the /%d network on %s", whose, hop.Bits, hop.Dev)
		if len(links) > 0 && links[0].Kind == "bridge" {
			problem.What += ", a bridge" + cniOfBridge(hop.Dev)
		}
		problem.What += "; the data path needs one veth and one /32 route per pod"
		problem.WayOut = "use a CNI plugin that routes each pod (ptp, GKE's own, kindnet, Calico without its source checks) instead of one that bridges"
	}
	return []Problem{problem}, nil
}

// cniOfBridge names the CNI plugin that usually makes a bridge of this name.
func cniOfBridge(name string) string {
	for prefix, cni := range map[string]string{
		"cni":         "flannel or the bridge plugin",
		"bridge":      "minikube's bridge plugin",
		"cbr":         "kubenet",
		"kube-bridge": "kube-router",
		"weave":       "Weave Net",
		"docker":      "Docker",
		"antrea":      "Antrea",
	} {
		if strings.HasPrefix(name, prefix) {
			return " of " + cni
		}
	}
	return ""
}

// neighbourProblems are about others on the node who route or filter packets
// past the data path.
func (s *session) neighbourProblems(c HostConfig, t tools) ([]Problem, error) {
	links, err := s.links.Links()
	if err != nil {
		return nil, err
	}
	var out []Problem
	calico := false
	for _, l := range links {
		switch {
		case l.Name == "kube-ipvs0":
			out = append(out, Problem{
				What:     "kube-proxy runs in IPVS mode: service addresses are local to the node and are handled before any ip rule of ours",
				Where:    "ip link show kube-ipvs0",
				WayOut:   "run kube-proxy in iptables mode",
				Blocking: true,
			})
		case l.Name == "cilium_host":
			out = append(out, Problem{
				What:     "Cilium's eBPF programs pass packets by the rules (its kube-proxy replacement, socket load balancing and masquerading)",
				Where:    "ip link show cilium_host",
				WayOut:   "use another CNI plugin",
				Blocking: true,
			})
		case strings.HasPrefix(l.Name, "cali"):
			calico = true
		}
	}
	if !calico {
		return out, nil
	}
	have, err := s.saveTables(t)
	if err != nil {
		return nil, err
	}
	return append(out, calicoProblem(c, have, s)...), nil
}

// calicoProblem: Calico drops packets from a workload with an address that is
// not the workload's. ztunnel sends such packets, with pods' addresses.
func calicoProblem(c HostConfig, have saved, s *session) []Problem {
	allowed := false
	if hops, err := s.hops([]netip.Addr{c.ZtunnelIP}); err == nil {
		veth := hops[c.ZtunnelIP].Dev
		if chain := have["raw"].chain("cali-rpf-skip"); chain != nil && veth != "" {
			allowed = slices.ContainsFunc(chain.rules, func(r string) bool {
				return strings.Contains(r+" ", "-i "+veth+" ") && strings.Contains(r, "-j ACCEPT")
			})
		}
	}
	if allowed {
		return nil
	}
	return []Problem{{
		What:  "Calico drops packets with a source address that is not the sending pod's, and ztunnel sends with pods' addresses",
		Where: "iptables -t raw -S cali-PREROUTING",
		WayOut: "set workloadSourceSpoofing: Any in Calico's FelixConfiguration and annotate the ztunnel pods with " +
			`cni.projectcalico.org/allowedSourcePrefixes: '["0.0.0.0/0"]'`,
		Blocking: true,
	}}
}
