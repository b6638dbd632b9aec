// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// netns is one throw-away network namespace.
type netns struct {
	t    testing.TB
	name string
}

func newNetns(t testing.TB, name string) *netns {
	t.Helper()
	n := &netns{t: t, name: fmt.Sprintf("a22p%d-%s-%d", os.Getpid(), name, time.Now().UnixNano()%1e6)}
	run(t, "", "ip", "netns", "add", n.name)
	t.Cleanup(func() { exec.Command("ip", "netns", "del", n.name).Run() })
	n.ip("link set lo up")
	return n
}

// run runs a command and fails the test if it fails.
func run(t testing.TB, stdin string, args ...string) string {
	t.Helper()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// ip runs lines of ip commands in the namespace.
func (n *netns) ip(lines ...string) {
	n.t.Helper()
	run(n.t, strings.Join(lines, "\n"), "ip", "-n", n.name, "-batch", "-")
}

// exec runs a command in the namespace.
func (n *netns) exec(args ...string) string {
	n.t.Helper()
	return run(n.t, "", append([]string{"ip", "netns", "exec", n.name}, args...)...)
}

// iptables loads rules for a table.
func (n *netns) iptables(table string, rules ...string) {
	n.t.Helper()
	script := "*" + table + "\n" + strings.Join(rules, "\n") + "\nCOMMIT\n"
	run(n.t, script, "ip", "netns", "exec", n.name, "iptables-restore", "--noflush")
}

func (n *netns) sysctl(settings ...string) {
	n.t.Helper()
	n.exec(append([]string{"sysctl", "-qw"}, settings...)...)
}

// do runs f on a thread in the namespace; sockets made in f stay there.
func (n *netns) do(f func() error) error {
	errs := make(chan error)
	go func() {
		// The thread is not unlocked: it ends with the goroutine.
		runtime.LockOSThread()
		ns, err := os.Open("/var/run/netns/" + n.name)
		if err == nil {
			defer ns.Close()
			err = unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET)
		}
		if err == nil {
			err = f()
		}
		errs <- err
	}()
	return <-errs
}

// listen opens a TCP listener in the namespace.
func (n *netns) listen(addr string) *net.TCPListener {
	n.t.Helper()
	var l net.Listener
	err := n.do(func() (err error) {
		l, err = net.Listen("tcp4", addr)
		return err
	})
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { l.Close() })
	return l.(*net.TCPListener)
}

// dial connects from the namespace.
func (n *netns) dial(addr string) (*net.TCPConn, error) {
	var c net.Conn
	err := n.do(func() (err error) {
		c, err = net.DialTimeout("tcp4", addr, 10*time.Second)
		return err
	})
	if err != nil {
		return nil, err
	}
	return c.(*net.TCPConn), nil
}

// link joins two namespaces by a veth, whose ends are called after the peers.
func link(t testing.TB, a, b *netns, nameInA, nameInB string) {
	t.Helper()
	run(t, "", "ip", "link", "add", nameInA, "netns", a.name, "type", "veth", "peer", "name", nameInB, "netns", b.name)
	a.ip("link set " + nameInA + " up")
	b.ip("link set " + nameInB + " up")
}

// path is the article's path without the hosts and tunnels between: each
// ztunnel sits where its pods' packets come by.
//
//	sleep 10.4.4.19 ── ztunnel A 10.4.4.18 ── ztunnel B 10.4.3.14 ── productpage 10.4.3.20
//	                                                            └── outside 10.9.9.9
type path struct {
	sleep, ztunnelA, ztunnelB, productpage *netns
}

func newPath(t testing.TB) *path {
	t.Helper()
	p := &path{sleep: newNetns(t, "sleep"), ztunnelA: newNetns(t, "za"), ztunnelB: newNetns(t, "zb"), productpage: newNetns(t, "pp")}
	link(t, p.sleep, p.ztunnelA, "eth0", "pod")
	link(t, p.ztunnelA, p.ztunnelB, "eth0", "eth0")
	link(t, p.ztunnelB, p.productpage, "pod", "eth0")
	pod(p.sleep, "10.4.4.19", "10.4.4.18")
	pod(p.productpage, "10.4.3.20", "10.4.3.14")
	// What lies outside of the mesh answers from the same place.
	p.productpage.ip("addr add 10.9.9.9/32 dev lo")
	ztunnel(p.ztunnelA, "10.4.4.18", "10.4.4.19/32", "10.4.3.14")
	ztunnel(p.ztunnelB, "10.4.3.14", "10.4.3.20/32", "10.4.4.18")
	p.ztunnelB.ip("route add 10.9.9.9/32 dev pod")
	// Nobody translates the services' addresses here.
	p.ztunnelA.ip("route add unreachable 10.8.0.0/16")
	p.ztunnelA.iptables("mangle",
		// What sleep sends is captured; what is on its way back to a pod whose
		// address ztunnel has used is its own.
		"-A PREROUTING -i pod -p tcp -j TPROXY --on-port 15001 --on-ip 127.0.0.1 --tproxy-mark 0x400/0xfff",
		"-A PREROUTING ! -d 10.4.4.18/32 -i eth0 -p tcp -j MARK --set-xmark 0x4d3/0xfff")
	p.ztunnelB.iptables("mangle",
		"-A PREROUTING -i eth0 -d 10.4.3.20/32 -p tcp -m tcp --dport 15008 -j TPROXY --on-port 15008 --on-ip 127.0.0.1 --tproxy-mark 0x400/0xfff",
		"-A PREROUTING -i eth0 -d 10.4.3.20/32 -p tcp -j TPROXY --on-port 15006 --on-ip 127.0.0.1 --tproxy-mark 0x400/0xfff",
		"-A PREROUTING -i pod -s 10.4.3.20/32 -p tcp -j MARK --set-xmark 0x4d3/0xfff")
	for _, z := range []*netns{p.ztunnelA, p.ztunnelB} {
		z.iptables("nat", "-A OUTPUT -p tcp -m tcp --dport 15088 -j REDIRECT --to-ports 15008")
	}
	return p
}

func pod(n *netns, ip, gateway string) {
	n.ip("addr add "+ip+"/32 dev eth0", "route add "+gateway+" dev eth0 scope link", "route add default via "+gateway+" dev eth0")
}

func ztunnel(n *netns, ip, pod, peer string) {
	n.ip(
		"addr add "+ip+"/32 dev eth0",
		"route add "+pod+" dev pod",
		"route add "+peer+" dev eth0",
		"route add default via "+peer+" dev eth0",
		"route add local default dev lo table 100",
		"rule add priority 20000 fwmark 0x400/0xfff lookup 100",
		"rule add priority 20003 fwmark 0x4d3/0xfff lookup 100",
	)
	n.sysctl("net.ipv4.ip_forward=1", "net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.default.rp_filter=0",
		"net.ipv4.conf.eth0.rp_filter=0", "net.ipv4.conf.pod.rp_filter=0")
}

// deadline keeps a broken path from hanging a test.
func deadline(t testing.TB, c net.Conn) {
	t.Helper()
	if err := c.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
}

// peerOf is the address that the other side of c has.
func peerOf(c net.Conn) netip.Addr {
	return c.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap()
}

// acknowledged is how many bytes of c its peer's kernel has taken.
func acknowledged(t testing.TB, c *net.TCPConn) int64 {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var info *unix.TCPInfo
	raw.Control(func(fd uintptr) { info, err = unix.GetsockoptTCPInfo(int(fd), unix.SOL_TCP, unix.TCP_INFO) })
	if err != nil {
		t.Fatal(err)
	}
	return int64(info.Bytes_acked)
}
