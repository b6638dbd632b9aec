// SPDX-License-Identifier: Apache-2.0

package noderoute_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ambient22/ambient22/noderoute"
	"github.com/ambient22/ambient22/noderoute/netnstest"
	"golang.org/x/sys/unix"
)

// The node has an address outside its pod range, and kube-proxy's way of leading
// services to a pod: one as it is, one with the caller's address replaced.
const (
	internalIP  = "172.18.0.2"
	clusterIP   = "10.8.14.226"
	masqueraded = "10.8.14.227"
)

// A captured pod that calls its node by another address than the one in the pod range,
// and a process of the node that calls a service which leads to a captured pod of the
// node, get no answer in the article's form, and do in the hardened one. Everything
// else is as it was: probes of the node pass ztunnel by, a pod's other calls are
// captured, and what ztunnel sends to the node with a pod's address is answered to
// ztunnel.
func TestTheNodesOwnPacketsByAnyAddress(t *testing.T) {
	forVariants(t, func(t *testing.T, v noderoute.Variant) {
		c := nodeA(t)
		buildNode(t, c, v)
		giveInternalIP(t, v, c.Pods[0].IP)
		pod, ztunnel := moveOut(t, c.Pods[0].IP, c.HostIP), moveOut(t, c.ZtunnelIP, c.HostIP)
		n := newNode(t, v)
		apply(t, n, c)
		initElsewhere(t, ztunnel, v)

		toNode := net.JoinHostPort(internalIP, answering(t, internalIP+":0", 0))
		var port string
		within(t, pod, func() { port = answering(t, c.Pods[0].IP.String()+":0", 0) })
		within(t, ztunnel, func() { answering(t, fmt.Sprintf("0.0.0.0:%d", noderoute.PortOutbound), noderoute.OutboundReplyMark) })
		toPod := net.JoinHostPort(c.Pods[0].IP.String(), port)
		asPod := c.Pods[0].IP.String()

		for _, hardened := range []bool{false, true, false} {
			c.Hardened = hardened
			apply(t, n, c)
			for _, call := range []struct {
				what             string
				netns, from, to  string
				mark             int
				onlyWhenHardened bool
			}{
				{what: "a captured pod calls its node's InternalIP", netns: pod, to: toNode, onlyWhenHardened: true},
				{what: "the node calls a service", to: net.JoinHostPort(clusterIP, port), onlyWhenHardened: true},
				{what: "the node calls a service, masqueraded", to: net.JoinHostPort(masqueraded, port), onlyWhenHardened: true},
				{what: "the node calls the pod from its InternalIP", from: internalIP, to: toPod, onlyWhenHardened: true},
				{what: "the node calls the pod", to: toPod},
				{what: "the node calls the pod from its pod range", from: c.HostIP.String(), to: toPod},
				{what: "the node calls itself", to: toNode},
				{what: "a captured pod calls elsewhere", netns: pod, to: "10.9.9.9:80"},
				{what: "ztunnel calls the node", netns: ztunnel, to: toNode},
				{what: "ztunnel calls the node as the pod", netns: ztunnel, from: asPod, mark: 0x4d2, to: toNode},
			} {
				want := hardened || !call.onlyWhenHardened
				var err error
				dial := func() { err = ask(call.from, call.to, call.mark, want) }
				if call.netns == "" {
					dial()
				} else {
					within(t, call.netns, dial)
				}
				if (err == nil) != want {
					t.Errorf("hardened %v: %s: %v", hardened, call.what, err)
				}
			}
		}
	})
}

// With a rule of somebody else that looks at the node's own source address, the node's
// packets to the outside still follow that rule.
func TestOthersRulesForTheNodesOwnPackets(t *testing.T) {
	forVariants(t, func(t *testing.T, v noderoute.Variant) {
		c := nodeA(t)
		buildNode(t, c, v)
		giveInternalIP(t, v, c.Pods[0].IP)
		netnstest.Run(t, "ip route add default via 172.18.0.9 dev node0 table 500")
		netnstest.Run(t, "ip rule add priority 500 from "+internalIP+" lookup 500")
		c.Hardened = true
		apply(t, newNode(t, v), c)
		out := netnstest.Run(t, fmt.Sprintf("ip route get 192.0.2.1 from %s mark %#x", internalIP, noderoute.OwnMark))
		if !strings.Contains(out, "via 172.18.0.9") {
			t.Errorf("the node's own packets: %s", out)
		}
		out = netnstest.Run(t, fmt.Sprintf("ip route get %s mark %#x", c.Pods[0].IP, noderoute.OwnMark))
		if !strings.Contains(out, "dev "+veth(c.Pods[0].IP)) {
			t.Errorf("the node's own packets to a captured pod: %s", out)
		}
		out = netnstest.Run(t, "ip route get "+c.Pods[0].IP.String())
		if !strings.Contains(out, "dev istioin") {
			t.Errorf("other packets to a captured pod: %s", out)
		}
	})
}

func giveInternalIP(t *testing.T, v noderoute.Variant, pod netip.Addr) {
	t.Helper()
	for _, line := range []string{
		"ip link add node0 type veth peer name net0",
		"ip link set net0 up", "ip link set node0 up",
		"ip addr add " + internalIP + "/24 dev node0",
		"ip route add default via 172.18.0.1 dev node0",
	} {
		netnstest.Run(t, line)
	}
	netnstest.Settle(t)
	netnstest.Input(t, "iptables-"+v.String()+"-restore --noflush", fmt.Sprintf(`*nat
-A OUTPUT -d %[2]s/32 -p tcp -j MARK --set-xmark 0x4000/0x4000
-A OUTPUT -d %[1]s/32 -p tcp -j DNAT --to-destination %[3]s
-A OUTPUT -d %[2]s/32 -p tcp -j DNAT --to-destination %[3]s
-A POSTROUTING -m mark --mark 0x4000/0x4000 -j MASQUERADE
COMMIT
`, clusterIP, masqueraded, pod))
}

// moveOut puts the far end of a pod's veth into a network namespace of its own.
func moveOut(t *testing.T, ip, gateway netip.Addr) string {
	t.Helper()
	name := fmt.Sprintf("own-%d-%s", os.Getpid(), veth(ip))
	netnstest.Run(t, "ip netns add "+name)
	t.Cleanup(func() {
		if out, err := netnstest.Try("ip netns del " + name); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
	netnstest.Run(t, fmt.Sprintf("ip link set %sp netns %s name eth0", veth(ip), name))
	for _, line := range []string{
		"link set lo up", "link set eth0 up", fmt.Sprintf("addr add %s/32 dev eth0", ip),
		fmt.Sprintf("route add %s dev eth0 scope link", gateway), fmt.Sprintf("route add default via %s dev eth0", gateway),
	} {
		netnstest.Run(t, "ip -n "+name+" "+line)
	}
	netnstest.Settle(t)
	return name
}

// within runs f on a thread in a named network namespace. That thread ends with it;
// sockets that f opens stay in the namespace.
func within(t *testing.T, netns string, f func()) {
	t.Helper()
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		fd, err := unix.Open("/run/netns/"+netns, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err == nil {
			err = unix.Setns(fd, unix.CLONE_NEWNET)
			unix.Close(fd)
		}
		if err == nil {
			f()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func initElsewhere(t *testing.T, netns string, v noderoute.Variant) {
	t.Helper()
	c, dir := ztunnelA(t), t.TempDir()
	var err error
	within(t, netns, func() {
		var n *noderoute.Node
		if n, err = noderoute.New(noderoute.Options{IPTables: v, StateDir: dir}); err != nil {
			return
		}
		_, err = n.InitPod(context.Background(), c)
		err = errors.Join(err, n.Close())
	})
	if err != nil {
		t.Fatal(err)
	}
}

// own makes a socket one that may have anybody's address, with a mark, as ztunnel's are.
func own(mark int) func(string, string, syscall.RawConn) error {
	return func(_, _ string, c syscall.RawConn) error {
		if mark == 0 {
			return nil
		}
		var failed error
		err := c.Control(func(fd uintptr) {
			failed = errors.Join(
				unix.SetsockoptInt(int(fd), unix.SOL_IP, unix.IP_TRANSPARENT, 1),
				unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_MARK, mark),
			)
		})
		return errors.Join(err, failed)
	}
}

// answering listens, sends one byte to everybody who connects, and returns its port.
func answering(t *testing.T, address string, mark int) string {
	config := net.ListenConfig{Control: own(mark)}
	l, err := config.Listen(context.Background(), "tcp4", address)
	if err != nil {
		t.Error(err)
		return ""
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conn.Write([]byte{1})
			conn.Close()
		}
	}()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// ask connects and reads the byte; where no answer is expected, it does not wait long.
func ask(from, to string, mark int, patient bool) error {
	d := net.Dialer{Timeout: 300 * time.Millisecond, Control: own(mark)}
	if patient {
		d.Timeout = 5 * time.Second
	}
	if from != "" {
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(from), 0))
	}
	conn, err := d.Dial("tcp4", to)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetReadDeadline(time.Now().Add(d.Timeout)); err != nil {
		return err
	}
	_, err = conn.Read(make([]byte, 1))
	return err
}
