// SPDX-License-Identifier: Apache-2.0

package noderoute_test

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ambient22/ambient22/noderoute"
	"github.com/ambient22/ambient22/noderoute/netnstest"
)

// nodeA is the article's node A.
func nodeA(t testing.TB) noderoute.HostConfig {
	return noderoute.HostConfig{
		ZtunnelIP: netip.MustParseAddr("10.4.4.18"),
		HostIP:    netip.MustParseAddr("10.4.4.1"),
		Tunnel:    netnstest.Tunnel(t),
		Pods: []noderoute.Pod{
			{UID: "85c8c34e-7ae3-4d29-9582-0819e2b10c69", IP: netip.MustParseAddr("10.4.4.19")},
			{UID: "b1", IP: netip.MustParseAddr("10.4.4.7")},
			{UID: "b2", IP: netip.MustParseAddr("10.4.4.11")},
		},
	}
}

// nodeB is the article's node B with the pods of listing 16.
func nodeB(t testing.TB) noderoute.HostConfig {
	c := noderoute.HostConfig{
		ZtunnelIP: netip.MustParseAddr("10.4.3.14"),
		HostIP:    netip.MustParseAddr("10.4.3.1"),
		Tunnel:    netnstest.Tunnel(t),
	}
	for i := 20; i >= 15; i-- {
		c.Pods = append(c.Pods, noderoute.Pod{UID: fmt.Sprintf("uid-%d", i), IP: netip.AddrFrom4([4]byte{10, 4, 3, byte(i)})})
	}
	return c
}

// veth is the name of a pod's veth on the node.
func veth(ip netip.Addr) string {
	b := ip.As4()
	return fmt.Sprintf("veth%02x%02x%02x", b[1], b[2], b[3])
}

// addPod hangs a pod on the node the way GKE does: one veth, one /32 route.
func addPod(t testing.TB, ip netip.Addr) {
	t.Helper()
	v := veth(ip)
	netnstest.Run(t, fmt.Sprintf("ip link add %s mtu 1460 type veth peer name %sp mtu 1460", v, v))
	netnstest.Run(t, fmt.Sprintf("sysctl -qw net.ipv4.conf.%s.rp_filter=2", v))
	netnstest.Run(t, "ip link set "+v+"p up")
	netnstest.Run(t, "ip link set "+v+" up")
	netnstest.Run(t, fmt.Sprintf("ip route add %s dev %s", ip, v))
	netnstest.Settle(t)
}

// buildNode makes the node's network in the test's namespace, with rules that
// others (kube-proxy, GKE) have there.
func buildNode(t testing.TB, c noderoute.HostConfig, v noderoute.Variant) {
	t.Helper()
	// The kernel gives IPv6 addresses some time later; dumps are compared.
	netnstest.Run(t, "sysctl -qw net.ipv6.conf.default.disable_ipv6=1")
	netnstest.Run(t, "sysctl -qw net.ipv4.ip_forward=1")
	netnstest.Run(t, "sysctl -qw net.ipv4.conf.all.rp_filter=1")
	netnstest.Run(t, "sysctl -qw net.ipv4.conf.default.rp_filter=2")
	netnstest.Run(t, fmt.Sprintf("ip addr add %s/32 dev lo", c.HostIP))
	addPod(t, c.ZtunnelIP)
	for _, p := range c.Pods {
		addPod(t, p.IP)
	}
	netnstest.Input(t, "iptables-"+v.String()+"-restore --noflush", `*nat
:KUBE-SERVICES - [0:0]
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
COMMIT
*mangle
-A OUTPUT -s 169.254.169.254/32 -j DROP
COMMIT
*filter
-A FORWARD -m comment --comment "allowed by somebody" -j ACCEPT
COMMIT
`)
}

func newNode(t testing.TB, v noderoute.Variant) *noderoute.Node {
	t.Helper()
	dir := t.TempDir()
	if shm, err := os.MkdirTemp("/dev/shm", "noderoute-*"); err == nil {
		t.Cleanup(func() { os.RemoveAll(shm) })
		dir = shm // in memory, as /run is on a node
	}
	n, err := noderoute.New(noderoute.Options{IPTables: v, StateDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	return n
}

func apply(t testing.TB, n *noderoute.Node, c noderoute.HostConfig) noderoute.Result {
	t.Helper()
	r, err := n.Apply(context.Background(), c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// dumpCommands are what a person would compare before and after.
func dumpCommands() []string {
	return []string{
		"iptables-nft-save", "iptables-legacy-save", "nft -s list ruleset", "ip rule", "ip -6 rule", "ip route show table all",
		"ip link", "ip addr", "ipset list",
	}
}

func dump(t testing.TB) string {
	t.Helper()
	var s strings.Builder
	for _, c := range dumpCommands() {
		out := netnstest.Run(t, c)
		for line := range strings.Lines(out) {
			// iptables-save prints the time, and a policy's packet counters move
			// with the kernel's own multicast.
			if !strings.HasPrefix(line, "# Generated") && !strings.HasPrefix(line, "# Completed") {
				fmt.Fprintf(&s, "%s: %s\n", c, normal(line))
			}
		}
	}
	for _, key := range []string{"rp_filter", "accept_local"} {
		files, err := filepath.Glob("/proc/sys/net/ipv4/conf/*/" + key)
		if err != nil || len(files) == 0 {
			t.Fatalf("listing sysctls: %v", err)
		}
		for _, f := range files {
			value, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&s, "%s = %s", f, value)
		}
	}
	return s.String()
}

// wantListing checks that what was printed has the listing's lines in order.
// "/* omit */" stands for anything.
func wantListing(t *testing.T, printed, listing string, substitute ...string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", listing))
	if err != nil {
		t.Fatal(err)
	}
	want := strings.NewReplacer(substitute...).Replace(string(text))
	rest := strings.Split(printed, "\n")
	for line := range strings.Lines(want) {
		line = normal(line)
		if line == "" || line == "/* omit */" {
			continue
		}
		found := false
		for i, p := range rest {
			if normal(p) == line {
				rest, found = rest[i+1:], true
				break
			}
		}
		if !found {
			t.Fatalf("%s: no line %q (in this order) in\n%s", listing, line, printed)
		}
	}
}

// normal cuts what iproute2 versions differ in: blanks, and packet counters.
func normal(line string) string {
	line = strings.Join(strings.Fields(line), " ")
	if i := strings.LastIndex(line, " ["); i > 0 && strings.HasPrefix(line, ":") {
		line = line[:i]
	}
	return line
}

func forVariants(t *testing.T, f func(t *testing.T, v noderoute.Variant)) {
	for _, v := range []noderoute.Variant{noderoute.NFT, noderoute.Legacy} {
		t.Run(v.String(), func(t *testing.T) {
			netnstest.Enter(t)
			f(t, v)
		})
	}
}

func TestInstallPrintsTheListings(t *testing.T) {
	forVariants(t, func(t *testing.T, v noderoute.Variant) {
		c := nodeA(t)
		buildNode(t, c, v)
		r := apply(t, newNode(t, v), c)
		if r.Execs != 1 {
			t.Errorf("installing took %d writing processes", r.Execs)
		}
		z := veth(c.ZtunnelIP)
		save := netnstest.Run(t, "iptables-"+v.String()+"-save")
		if v == noderoute.Legacy {
			// The listing has nat before mangle, as the legacy tools print it
			// on its node; the order of whole tables is the kernel's affair.
			save = tableOf(save, "nat") + tableOf(save, "mangle")
		}
		wantListing(t, tableOf(save, "nat")+tableOf(save, "mangle"), "listing-01-node-a.iptables-save.txt", "veth300a1d80", z)
		wantListing(t, netnstest.Run(t, "ip rule"), "listing-02-node-a.ip-rule.txt")
		wantListing(t, netnstest.Run(t, "ip route show table 101"), "listing-03-node-a.table-101.txt", "veth52b75946", z)
		if out := netnstest.Run(t, "ip route show table 102"); normal(strings.ReplaceAll(out, "\n", ";")) !=
			fmt.Sprintf("default via 10.4.4.18 dev %s onlink ;10.4.4.18 dev %s scope link ;", z, z) {
			t.Errorf("table 102:\n%s", out)
		}
		for _, key := range []string{"all.rp_filter=0", "default.rp_filter=0", z + ".rp_filter=0", "istioin.rp_filter=0", "istioout.rp_filter=0",
			veth(c.Pods[0].IP) + ".rp_filter=0", z + ".accept_local=1", "istioin.accept_local=1", "istioout.accept_local=1"} {
			name, want, _ := strings.Cut(key, "=")
			if got := strings.TrimSpace(netnstest.Run(t, "sysctl -n net.ipv4.conf."+name)); got != want {
				t.Errorf("%s is %s", key, got)
			}
		}
	})
}

func TestNodeBPrintsTheListings(t *testing.T) {
	forVariants(t, func(t *testing.T, v noderoute.Variant) {
		c := nodeB(t)
		buildNode(t, c, v)
		apply(t, newNode(t, v), c)
		z := veth(c.ZtunnelIP)
		wantListing(t, netnstest.Run(t, "iptables-"+v.String()+"-save"), "listing-14-node-b.iptables-save.txt")
		wantListing(t, netnstest.Run(t, "ip rule"), "listing-15-node-b.ip-rule.txt")
		// The listing has two addresses cut off at the edge of the picture.
		wantListing(t, netnstest.Run(t, "ip route show table 100"), "listing-16-node-b.table-100.txt", "veth28865c45", z, "src 10.4.3.\n", "src 10.4.3.1\n")
	})
}

// tableOf cuts one table out of iptables-save's output.
func tableOf(save, table string) string {
	_, rest, _ := strings.Cut(save, "*"+table+"\n")
	body, _, _ := strings.Cut(rest, "COMMIT\n")
	return "*" + table + "\n" + body
}

func TestSecondRunWritesNothing(t *testing.T) {
	forVariants(t, func(t *testing.T, v noderoute.Variant) {
		c := nodeA(t)
		c.DNSCapture = true
		buildNode(t, c, v)
		n := newNode(t, v)
		apply(t, n, c)
		before := dump(t)
		r := apply(t, n, c)
		if r.Writes() != 0 || len(r.Changes) != 0 || r.Listings != 1 {
			t.Errorf("a second run: %+v", r)
		}
		changes, err := n.Diff(context.Background(), c)
		if err != nil || !changes.Empty() {
			t.Errorf("a diff after that: %v, %v", changes.Lines(), err)
		}
		wantSame(t, before, dump(t))
	})
}

func TestCleanupLeavesEverythingAsItWas(t *testing.T) {
	forVariants(t, func(t *testing.T, v noderoute.Variant) {
		c := nodeA(t)
		buildNode(t, c, v)
		n := newNode(t, v)
		before := dump(t)
		apply(t, n, c)
		if _, err := n.Cleanup(context.Background()); err != nil {
			t.Fatal(err)
		}
		wantSame(t, before, dump(t))
		r, err := n.Cleanup(context.Background())
		if err != nil || r.Writes() != 0 || len(r.Changes) != 0 {
			t.Errorf("a second cleanup: %+v, %v", r, err)
		}
	})
}

func wantSame(t testing.TB, before, after string) {
	t.Helper()
	if before == after {
		return
	}
	b, a := strings.Split(before, "\n"), strings.Split(after, "\n")
	in := func(line string, lines []string) bool {
		for _, l := range lines {
			if l == line {
				return true
			}
		}
		return false
	}
	for _, l := range b {
		if !in(l, a) {
			t.Errorf("gone: %s", l)
		}
	}
	for _, l := range a {
		if !in(l, b) {
			t.Errorf("new: %s", l)
		}
	}
	if !t.Failed() {
		t.Error("the same lines in another order")
	}
}
