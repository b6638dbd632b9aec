// SPDX-License-Identifier: Apache-2.0

package main

import "strings"

// troubles are what people ran into, each played on a node of its own.
func troubles() []trouble {
	bridge := []string{"ip link add BRIDGE type bridge", "ip link set BRIDGE up", "ip addr del 10.4.4.1/32 dev lo", "ip addr add 10.4.4.1/24 dev BRIDGE"}
	on := func(name string, more ...string) []string {
		var lines []string
		for _, line := range append(bridge[:len(bridge):len(bridge)], more...) {
			lines = append(lines, strings.ReplaceAll(line, "BRIDGE", name))
		}
		return lines
	}
	all := []trouble{
		{name: "pods on a bridge: minikube's default", lines: on("bridge", "ip route del 10.4.4.18", "ip route del 10.4.4.19")},
		{
			name:  "pods on a bridge: flannel",
			lines: on("cni0", "ip link add flannel.1 type vxlan id 1 dstport 8472 dev cni0", "ip route del 10.4.4.18", "ip route del 10.4.4.19"),
		},
		{name: "a bridge before the first pod", lines: on("cni0", "ip route del 10.4.4.18", "ip route del 10.4.4.19"), mesh: noZtunnel()},
		{name: "Calico's check of source addresses", lines: []string{"ip link add cali12345 type veth peer name c0"}},
		{name: "Calico's eBPF data plane", lines: []string{"ip link add bpfin.cali type veth peer name bpfout.cali"}, cure: "ip link del bpfin.cali"},
		{name: "Cilium, GKE's Dataplane V2", lines: []string{"ip link add cilium_host type veth peer name cilium_net"}},
		{name: "kube-proxy in IPVS mode", lines: []string{"ip link add kube-ipvs0 type veth peer name kube-ipvs1"}, cure: "ip link del kube-ipvs0"},
		{name: "kube-router's service proxy", lines: []string{"ip link add kube-dummy-if type veth peer name kd"}, cure: "ip link del kube-dummy-if"},
		{name: "kube-proxy in nftables mode", lines: []string{"nft add table ip kube-proxy"}, passes: true, cure: "nft delete table ip kube-proxy"},
		{
			name:  "OVN's tunnel on UDP 6081",
			lines: []string{"ip link add genev_sys_6081 type vxlan external dstport 6081", "ip link set genev_sys_6081 up"},
			cure:  "--tunnel-port 6082",
		},
		{name: "a process on UDP 6081", socket: "127.0.0.1:6081", cure: "--tunnel-port=6082"},
	}
	return append(append(append(all, lacks()...), foreign()...), places()...)
}

// noZtunnel takes the ztunnel's readiness away.
func noZtunnel() []string { return []string{`status: "True"`, `status: "False"`} }

// lacks are kernels and containers without something.
func lacks() []trouble {
	geneve := trouble{name: "a kernel without Geneve", args: []string{"--tunnel", "geneve"}, lacking: "geneve", cure: "--tunnel=vxlan"}
	readOnly := "mount --make-rprivate / && mount --bind /proc/sys /proc/sys && mount -o remount,ro,bind /proc/sys && exec \"$0\" \"$@\""
	noTools := "mount --make-rprivate / && mount -t tmpfs none /usr/sbin && exec \"$0\" \"$@\""
	return []trouble{
		geneve,
		{name: "a kernel without ip rules", lacking: "rules"},
		{name: "a kernel without IP sets", lacking: "sets"},
		{name: "a kernel without the match of IP sets", refused: "match-set"},
		{name: "a kernel without TPROXY", refused: "TPROXY"},
		{name: "a kernel without CONNMARK", refused: "CONNMARK"},
		{name: "no right to change the network", wrap: []string{"setpriv", "--inh-caps=-net_admin", "--bounding-set=-net_admin"}},
		{name: "no right to use iptables", wrap: []string{"setpriv", "--inh-caps=-net_raw", "--bounding-set=-net_raw"}},
		{name: "no right to make namespaces", wrap: []string{"setpriv", "--inh-caps=-sys_admin", "--bounding-set=-sys_admin"}, passes: true},
		{name: "sysctls that can't be written", wrap: []string{"unshare", "--mount", "sh", "-c", readOnly}},
		{name: "no iptables", wrap: []string{"unshare", "--mount", "sh", "-c", noTools}},
	}
}

// foreign are others' objects where ours are to be.
func foreign() []trouble {
	return []trouble{
		{
			name: "rules in both iptables variants", passes: true,
			lines: []string{"iptables-legacy -A FORWARD -j ACCEPT"},
			cure:  "iptables-legacy -D FORWARD -j ACCEPT",
		},
		{
			name:  "somebody's ip rule at our priority",
			lines: []string{"ip rule add priority 101 fwmark 0x8/0x8 lookup 77"}, cure: "ip rule del priority 101",
		},
		{
			name:  "somebody's route in our table",
			lines: []string{"ip route add 10.99.0.0/16 dev veth18 table 101"}, cure: "ip route del 10.99.0.0/16 table 101",
		},
		{name: "a device of our name", lines: []string{"ip link add istioin type bridge"}, cure: "ip link del istioin"},
		{name: "a set of our name", lines: []string{"ipset create ztunnel-pods-ips hash:net"}, cure: "ipset destroy ztunnel-pods-ips"},
		{
			name:  "a chain of our name",
			input: "*mangle\n:ztunnel-PREROUTING - [0:0]\n-A ztunnel-PREROUTING -s 10.9.9.9/32 -j DROP\nCOMMIT\n",
			cure:  "iptables-nft -t mangle -F ztunnel-PREROUTING",
		},
		{
			name:  "a base chain of our name",
			lines: []string{"nft add table ip mangle", "nft add chain ip mangle ztunnel-PREROUTING { type filter hook prerouting priority -150 ; }"},
			cure:  "nft delete table ip mangle",
		},
		{
			name: "nftables rules that iptables can't read",
			lines: []string{
				"nft add table ip mangle", "nft add chain ip mangle PREROUTING { type filter hook prerouting priority -150 ; }",
				"nft add rule ip mangle PREROUTING ct state vmap { invalid : drop }",
			},
			cure: "nft delete table ip mangle",
		},
	}
}

// places are addresses and routes that are not as they have to be.
func places() []trouble {
	return []trouble{
		{name: "forwarding is off", lines: []string{"sysctl -qw net.ipv4.ip_forward=0"}, cure: "sysctl -qw net.ipv4.ip_forward=1"},
		{name: "no route to the ztunnel", lines: []string{"ip route del 10.4.4.18"}, cure: "ip route add 10.4.4.18 dev veth18"},
		{name: "no ready ztunnel", mesh: noZtunnel(), passes: true},
		{name: "a pod without a route", lines: []string{"ip route del 10.4.4.19"}, passes: true, cure: "ip route add 10.4.4.19 dev veth19"},
		{name: "a pod with an IPv6 address only", mesh: []string{"podIP: 10.4.4.19", "podIP: 'fd00::19'"}},
		{
			name: "a node with IPv6 addresses only",
			mesh: []string{"podCIDR: 10.4.4.0/24", "podCIDR: 'fd00::/64'", "address: 10.168.15.222", "address: 'fd00::222'"},
		},
		{
			name: "a node without a pod range and InternalIP",
			mesh: []string{"podCIDR: 10.4.4.0/24", "unschedulable: false", "type: InternalIP", "type: ExternalIP"},
		},
		{name: "a pod range of another node", mesh: []string{"podCIDR: 10.4.4.0/24", "podCIDR: 10.4.9.0/24"}},
		{name: "a name that no node has", mesh: []string{"{name: node-a}", "{name: node-b}", "nodeName: node-a", "nodeName: node-b"}},
	}
}
