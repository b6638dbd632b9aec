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
	out := append(obstacles(p, l), s.strangers(l)...)
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

// strangers are chains of our names with rules in them where nothing else of ours
// is: no device, no rule, no set, and no memory of having been here. Writing ours
// would empty them.
func (s *session) strangers(l *listing) []Problem {
	if s.state.found || len(l.links) > 0 || l.set != nil || slices.ContainsFunc(l.rules, l.ownsRule) {
		return nil
	}
	var out []Problem
	for _, name := range []string{"mangle", "nat"} {
		if l.tables[name] == nil {
			continue
		}
		for _, chain := range l.tables[name].chains {
			if ownChain(s.side, chain.name) && len(chain.rules) > 0 {
				out = append(out, Problem{
					What:     "a chain has the name of one of ours and rules in it, and nothing else of ours is on this node",
					Where:    fmt.Sprintf("iptables -t %s -S %s", name, chain.name),
					WayOut:   "rename it if it is in use; what an earlier data path left is taken away by: ambient-node cleanup",
					Blocking: true,
				})
			}
		}
	}
	return out
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
				What:     fmt.Sprintf("another %s device%s holds UDP port %d", l.Kind, ownerOfTunnel(l.Name), port),
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
	// A node whose pods each have a veth gets that address with its first pod.
	if c.HostIP.IsValid() && c.ZtunnelIP.IsValid() && !hops[c.HostIP].Local {
		out = append(out, Problem{
			What:  "the host address is not an address of this node; packets from the node itself would be captured",
			Where: "ip addr: " + c.HostIP.String(), WayOut: "correct the Node's spec.podCIDR (the node has its first address) or, where it has none, its InternalIP", Blocking: true,
			Passing: hops[c.ZtunnelIP].none(), // it may be there with the first pod
		})
	}
	if c.ZtunnelIP.IsValid() {
		problem, err := s.routeProblem("the ztunnel pod", c.ZtunnelIP, hops[c.ZtunnelIP])
		if err != nil {
			return nil, err
		}
		for i := range problem {
			problem[i].Blocking = true // without it there is no data path at all
			problem[i].Passing = hops[c.ZtunnelIP].none()
		}
		out = append(out, problem...)
	}
	bridges := map[string]bool{}
	if !c.ZtunnelIP.IsValid() {
		// Without a ztunnel, the pods' gateway tells how it will be reached.
		problem, err := s.gatewayProblem(c.HostIP, hops[c.HostIP])
		if err != nil || len(problem) > 0 {
			return append(out, problem...), err
		}
	}
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
	case hop.none():
		problem.What = "there is no route to " + whose + " on this node"
		problem.WayOut = "see whether the pod runs on this node and its CNI plugin has finished"
	default:
		bridge, err := s.bridge(hop.Dev)
		if err != nil {
			return nil, err
		}
		problem.What = fmt.Sprintf("%s is reached through the /%d network on %s", whose, hop.Bits, hop.Dev)
		if bridge != "" {
			problem.What += ", " + bridge
		}
		problem.What += "; " + needsRoutes
		problem.WayOut = routingPlugins
	}
	return []Problem{problem}, nil
}
