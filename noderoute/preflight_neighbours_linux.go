// SPDX-License-Identifier: Apache-2.0

package noderoute

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/ambient22/ambient22/geneve"
)

// neighbourProblems are about others on the node who route or filter packets
// past the data path. They are known by the devices and tables that they make.
func (s *session) neighbourProblems(c HostConfig, t tools) ([]Problem, error) {
	links, err := s.links.Links()
	if err != nil {
		return nil, err
	}
	out := besides(links)
	if slices.ContainsFunc(links, func(l geneve.Link) bool { return strings.HasPrefix(l.Name, "cali") }) {
		have, err := s.saveTables(t)
		if err != nil {
			return nil, err
		}
		out = append(out, calicoProblem(c, have, s)...)
	}
	tables, err := listNFT()
	if err != nil {
		return nil, err
	}
	if tables["kube-proxy"] != nil {
		// Not so within iptables: what one nat table of nftables accepts, the
		// next one at the same hook still sees.
		out = append(out, Problem{
			What: "kube-proxy runs in nftables mode: it translates service addresses in a table of its own, also those of captured connections, " +
				"and ztunnel sees the pod that kube-proxy picked instead of the service",
			Where:  "nft list table ip kube-proxy",
			WayOut: "run kube-proxy in iptables mode (mode: iptables in its configuration)",
		})
	}
	return out, nil
}

// besides are the neighbours that a node cannot have beside this data path, each
// named once, by the first of its devices.
func besides(links []geneve.Link) []Problem {
	links = slices.SortedFunc(slices.Values(links), func(a, b geneve.Link) int { return strings.Compare(a.Name, b.Name) })
	var out []Problem
	for _, n := range []struct {
		device       func(name string) bool
		what, wayOut string
	}{{
		device: func(name string) bool { return name == "kube-ipvs0" },
		what: "kube-proxy runs in IPVS mode: service addresses are addresses of the node itself (table local), " +
			"which comes before any ip rule of ours, so calls to services would pass by the mesh",
		wayOut: "run kube-proxy in iptables mode (mode: iptables in its configuration)",
	}, {
		device: func(name string) bool { return name == "kube-dummy-if" },
		what: "kube-router serves service addresses by IPVS: they are addresses of the node itself (table local), " +
			"which comes before any ip rule of ours, so calls to services would pass by the mesh",
		wayOut: "start kube-router with --run-service-proxy=false and kube-proxy in iptables mode",
	}, {
		device: func(name string) bool { return strings.HasPrefix(name, "cilium_") },
		what: "Cilium's eBPF programs pass packets by the rules of iptables: its kube-proxy replacement and socket load balancing turn services into pods " +
			"before a packet is sent, its routing and masquerading leave out the marks and tables of the data path",
		wayOut: "use another CNI plugin; on GKE, make the cluster without Dataplane V2, which is Cilium",
	}, {
		device: func(name string) bool {
			return slices.Contains([]string{"bpfin.cali", "bpfout.cali", "bpfnatin", "bpfnatout"}, name)
		},
		what:   "Calico's eBPF data plane passes packets by the rules of iptables",
		wayOut: "set bpfEnabled: false in Calico's FelixConfiguration, and run kube-proxy in iptables mode",
	}} {
		i := slices.IndexFunc(links, func(l geneve.Link) bool { return n.device(l.Name) })
		if i >= 0 {
			out = append(out, Problem{What: n.what, Where: "ip link show " + links[i].Name, WayOut: n.wayOut, Blocking: true})
		}
	}
	return out
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
			`cni.projectcalico.org/allowedSourcePrefixes: '["0.0.0.0/0"]'; ` +
			"the pods' gateway must be an address of the node, which Calico's own 169.254.1.1 is not: ztunnel init looks at that",
		Blocking: true,
	}}
}
