// SPDX-License-Identifier: Apache-2.0

package noderoute_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ambient22/ambient22/geneve"
	"github.com/ambient22/ambient22/noderoute"
	"github.com/ambient22/ambient22/noderoute/netnstest"
)

// preflight returns the problems found, and fails if looking changed anything.
func preflight(t *testing.T, n *noderoute.Node, c noderoute.HostConfig) []noderoute.Problem {
	t.Helper()
	before := dump(t)
	problems, err := n.Preflight(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	wantSame(t, before, dump(t))
	return problems
}

func wantProblem(t *testing.T, problems []noderoute.Problem, parts ...string) {
	t.Helper()
	for _, p := range problems {
		found := true
		for _, part := range parts {
			found = found && strings.Contains(p.String(), part)
		}
		if found && p.What != "" && p.Where != "" && p.WayOut != "" {
			return
		}
	}
	t.Errorf("no problem names %q among %d:\n%s", parts, len(problems), lines(problems))
}

func lines(problems []noderoute.Problem) string {
	var s strings.Builder
	for _, p := range problems {
		fmt.Fprintln(&s, p)
	}
	return s.String()
}

func TestPreflightOfAGoodNode(t *testing.T) {
	forVariants(t, func(t *testing.T, v noderoute.Variant) {
		c := nodeA(t)
		buildNode(t, c, v)
		n := newNode(t, v)
		if problems := preflight(t, n, c); len(problems) > 0 {
			t.Errorf("problems on a good node:\n%s", lines(problems))
		}
		// The same holds once the node is programmed.
		apply(t, n, c)
		if problems := preflight(t, n, c); len(problems) > 0 {
			t.Errorf("problems on a programmed node:\n%s", lines(problems))
		}
	})
}

func TestPreflightBeforeAnyZtunnel(t *testing.T) {
	netnstest.Enter(t)
	c := nodeA(t)
	buildNode(t, c, noderoute.NFT)
	c.ZtunnelIP, c.Pods = netip.Addr{}, nil
	if problems := preflight(t, newNode(t, noderoute.NFT), c); len(problems) > 0 {
		t.Errorf("problems:\n%s", lines(problems))
	}
}

// Each case spoils a good node in one way.
func TestPreflightNames(t *testing.T) {
	cases := map[string]struct {
		spoil []string
		set   func(*noderoute.HostConfig)
		want  []string
	}{
		"foreign rule": {
			spoil: []string{"ip rule add priority 101 from 10.9.0.0/16 lookup 77"},
			want:  []string{"somebody else's rule has the priority 101", "ip rule"},
		},
		"foreign rule of a simple shape": {
			spoil: []string{"ip rule add priority 103 fwmark 0x8/0x8 lookup 77"},
			want:  []string{"103:\tfrom all fwmark 0x8/0x8 lookup 77"},
		},
		"foreign route": {
			spoil: []string{"ip route add 10.99.0.0/16 dev veth040412 table 101"},
			want:  []string{"somebody else's route is in table 101", "10.99.0.0/16 dev veth040412"},
		},
		"foreign device of our name": {
			spoil: []string{"ip link add istioin type bridge"},
			want:  []string{`a device of kind "bridge"`, "ip link show istioin"},
		},
		"foreign set of our name": {
			spoil: []string{"ipset create ztunnel-pods-ips hash:net"},
			want:  []string{"a set of type hash:net", "ipset list ztunnel-pods-ips"},
		},
		"foreign tunnel on the port": {
			spoil: []string{"ip link add vx type KIND external dstport 6081", "ip link set vx up"},
			want:  []string{"device holds UDP port 6081", "ip -d link show vx", "--tunnel-port"},
		},
		"no forwarding": {
			spoil: []string{"sysctl -qw net.ipv4.ip_forward=0"},
			want:  []string{"does not forward", "net.ipv4.ip_forward=1"},
		},
		"kube-proxy in IPVS mode": {
			spoil: []string{"ip link add kube-ipvs0 type veth peer name kube-ipvs1"},
			want:  []string{"IPVS", "kube-ipvs0", "iptables mode"},
		},
		"Cilium": {
			spoil: []string{"ip link add cilium_host type veth peer name cilium_net"},
			want:  []string{"Cilium", "cilium_host", "another CNI plugin"},
		},
		"Calico": {
			spoil: []string{"ip link add cali12345 type veth peer name c0"},
			want:  []string{"Calico", "workloadSourceSpoofing", "allowedSourcePrefixes"},
		},
		"no route to the ztunnel": {
			spoil: []string{"ip route del 10.4.4.18"},
			want:  []string{"no route to the ztunnel pod", "10.4.4.18"},
		},
		"pods on a bridge": {
			spoil: []string{"ip route del 10.4.4.7", "ip link add cni0 type bridge", "ip link set cni0 up", "ip route add 10.4.4.0/24 dev cni0"},
			want:  []string{"/24 network on cni0, a bridge of the bridge plugin", "one veth and one /32 route per pod"},
		},
		"host address of another node": {
			set:  func(c *noderoute.HostConfig) { c.HostIP = netip.MustParseAddr("10.4.9.1") },
			want: []string{"not an address of this node", "10.4.9.1"},
		},
		"IPv6 pod": {
			set: func(c *noderoute.HostConfig) {
				c.Pods = append(c.Pods, noderoute.Pod{UID: "six", IP: netip.MustParseAddr("fd00::6")})
			},
			want: []string{"pod six", "fd00::6", "only IPv4"},
		},
		"rules in both variants": {
			spoil: []string{"iptables-legacy -A FORWARD -j ACCEPT"},
			want:  []string{"both iptables variants hold rules", "legacy 1", "using nft"},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			netnstest.Enter(t)
			config := nodeA(t)
			buildNode(t, config, noderoute.NFT)
			for _, line := range c.spoil {
				netnstest.Run(t, strings.ReplaceAll(line, "KIND", netnstest.Tunnel(t).String()))
			}
			if c.set != nil {
				c.set(&config)
			}
			wantProblem(t, preflight(t, newNode(t, noderoute.NFT), config), c.want...)
		})
	}
}

// A node that has just started again has no pod yet, and the API server names its
// ztunnel by the address of before: nothing is wrong with it.
func TestPreflightTellsWhatMayPass(t *testing.T) {
	netnstest.Enter(t)
	netnstest.Run(t, "sysctl -qw net.ipv4.ip_forward=1")
	blocking := noderoute.Blocking(preflight(t, newNode(t, noderoute.NFT), nodeA(t)))
	wantProblem(t, blocking, "no route to the ztunnel pod")
	wantProblem(t, blocking, "not an address of this node")
	for _, p := range blocking {
		if !p.Passing {
			t.Errorf("counts as lasting: %s", p)
		}
	}
	c := nodeA(t)
	buildNode(t, c, noderoute.NFT)
	c.HostIP = netip.MustParseAddr("10.4.9.1")
	for _, p := range noderoute.Blocking(preflight(t, newNode(t, noderoute.NFT), c)) {
		if p.Passing {
			t.Errorf("counts as passing: %s", p)
		}
	}
}

func TestPreflightAllowsCalicoThatAllowsSpoofing(t *testing.T) {
	netnstest.Enter(t)
	c := nodeA(t)
	buildNode(t, c, noderoute.NFT)
	netnstest.Run(t, "ip link add cali12345 type veth peer name c0")
	netnstest.Run(t, "iptables-nft -t raw -N cali-rpf-skip")
	netnstest.Run(t, "iptables-nft -t raw -A cali-rpf-skip -i veth040412 -j ACCEPT")
	if problems := preflight(t, newNode(t, noderoute.NFT), c); len(problems) > 0 {
		t.Errorf("problems:\n%s", lines(problems))
	}
}

func TestPreflightNamesAProcessOnThePort(t *testing.T) {
	for network, address := range map[string]string{"udp4": "127.0.0.1:6081", "udp": "[::]:6081"} {
		t.Run(network, func(t *testing.T) { portIsNamed(t, network, address) })
	}
}

func portIsNamed(t *testing.T, network, address string) {
	netnstest.Enter(t)
	c := nodeA(t)
	buildNode(t, c, noderoute.NFT)
	conn, err := net.ListenPacket(network, address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	wantProblem(t, preflight(t, newNode(t, noderoute.NFT), c), "a process holds UDP port 6081", "--tunnel-port")
	c.TunnelPort = 6082
	if problems := preflight(t, newNode(t, noderoute.NFT), c); len(problems) > 0 {
		t.Errorf("problems on another port:\n%s", lines(problems))
	}
}

func TestPreflightNamesTheMissingTunnel(t *testing.T) {
	netnstest.Enter(t)
	c := nodeA(t)
	c.Tunnel = geneve.Geneve
	buildNode(t, c, noderoute.NFT)
	problems := preflight(t, newNode(t, noderoute.NFT), c)
	if _, err := netnstest.Try("ip link add probe type geneve id 1 remote 192.0.2.1"); err == nil {
		if len(problems) > 0 {
			t.Errorf("problems on a kernel with Geneve:\n%s", lines(problems))
		}
		return
	}
	wantProblem(t, problems, "the kernel lacks geneve devices", "CONFIG_GENEVE", "--tunnel=vxlan")
	if len(problems) != 1 {
		t.Errorf("one feature is missing, and named are\n%s", lines(problems))
	}
}

// A kernel without an iptables extension is played by a restore program that
// refuses it.
func TestPreflightNamesEachMissingExtension(t *testing.T) {
	netnstest.Enter(t)
	c := nodeA(t)
	buildNode(t, c, noderoute.NFT)
	spoilRestore(t, "match-set|CONNMARK")
	problems := preflight(t, newNode(t, noderoute.NFT), c)
	wantProblem(t, problems, "lacks the iptables match set", "xt_set", "No chain/target/match")
	wantProblem(t, problems, "lacks the iptables target CONNMARK", "xt_connmark")
	if len(problems) != 2 {
		t.Errorf("two extensions are missing, and named are\n%s", lines(problems))
	}
}

// spoilRestore puts programs in front of iptables' that refuse an input that
// matches the pattern.
func spoilRestore(t *testing.T, pattern string) {
	t.Helper()
	dir := t.TempDir()
	for _, v := range []string{"nft", "legacy"} {
		script := fmt.Sprintf(`#!/bin/sh
input=$(cat)
if echo "$input" | grep -qE '%s'; then
	echo "iptables-restore: No chain/target/match by that name." >&2
	exit 1
fi
echo "$input" | /usr/sbin/iptables-%s-restore "$@"
`, pattern, v)
		if err := os.WriteFile(filepath.Join(dir, "iptables-"+v+"-restore"), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
}

// What Preflight finds, Apply refuses, and nothing is written.
func TestApplyRefusesObstacles(t *testing.T) {
	for _, spoil := range []string{
		"ip rule add priority 100 from 10.9.0.0/16 lookup 77",
		"ip route add 10.99.0.0/16 dev veth040412 table 100",
		"ip link add istioout type bridge",
		"ipset create ztunnel-pods-ips hash:net",
	} {
		t.Run(spoil, func(t *testing.T) {
			netnstest.Enter(t)
			c := nodeA(t)
			buildNode(t, c, noderoute.NFT)
			netnstest.Run(t, spoil)
			before := dump(t)
			r, err := newNode(t, noderoute.NFT).Apply(context.Background(), c)
			var obstacle *noderoute.ObstacleError
			if !errors.As(err, &obstacle) || r.Writes() != 0 {
				t.Errorf("Apply: %v, %+v", err, r)
			}
			if _, err := newNode(t, noderoute.NFT).Diff(context.Background(), c); !errors.As(err, &obstacle) {
				t.Errorf("Diff: %v", err)
			}
			wantSame(t, before, dump(t))
		})
	}
}
