// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func saved(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name+".txt"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// pod is a pod's namespace with one address, and a process of its own.
func pod() texts {
	sysctls := map[string]string{"net.ipv4.ip_forward": "0"}
	for _, dev := range []string{"all", "default", "lo", "eth0"} {
		sysctls["net.ipv4.conf."+dev+".rp_filter"] = "0"
		sysctls["net.ipv4.conf."+dev+".accept_local"] = "0"
		sysctls["net.ipv4.conf."+dev+".route_localnet"] = "0"
	}
	return texts{
		routes: "default via 10.0.0.1 dev eth0\n10.0.0.1 dev eth0 scope link\n",
		links: `1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN group default qlen 1000
    inet 127.0.0.1/8 scope host lo
2: eth0@if9: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc noqueue state UP group default
    inet 10.0.0.5/32 scope global eth0
`,
		sysctls: sysctls,
	}
}

func (p Packet) user(uid uint32) Packet { p.UID, p.GID = uid, uid; return p }

func TestSidecarRedirect(t *testing.T) {
	x := pod()
	x.legacy = saved(t, "sidecar-redirect-legacy")
	app, envoy := tcp("10.0.0.5:40000", "10.96.0.1:80"), tcp("10.0.0.5:40001", "10.0.0.9:80")
	follow(t, x.space(t), NewConns(), []passing{
		{"the application calls out", "", app, "verdict=delivered dst=127.0.0.1:15001 src=10.0.0.5:40000 doubts=0"},
		{"Envoy answers it", "", tcp("127.0.0.1:15001", "10.0.0.5:40000").flags(flagSYN | flagACK).user(1337), "verdict=delivered src=10.96.0.1:80 dst=10.0.0.5:40000"},
		{"Envoy calls out", "", envoy.user(1337), "verdict=sent out=eth0 dst=10.0.0.9:80"},
		{"somebody calls in", "eth0", tcp("10.0.0.7:5000", "10.0.0.5:8080"), "verdict=delivered dst=10.0.0.5:15006"},
		{"Envoy answers the caller", "", tcp("10.0.0.5:15006", "10.0.0.7:5000").flags(flagSYN | flagACK).user(1337), "verdict=sent src=10.0.0.5:8080"},
		{"the metrics port", "eth0", tcp("10.0.0.7:5001", "10.0.0.5:15090"), "verdict=delivered dst=10.0.0.5:15090"},
		{"Envoy to the application", "", tcp("127.0.0.6:40002", "10.0.0.5:8080").user(1337), "verdict=delivered dst=10.0.0.5:8080"},
		{"Envoy to its own pod's address", "", tcp("10.0.0.5:40003", "10.0.0.5:8080").user(1337), "verdict=delivered dst=127.0.0.1:15006"},
		{"UDP is left alone", "", udp("10.0.0.5:40004", "10.96.0.10:53"), "verdict=sent dst=10.96.0.10:53"},
	})
}

func TestSidecarTPROXY(t *testing.T) {
	x := pod()
	x.nft = saved(t, "sidecar-tproxy-nft")
	x.rules = "0:\tfrom all lookup local\n32765:\tfrom all fwmark 0x539 lookup 133\n32766:\tfrom all lookup main\n32767:\tfrom all lookup default\n"
	x.routes += "local default dev lo table 133 scope host\n"
	call := tcp("10.0.0.7:5000", "10.0.0.5:8080")
	listener := Sockets(Socket{Protocol: protoTCP, Local: addrPort(0, 15006), Transparent: true})
	follow(t, x.space(t, listener), NewConns(), []passing{
		{"somebody calls in", "eth0", call, "verdict=delivered dst=10.0.0.5:8080 socket=10.0.0.5:15006 mark=0x539 connmark=0x0"},
		{"the answer", "", call.answer("", flagSYN|flagACK), "verdict=sent out=eth0 mark=0x0"},
		{"then its connection is known", "eth0", call.flags(flagACK), "verdict=delivered mark=0x539 state=ESTABLISHED"},
	})
	none := x.space(t, Sockets())
	receive(none, call.via("eth0"), nil).want(t, "verdict=dropped doubts=0")
	stiff := x.space(t, Sockets(Socket{Protocol: protoTCP, Local: addrPort(0, 15006)}))
	receive(stiff, call.via("eth0"), nil).want(t, "verdict=dropped")
	untold := x.space(t)
	receive(untold, call.via("eth0"), nil).want(t, "verdict=delivered socket=10.0.0.5:15006 doubts=1")
}

func TestInPodAmbient(t *testing.T) {
	x := pod()
	x.nft = saved(t, "inpod-ambient-nft")
	x.rules = "0:\tfrom all lookup local\n32764:\tfrom all fwmark 0x111/0xfff lookup 100\n32766:\tfrom all lookup main\n32767:\tfrom all lookup default\n"
	x.routes += "local default dev lo table 100 scope host\n"
	call := tcp("10.0.0.7:5000", "10.0.0.5:8080")
	back := tcp("10.0.0.7:6000", "10.0.0.5:8080")
	follow(t, x.space(t), NewConns(), []passing{
		{"the application calls out", "", tcp("10.0.0.5:40000", "10.96.0.1:80"), "verdict=delivered dst=127.0.0.1:15001"},
		{"ztunnel calls out", "", tcp("10.0.0.5:40001", "10.0.0.9:15008").marked(0x539), "verdict=sent out=eth0 mark=0x539 dst=10.0.0.9:15008"},
		{"plain inbound", "eth0", call, "verdict=delivered dst=10.0.0.5:15006"},
		{"HBONE inbound", "eth0", tcp("10.0.0.7:5001", "10.0.0.5:15008"), "verdict=delivered dst=10.0.0.5:15008"},
		{"ztunnel to the application as the caller", "", back.marked(0x539), "verdict=delivered dst=10.0.0.5:8080 mark=0x539 connmark=0x111"},
		{"the application's answer stays in the pod", "", back.answer("", flagSYN|flagACK), "verdict=delivered dst=10.0.0.7:6000 mark=0x111"},
		{"a kubelet's probe", "eth0", tcp("169.254.7.127:5002", "10.0.0.5:8080"), "verdict=delivered dst=10.0.0.5:8080"},
	})
}

func TestDocker(t *testing.T) {
	host := texts{
		legacy: saved(t, "docker-legacy"),
		routes: `default via 192.0.2.1 dev eth0
192.0.2.0/24 dev eth0 proto kernel scope link src 192.0.2.10
172.17.0.0/16 dev docker0 proto kernel scope link src 172.17.0.1
172.18.0.0/16 dev br-6f0c1d5b2a91 proto kernel scope link src 172.18.0.1
`,
		links: `1: lo: <LOOPBACK,UP,LOWER_UP> mtu 65536 qdisc noqueue state UNKNOWN group default qlen 1000
    inet 127.0.0.1/8 scope host lo
2: eth0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc mq state UP group default qlen 1000
    inet 192.0.2.10/24 brd 192.0.2.255 scope global eth0
3: docker0: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc noqueue state UP group default
    inet 172.17.0.1/16 brd 172.17.255.255 scope global docker0
4: br-6f0c1d5b2a91: <BROADCAST,MULTICAST,UP,LOWER_UP> mtu 1500 qdisc noqueue state UP group default
    inet 172.18.0.1/16 brd 172.18.255.255 scope global br-6f0c1d5b2a91
`,
		sysctls: map[string]string{
			"net.ipv4.ip_forward": "1", "net.ipv4.conf.all.rp_filter": "2", "net.ipv4.conf.all.accept_local": "0",
			"net.ipv4.conf.eth0.rp_filter": "2", "net.ipv4.conf.eth0.accept_local": "0", "net.ipv4.conf.docker0.rp_filter": "0",
			"net.ipv4.conf.docker0.accept_local": "0", "net.ipv4.conf.br-6f0c1d5b2a91.rp_filter": "0", "net.ipv4.conf.br-6f0c1d5b2a91.accept_local": "0",
		},
	}
	published := tcp("203.0.113.9:5000", "192.0.2.10:8080")
	outward := tcp("172.17.0.2:6000", "8.8.8.8:443")
	follow(t, host.space(t), NewConns(), []passing{
		{"a published port", "eth0", published, "verdict=sent out=br-6f0c1d5b2a91 dst=172.18.0.2:80 src=203.0.113.9:5000 doubts=0"},
		{"its answer", "br-6f0c1d5b2a91", tcp("172.18.0.2:80", "203.0.113.9:5000").flags(flagSYN | flagACK), "verdict=sent out=eth0 via=192.0.2.1 src=192.0.2.10:8080"},
		{"a container calls out", "docker0", outward, "verdict=sent out=eth0 src=192.0.2.10:6000 dst=8.8.8.8:443"},
		{"the world's answer", "eth0", tcp("8.8.8.8:443", "192.0.2.10:6000").flags(flagSYN | flagACK), "verdict=sent out=docker0 dst=172.17.0.2:6000"},
		{"a second container with the same port", "docker0", tcp("172.17.0.3:6000", "8.8.8.8:443"), "verdict=sent out=eth0 src=192.0.2.10:1024 doubts=1"},
		{"one network to the other", "docker0", tcp("172.17.0.2:6001", "172.18.0.2:80"), "verdict=dropped"},
		{"kept out by DOCKER-USER", "eth0", tcp("198.51.100.7:1", "192.0.2.10:8080"), "verdict=dropped"},
		{"not published", "eth0", tcp("203.0.113.9:5001", "172.18.0.2:81"), "verdict=dropped"},
		{"the host to its published port", "", tcp("192.0.2.10:7000", "192.0.2.10:8080"), "verdict=sent out=br-6f0c1d5b2a91 dst=172.18.0.2:80"},
	})
}

func TestKubeProxy(t *testing.T) {
	x := nodeA()
	x.legacy = kubeProxy(300)
	call := tcp("10.4.4.99:4000", "10.96.0.50:80").via("veth99")
	open := receive(x.space(t), call, nil)
	open.want(t, "verdict=unknown doubts=1")
	if !strings.Contains(open.Doubt[0], "matches at random") {
		t.Error(open.Doubt)
	}
	first := receive(x.space(t, Choosing(FirstWay)), call, nil)
	first.want(t, "verdict=sent dst=10.10.0.50:8080 doubts=1")
	if !strings.HasPrefix(first.Doubt[0], "one of 3 ways") {
		t.Error(first.Doubt)
	}
	last := func(c Choice) (int, bool) { return 0, c.Kind == ChoiceRandom }
	receive(x.space(t, Choosing(last)), call, nil).want(t, "verdict=sent dst=10.12.0.50:8080 doubts=2")
}

// TestSessionAffinity is kube-proxy's ClientIP: who was there before comes to the
// same endpoint, which no dump tells.
func TestSessionAffinity(t *testing.T) {
	x := nodeA()
	x.legacy = withRules("nat", `-A PREROUTING -m recent --rcheck --seconds 10800 --reap --name A --mask 255.255.255.255 --rsource -j X
-A PREROUTING -p tcp -j DNAT --to-destination 10.4.3.1:80
-A X -p tcp -j DNAT --to-destination 10.4.3.2:80
`)
	call := tcp("10.4.4.99:4000", "10.96.0.50:80").via("veth99")
	receive(x.space(t), call, nil).want(t, "verdict=unknown doubts=1")
	receive(x.space(t, Choosing(FirstWay)), call, nil).want(t, "verdict=sent dst=10.4.3.1:80 doubts=1")
}
