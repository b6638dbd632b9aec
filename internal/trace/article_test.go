// SPDX-License-Identifier: Apache-2.0

package trace

import "testing"

// nodeA is the article's node A with all that its listings leave out.
func nodeA() texts {
	return texts{
		legacy: `*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:KUBE-MARK-MASQ - [0:0]
:KUBE-POSTROUTING - [0:0]
:KUBE-SEP-ONE - [0:0]
:KUBE-SERVICES - [0:0]
:KUBE-SVC-PRODUCTPAGE - [0:0]
:ztunnel-POSTROUTING - [0:0]
:ztunnel-PREROUTING - [0:0]
-A PREROUTING -j ztunnel-PREROUTING
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A OUTPUT -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A POSTROUTING -j ztunnel-POSTROUTING
-A POSTROUTING -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING
-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000
-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
-A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0
-A KUBE-POSTROUTING -m comment --comment "kubernetes service traffic requiring SNAT" -j MASQUERADE --random-fully
-A KUBE-SEP-ONE -s 10.4.3.20/32 -j KUBE-MARK-MASQ
-A KUBE-SEP-ONE -p tcp -m tcp -j DNAT --to-destination 10.4.3.20:9080
-A KUBE-SERVICES -d 10.8.14.226/32 -p tcp -m comment --comment "default/productpage:http cluster IP" -m tcp --dport 9080 -j KUBE-SVC-PRODUCTPAGE
-A KUBE-SVC-PRODUCTPAGE -j KUBE-SEP-ONE
-A ztunnel-POSTROUTING -m mark --mark 0x100/0x100 -j ACCEPT
-A ztunnel-PREROUTING -m mark --mark 0x100/0x100 -j ACCEPT
COMMIT
*mangle
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:ztunnel-FORWARD - [0:0]
:ztunnel-INPUT - [0:0]
:ztunnel-OUTPUT - [0:0]
:ztunnel-POSTROUTING - [0:0]
:ztunnel-PREROUTING - [0:0]
-A PREROUTING -j ztunnel-PREROUTING
-A INPUT -j ztunnel-INPUT
-A FORWARD -j ztunnel-FORWARD
-A OUTPUT -j ztunnel-OUTPUT
-A OUTPUT -s 169.254.169.254/32 -j DROP
-A POSTROUTING -j ztunnel-POSTROUTING
-A ztunnel-FORWARD -m mark --mark 0x220/0x220 -j CONNMARK --save-mark --nfmask 0x220 --ctmask 0x220
-A ztunnel-FORWARD -m mark --mark 0x210/0x210 -j CONNMARK --save-mark --nfmask 0x210 --ctmask 0x210
-A ztunnel-INPUT -m mark --mark 0x220/0x220 -j CONNMARK --save-mark --nfmask 0x220 --ctmask 0x220
-A ztunnel-INPUT -m mark --mark 0x210/0x210 -j CONNMARK --save-mark --nfmask 0x210 --ctmask 0x210
-A ztunnel-OUTPUT -s 10.4.4.1/32 -j MARK --set-xmark 0x220/0xffffffff
-A ztunnel-PREROUTING -i istioin -j MARK --set-xmark 0x200/0x200
-A ztunnel-PREROUTING -i istioin -j RETURN
-A ztunnel-PREROUTING -i istioout -j MARK --set-xmark 0x200/0x200
-A ztunnel-PREROUTING -i istioout -j RETURN
-A ztunnel-PREROUTING -p udp -m udp --dport 6081 -j RETURN
-A ztunnel-PREROUTING -m connmark --mark 0x220/0x220 -j MARK --set-xmark 0x200/0x200
-A ztunnel-PREROUTING -m mark --mark 0x200/0x200 -j RETURN
-A ztunnel-PREROUTING ! -i veth300a1d80 -m connmark --mark 0x210/0x210 -j MARK --set-xmark 0x40/0x40
-A ztunnel-PREROUTING -m mark --mark 0x40/0x40 -j RETURN
-A ztunnel-PREROUTING ! -s 10.4.4.18/32 -i veth300a1d80 -j MARK --set-xmark 0x210/0x210
-A ztunnel-PREROUTING -m mark --mark 0x200/0x200 -j RETURN
-A ztunnel-PREROUTING -i veth300a1d80 -j MARK --set-xmark 0x220/0x220
-A ztunnel-PREROUTING -p udp -j MARK --set-xmark 0x220/0x220
-A ztunnel-PREROUTING -m mark --mark 0x200/0x200 -j RETURN
-A ztunnel-PREROUTING -p tcp -m set --match-set ztunnel-pods-ips src -j MARK --set-xmark 0x100/0x100
COMMIT
`,
		rules: `0:	from all lookup local
100:	from all fwmark 0x200/0x200 goto 32766
101:	from all fwmark 0x100/0x100 lookup 101
102:	from all fwmark 0x40/0x40 lookup 102
103:	from all lookup 100
32766:	from all lookup main
32767:	from all lookup default
`,
		routes: `10.4.4.7 via 192.168.126.2 dev istioin table 100 src 10.4.4.1
10.4.4.18 dev veth300a1d80 table 100 scope link
10.4.4.19 via 192.168.126.2 dev istioin table 100 src 10.4.4.1
default via 192.168.127.2 dev istioout table 101
10.4.4.18 dev veth300a1d80 table 101 scope link
default via 10.4.4.18 dev veth300a1d80 table 102 onlink
10.4.4.18 dev veth300a1d80 table 102 scope link
default via 10.168.15.1 dev eth0 proto dhcp
10.168.15.0/24 dev eth0 proto kernel scope link src 10.168.15.222
10.4.4.7 dev veth7 scope link
10.4.4.18 dev veth300a1d80 scope link
10.4.4.19 dev veth19 scope link
10.4.4.99 dev veth99 scope link
192.168.126.0/30 dev istioin proto kernel scope link src 192.168.126.1
192.168.127.0/30 dev istioout proto kernel scope link src 192.168.127.1
local 10.4.4.1 dev veth19 table local proto kernel scope host src 10.4.4.1
local 10.168.15.222 dev eth0 table local proto kernel scope host src 10.168.15.222
broadcast 10.168.15.255 dev eth0 table local proto kernel scope link src 10.168.15.222
local 127.0.0.0/8 dev lo table local proto kernel scope host src 127.0.0.1
local 127.0.0.1 dev lo table local proto kernel scope host src 127.0.0.1
local 192.168.126.1 dev istioin table local proto kernel scope host src 192.168.126.1
local 192.168.127.1 dev istioout table local proto kernel scope host src 192.168.127.1
`,
		links: `1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN group default qlen 1000
    inet 127.0.0.1/8 scope host lo
2: eth0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1460 qdisc mq state UP group default qlen 1000
    inet 10.168.15.222/24 brd 10.168.15.255 scope global eth0
7: veth7@if2: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1460 qdisc noqueue state UP group default
    inet 10.4.4.1/32 scope global veth7
18: veth300a1d80@if2: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1460 qdisc noqueue state UP group default
    inet 10.4.4.1/32 scope global veth300a1d80
19: veth19@if2: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1460 qdisc noqueue state UP group default
    inet 10.4.4.1/32 scope global veth19
20: veth99@if2: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1460 qdisc noqueue state UP group default
    inet 10.4.4.1/32 scope global veth99
23: istioin: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1410 qdisc noqueue state UNKNOWN group default
    inet 192.168.126.1/30 brd 192.168.126.3 scope global istioin
24: istioout: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1410 qdisc noqueue state UNKNOWN group default
    inet 192.168.127.1/30 brd 192.168.127.3 scope global istioout
`,
		sets: `create ztunnel-pods-ips hash:ip family inet hashsize 1024 maxelem 65536 comment
add ztunnel-pods-ips 10.4.4.7 comment "uid-7"
add ztunnel-pods-ips 10.4.4.19 comment "uid-19"
`,
		sysctls: hostSysctls(),
	}
}

func hostSysctls() map[string]string {
	all := map[string]string{"net.ipv4.ip_forward": "1"}
	for _, dev := range []string{"all", "default", "lo", "eth0", "veth7", "veth19", "veth99", "veth300a1d80", "istioin", "istioout"} {
		all["net.ipv4.conf."+dev+".rp_filter"] = "0"
		all["net.ipv4.conf."+dev+".accept_local"] = "0"
		all["net.ipv4.conf."+dev+".forwarding"] = "1"
	}
	for _, dev := range []string{"veth300a1d80", "istioin", "istioout"} {
		all["net.ipv4.conf."+dev+".accept_local"] = "1"
	}
	return all
}

// ztunnelA is the ztunnel pod's namespace on node A.
func ztunnelA() texts {
	sysctls := map[string]string{"net.ipv4.ip_forward": "1"}
	for _, dev := range []string{"all", "default", "lo", "eth0", "pistioin", "pistioout"} {
		sysctls["net.ipv4.conf."+dev+".rp_filter"] = "0"
		sysctls["net.ipv4.conf."+dev+".accept_local"] = "0"
	}
	return texts{
		legacy: `*mangle
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
-A PREROUTING -j LOG --log-prefix "mangle pre [ ztunnel-rts54] "
-A PREROUTING -i pistioin -p tcp -m tcp --dport 15008 -j TPROXY --on-port 15008 --on-ip 127.0.0.1 --tproxy-mark 0x400/0xfff
-A PREROUTING -i pistioout -p tcp -j TPROXY --on-port 15001 --on-ip 127.0.0.1 --tproxy-mark 0x400/0xfff
-A PREROUTING -i pistioin -p tcp -j TPROXY --on-port 15006 --on-ip 127.0.0.1 --tproxy-mark 0x400/0xfff
-A PREROUTING ! -d 10.4.4.18/32 -i eth0 -p tcp -j MARK --set-xmark 0x4d3/0xfff
COMMIT
*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
-A OUTPUT -p tcp -m tcp --dport 15088 -j REDIRECT --to-ports 15008
COMMIT
`,
		rules: `0:	from all lookup local
20000:	from all fwmark 0x400/0xfff lookup 100
20001:	from all fwmark 0x401/0xfff lookup 101
20002:	from all fwmark 0x402/0xfff lookup 102
20003:	from all fwmark 0x4d3/0xfff lookup 100
32766:	from all lookup main
32767:	from all lookup default
`,
		routes: `local default dev lo table 100 scope host
default via 192.168.127.1 dev pistioout table 101
10.4.4.1 dev eth0 table 101 scope link
default via 192.168.126.1 dev pistioin table 102
10.4.4.1 dev eth0 table 102 scope link
default via 10.4.4.1 dev eth0
10.4.4.0/24 via 10.4.4.1 dev eth0 src 10.4.4.18
10.4.4.1 dev eth0 scope link src 10.4.4.18
192.168.126.0/30 dev pistioin proto kernel scope link src 192.168.126.2
192.168.127.0/30 dev pistioout proto kernel scope link src 192.168.127.2
local 10.4.4.18 dev eth0 table local proto kernel scope host src 10.4.4.18
local 127.0.0.0/8 dev lo table local proto kernel scope host src 127.0.0.1
local 127.0.0.1 dev lo table local proto kernel scope host src 127.0.0.1
local 192.168.126.2 dev pistioin table local proto kernel scope host src 192.168.126.2
local 192.168.127.2 dev pistioout table local proto kernel scope host src 192.168.127.2
`,
		links: `1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN group default qlen 1000
    inet 127.0.0.1/8 scope host lo
2: eth0@if18: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1460 qdisc noqueue state UP group default
    inet 10.4.4.18/24 brd 10.4.4.255 scope global eth0
3: pistioin: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1410 qdisc noqueue state UNKNOWN group default qlen 1000
    inet 192.168.126.2/30 scope global pistioin
4: pistioout: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1410 qdisc noqueue state UNKNOWN group default qlen 1000
    inet 192.168.127.2/30 scope global pistioout
`,
		sysctls: sysctls,
	}
}

// proxySockets are what the ztunnel listens on.
func proxySockets() Option {
	var list []Socket
	for _, port := range []uint16{15001, 15006, 15008} {
		list = append(list, Socket{Protocol: protoTCP, Local: addrPort(0, port), Transparent: true})
	}
	return Sockets(list...)
}

// stage is one packet of a table test. A text beginning with "<" is received by the
// device that follows, one with ">" is sent.
type passing struct {
	name   string
	way    string // device, or "" for one sent from here
	packet Packet
	want   string
}

func follow(t *testing.T, s *Space, c *Conns, list []passing) {
	t.Helper()
	for _, x := range list {
		t.Run(x.name, func(t *testing.T) {
			t.Helper()
			if x.way == "" {
				send(s, x.packet, c).want(t, x.want)
				return
			}
			receive(s, x.packet.via(x.way), c).want(t, x.want)
		})
	}
}

func TestNodeA(t *testing.T) {
	syn := tcp("10.4.4.19:40000", "10.8.14.226:9080")
	plain := tcp("10.4.4.99:40000", "10.8.14.226:9080")
	hbone := tcp("10.4.4.18:41000", "10.4.3.20:15008")
	asPod := tcp("10.4.4.19:42000", "8.8.8.8:443")
	probe := tcp("10.4.4.1:50000", "10.4.4.19:8080")
	inbound := tcp("10.4.3.14:43000", "10.4.4.19:15008")
	follow(t, nodeA().space(t), NewConns(), []passing{
		{"captured", "veth19", syn, "verdict=sent out=istioout via=192.168.127.2 dst=10.8.14.226:9080 mark=0x100 connmark=0x0 state=NEW doubts=0"},
		{"its answer out of the tunnel", "istioout", syn.answer("", flagSYN|flagACK), "verdict=sent out=veth19 mark=0x200 connmark=0x0 state=ESTABLISHED doubts=0"},
		{"captured, established", "veth19", syn.flags(flagACK), "verdict=sent out=istioout mark=0x100 state=ESTABLISHED doubts=0"},
		{"its Geneve frame", "", udp("10.168.15.222:33000", "10.4.4.18:6081"), "verdict=sent out=veth300a1d80 mark=0x0 doubts=0"},
		{"a pod outside the mesh", "veth99", plain, "verdict=sent out=eth0 via=10.168.15.1 dst=10.4.3.20:9080 mark=0x0 doubts=0"},
		{"its answer", "eth0", tcp("10.4.3.20:9080", "10.4.4.99:40000").flags(flagSYN | flagACK), "verdict=sent out=veth99 src=10.8.14.226:9080 doubts=0"},
		{"UDP of a member", "veth19", udp("10.4.4.19:53000", "10.4.3.5:53"), "verdict=sent out=eth0 mark=0x220 connmark=0x220"},
		{"HBONE from ztunnel", "veth300a1d80", hbone, "verdict=sent out=eth0 mark=0x220 connmark=0x220 doubts=0"},
		{"its answer to ztunnel", "eth0", hbone.answer("", flagSYN|flagACK), "verdict=sent out=veth300a1d80 mark=0x200 connmark=0x220"},
		{"ztunnel with a pod's source", "veth300a1d80", asPod, "verdict=sent out=eth0 mark=0x210 connmark=0x210"},
		{"its answer goes to ztunnel", "eth0", asPod.answer("", flagSYN|flagACK), "verdict=sent out=veth300a1d80 via=10.4.4.18 mark=0x40 connmark=0x210"},
		{"a kubelet's probe", "", probe, "verdict=sent out=veth19 mark=0x220 doubts=0"},
		{"the probe's answer", "veth19", probe.answer("", flagSYN|flagACK), "verdict=delivered mark=0x100"},
		{"inbound to a member", "eth0", inbound, "verdict=sent out=istioin via=192.168.126.2 mark=0x0 connmark=0x0"},
		{"inbound's answer out of the tunnel", "istioin", inbound.answer("", flagSYN|flagACK), "verdict=sent out=eth0 mark=0x200"},
		{"the metadata server's address as a source", "", tcp("169.254.169.254:80", "10.4.4.19:40001"), "verdict=dropped"},
	})
}

func TestZtunnelPod(t *testing.T) {
	out := tcp("10.4.4.19:40000", "10.8.14.226:9080")
	in := tcp("10.4.3.14:43000", "10.4.4.19:15008")
	plain := tcp("10.9.9.9:43000", "10.4.4.19:8080")
	local := tcp("10.4.4.18:45000", "10.4.4.7:15088")
	asPod := tcp("10.4.4.19:42000", "8.8.8.8:443")
	follow(t, ztunnelA().space(t, proxySockets()), NewConns(), []passing{
		{"outbound capture", "pistioout", out, "verdict=delivered socket=127.0.0.1:15001 dst=10.8.14.226:9080 mark=0x400 doubts=0"},
		{"its answer", "", out.answer("", flagSYN|flagACK).marked(0x401), "verdict=sent out=pistioout via=192.168.127.1 mark=0x401 doubts=0"},
		{"inbound HBONE", "pistioin", in, "verdict=delivered socket=127.0.0.1:15008 mark=0x400"},
		{"its answer", "", in.answer("", flagSYN|flagACK).marked(0x402), "verdict=sent out=pistioin via=192.168.126.1"},
		{"inbound plain", "pistioin", plain, "verdict=delivered socket=127.0.0.1:15006 mark=0x400"},
		{"HBONE upstream", "", tcp("10.4.4.18:41000", "10.4.3.20:15008"), "verdict=sent out=eth0 via=10.4.4.1 mark=0x0"},
		{"plain upstream as the pod", "", asPod.marked(0x4d2), "verdict=sent out=eth0 via=10.4.4.1 mark=0x4d2"},
		{"its answer", "eth0", asPod.answer("", flagSYN|flagACK), "verdict=delivered mark=0x4d3 doubts=0"},
		{"node-local tunnel", "", local, "verdict=delivered dst=127.0.0.1:15008 src=10.4.4.18:45000 state=NEW"},
		{"its answer", "", tcp("127.0.0.1:15008", "10.4.4.18:45000").flags(flagSYN | flagACK), "verdict=delivered src=10.4.4.7:15088 dst=10.4.4.18:45000 state=ESTABLISHED"},
	})
}
