// SPDX-License-Identifier: Apache-2.0

package hosts

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ambient22/ambient22/hack/topologies"
	"github.com/ambient22/ambient22/internal/lab/netns"
	"github.com/ambient22/ambient22/internal/lab/topology"
)

// TestMain lets the test binary stand in for `ambientctl inside enter`.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "enter" {
		e, argv := parseEntry(os.Args[2:])
		fmt.Fprintln(os.Stderr, EnterMain(e, argv))
		os.Exit(125)
	}
	os.Exit(m.Run())
}

func parseEntry(args []string) (e Entry, argv []string) {
	for len(args) > 0 {
		switch args[0] {
		case "--netns":
			e.Namespace, args = args[1], args[2:]
		case "--tools":
			e.Tools, args = args[1], args[2:]
		case "--pod":
			e.Pod, args = true, args[1:]
		case "--":
			return e, args[1:]
		}
	}
	return e, nil
}

func article(t *testing.T, variant string) *Net {
	t.Helper()
	topo, err := topology.Load(topologies.Article())
	if err != nil {
		t.Fatal(err)
	}
	n := &Net{
		Name: fmt.Sprintf("h%d%s", os.Getpid(), variant), Dir: t.TempDir(), Topology: topo,
		Variant: variant, Enter: []string{os.Args[0], "enter"},
	}
	t.Cleanup(func() {
		if err := n.Destroy(context.Background()); err != nil {
			t.Error(err)
		}
		for _, ns := range n.Namespaces() {
			if netns.Exists(ns) {
				t.Errorf("namespace %s is still there", ns)
			}
			if _, err := os.Stat(filepath.Join(etcNetns, ns)); err == nil {
				t.Errorf("%s/%s is still there", etcNetns, ns)
			}
		}
	})
	if err := n.Build(t.Context(), topologies.Article()); err != nil {
		t.Fatal(err)
	}
	return n
}

func output(t *testing.T, n *Net, host string, argv ...string) string {
	t.Helper()
	out, err := n.Output(t.Context(), host, argv...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestArticleHosts(t *testing.T) {
	for _, variant := range []string{"nft", "legacy"} {
		t.Run(variant, func(t *testing.T) {
			n := article(t, variant)
			t.Run("a pod's device is as in listing 05", func(t *testing.T) { checkPodDevice(t, n) })
			t.Run("tables are in the expected order", func(t *testing.T) { checkTables(t, n) })
			t.Run("a pod reaches a service before the mesh", func(t *testing.T) { checkCall(t, n) })
			t.Run("sysctls", func(t *testing.T) { checkSysctls(t, n) })
		})
	}
}

func checkPodDevice(t *testing.T, n *Net) {
	got := strings.Join(strings.Fields(output(t, n, "ztunnel-a", "ip", "-d", "a")), " ")
	for _, want := range []string{
		"1: lo: <LOOPBACK,UP,LOWER_UP>", "2: eth0@if",
		"mtu 1460 qdisc noqueue state UP group default link/ether",
		"link-netnsid 0", "veth numtxqueues 1 numrxqueues 1",
		"inet 10.4.4.18/24 brd 10.4.4.255 scope global eth0",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("lacks %q:\n%s", want, got)
		}
	}
	if strings.Contains(got, "inet6") {
		t.Errorf("the pod has IPv6 addresses:\n%s", got)
	}
}

func checkTables(t *testing.T, n *Net) {
	var tables []string
	for line := range strings.SplitSeq(output(t, n, "node-a", "iptables-save"), "\n") {
		if strings.HasPrefix(line, "*") {
			tables = append(tables, line)
		}
	}
	want := []string{"*nat", "*mangle"}
	if n.Variant == "nft" { // a fixed order
		slices.Reverse(want)
	}
	if !slices.Equal(tables, want) {
		t.Errorf("got tables %v, want %v", tables, want)
	}
}

func checkSysctls(t *testing.T, n *Net) {
	for name, want := range map[string]string{
		"net/ipv4/ip_forward": "1", "net/ipv4/conf/veth300a1d80/rp_filter": "1", "net/ipv4/conf/eth0/rp_filter": "1",
	} {
		if got := strings.TrimSpace(output(t, n, "node-a", "cat", "/proc/sys/"+name)); got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
}

func checkCall(t *testing.T, n *Net) {
	if hosts := output(t, n, "sleep", "cat", "/etc/hosts"); !strings.Contains(hosts, "10.8.14.226 productpage ") {
		t.Errorf("/etc/hosts in sleep lacks the service:\n%s", hosts)
	}
	var l net.Listener
	err := netns.Do(n.Namespace("productpage"), func() (err error) {
		l, err = net.Listen("tcp4", ":9080")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	peer := make(chan string, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			peer <- err.Error()
			return
		}
		peer <- conn.RemoteAddr().String()
		conn.Close()
	}()
	err = netns.Do(n.Namespace("sleep"), func() error {
		conn, err := net.DialTimeout("tcp4", "10.8.14.226:9080", 5*time.Second)
		if err == nil {
			conn.Close()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := <-peer; !strings.HasPrefix(got, "10.4.4.19:") {
		t.Errorf("productpage saw %s, want sleep's 10.4.4.19", got)
	}
}

func TestDestroyEndsDaemons(t *testing.T) {
	n := article(t, "nft")
	d, err := n.Start("sleep", "stubborn", "sh", "-c", "trap '' TERM; echo on; while :; do sleep 1; done")
	if err != nil {
		t.Fatal(err)
	}
	for d.log(t) != "on" { // the trap stands
		if end, ended := d.Ended(); ended {
			t.Fatalf("the daemon ended: %v", end)
		}
	}
	if err := n.Destroy(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-d.done; err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("the daemon ended with %v, want: killed", err)
	}
}

func (d *Daemon) log(t *testing.T) string {
	t.Helper()
	return Tail(d.Log, 1)
}

func TestExitCodeAndUnknownHost(t *testing.T) {
	n := article(t, "nft")
	cmd, err := n.Command(t.Context(), "sleep", "sh", "-c", "exit 42")
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Run(); cmd.ProcessState.ExitCode() != 42 {
		t.Errorf("got %v, want exit code 42", err)
	}
	if _, err := n.Command(t.Context(), "nowhere", "true"); err == nil || !strings.Contains(err.Error(), "productpage") {
		t.Errorf("unknown host: got %v, want an error that names the hosts", err)
	}
}
