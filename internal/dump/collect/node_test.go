// SPDX-License-Identifier: Apache-2.0

package collect

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ambient22/ambient22/internal/dump"
	"github.com/ambient22/ambient22/internal/osthread"
	"github.com/ambient22/ambient22/noderoute/netnstest"
)

// workloadsOfTest is what the test's node controller knows.
const workloadsOfTest = `{"node": "node-t", "pods": [
 {"namespace": "default", "name": "sleep", "ip": "10.44.0.19", "node": "node-t", "captured": true},
 {"namespace": "istio-system", "name": "ztunnel-x", "ip": "10.44.0.18", "node": "node-t", "captured": false},
 {"namespace": "default", "name": "elsewhere", "ip": "10.44.1.2", "node": "node-u", "captured": true}], "services": []}`

// testNode is a node with a ztunnel and a captured pod. The test runs in the node's
// namespace.
type testNode struct {
	ztunnel, pod string // names of namespaces
}

// newNode makes the namespaces, and serves in them what the node controller and
// the ztunnel serve; configDump is the latter's answer.
func newNode(t *testing.T, configDump string) *testNode {
	t.Helper()
	netnstest.Enter(t)
	name := func(what string) string { return "ambient22-collect-" + strconv.Itoa(os.Getpid()) + "-" + what }
	n := &testNode{ztunnel: name("z"), pod: name("p")}
	netnstest.Run(t, "ip link add eth9 type veth peer name eth8")
	n.addPod(t, n.ztunnel, "vethz", "10.44.0.18")
	n.addPod(t, n.pod, "vethp", "10.44.0.19")
	for _, device := range []string{"istioin", "istioout"} {
		id := map[string]string{"istioin": "1000", "istioout": "1001"}[device]
		netnstest.Run(t, "ip link add "+device+" type vxlan id "+id+" remote 10.44.0.18 dstport 6081 dev vethz")
		netnstest.Run(t, "ip link set "+device+" up")
	}
	netnstest.Run(t, "ip addr add 192.168.126.1/30 dev istioin")
	netnstest.Run(t, "ip rule add priority 103 lookup 100")
	netnstest.Run(t, "ip route add 10.44.0.18 dev vethz table 100")
	netnstest.Run(t, "ip route add 10.44.0.19 via 192.168.126.2 dev istioin table 100")
	serve(t, DefaultNodeAddr, dump.WorkloadsPath, workloadsOfTest)
	inNetns(t, n.ztunnel, func() { serve(t, DefaultAdminAddr, "/config_dump", configDump) })
	netnstest.Settle(t)
	return n
}

func (n *testNode) addPod(t *testing.T, ns, veth, addr string) {
	t.Helper()
	netnstest.Run(t, "ip netns add "+ns)
	t.Cleanup(func() { netnstest.Run(t, "ip netns delete "+ns) })
	// Without IPv6 no address becomes valid by itself later on.
	inNetns(t, ns, func() {
		for _, where := range []string{"all", "default"} {
			if err := os.WriteFile("/proc/sys/net/ipv6/conf/"+where+"/disable_ipv6", []byte("1"), 0); err != nil {
				t.Error(err)
			}
		}
	})
	netnstest.Run(t, "ip link add "+veth+" type veth peer name eth0 netns "+ns)
	netnstest.Run(t, "ip link set "+veth+" up")
	netnstest.Run(t, "ip route add "+addr+" dev "+veth)
	for _, line := range []string{"link set lo up", "link set eth0 up", "addr add " + addr + "/24 dev eth0"} {
		netnstest.Run(t, "ip -n "+ns+" "+line)
	}
}

// inNetns calls do on a thread in a named namespace.
func inNetns(t *testing.T, name string, do func()) {
	t.Helper()
	err := osthread.Throwaway(func() error {
		f, err := os.Open("/run/netns/" + name)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := unix.Setns(int(f.Fd()), unix.CLONE_NEWNET); err != nil {
			return err
		}
		do()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// serve answers at an address of the calling thread's namespace.
func serve(t *testing.T, addr, path, answer string) {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Error(err)
		return
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, answer) })
	server := &http.Server{Handler: mux}
	t.Cleanup(func() { server.Close() })
	go server.Serve(l)
}

// take takes a dump of the test's node.
func take(t *testing.T, o Options) *dump.Archive {
	t.Helper()
	a, err := Collect(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func gaps(a *dump.Archive) string {
	var b strings.Builder
	for _, g := range a.Header.Gaps {
		fmt.Fprintln(&b, g)
	}
	return b.String()
}
