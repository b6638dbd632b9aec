// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ambient22/ambient22/internal/lab/netns"
)

// pidOf finds the one process of a daemon in a host.
func pidOf(t *testing.T, l *Lab, host, daemon string) int {
	t.Helper()
	pids, err := netns.Pids(l.Net.Namespace(host))
	if err != nil {
		t.Fatal(err)
	}
	var found []int
	for _, pid := range pids {
		exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
		if err == nil && filepath.Base(exe) == daemon {
			found = append(found, pid)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%s has %d processes of %s, want one", host, len(found), daemon)
	}
	return found[0]
}

// kill9 ends a daemon without a chance to clean up, and waits for its end.
func kill9(t *testing.T, l *Lab, host, daemon string) {
	t.Helper()
	pid := pidOf(t, l, host, daemon)
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, daemon+" has ended", func() error {
		if err := unix.Kill(pid, 0); !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("process %d is there", pid)
		}
		return nil
	})
}

// briefCall gives up soon: without a ztunnel nobody answers, and a service that it
// does not know yet is an address that nobody has.
func briefCall(t *testing.T, l *Lab, url string) error {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	call, err := l.Call(ctx, callerHost, url)
	if err == nil && call.Status != 200 {
		err = fmt.Errorf("status %d", call.Status)
	}
	return err
}

func mustCall(t *testing.T, l *Lab) {
	t.Helper()
	call, err := l.Call(t.Context(), callerHost, callURL)
	if err != nil {
		t.Fatal(err)
	}
	if call.Status != 200 {
		t.Fatalf("status %d", call.Status)
	}
}

func TestKilledZtunnels(t *testing.T) {
	l := up(t, "nft")
	mustCall(t, l)
	for _, node := range l.Net.Topology.Nodes {
		pod, _ := l.Net.Topology.Pod(node.Ztunnel)
		kill9(t, l, pod.Host, ztunnelDaemon)
		if briefCall(t, l, callURL) == nil {
			t.Errorf("the call passed without the ztunnel in %s", pod.Host)
		}
		if err := l.StartZtunnel(t.Context(), pod, &node); err != nil {
			t.Fatal(err)
		}
		eventually(t, "calls pass again", func() error { return briefCall(t, l, callURL) })
	}
	// The whole pod, its init container too, may start again.
	pod, _ := l.Net.Topology.Pod("ztunnel-a")
	if err := l.InitZtunnel(t.Context(), pod); err != nil {
		t.Fatal(err)
	}
	eventually(t, "calls pass after another init", func() error { return briefCall(t, l, callURL) })
}

// nodeDump is what a node prints about everything the node controller touches.
func nodeDump(t *testing.T, l *Lab, host string) map[string]string {
	t.Helper()
	if err := l.settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	dump := map[string]string{}
	for _, command := range []string{
		"iptables-nft-save", "iptables-legacy-save", "ip rule", "ip route show table all", "ip -d link", "ip addr", "ipset list",
		"sysctl -a --pattern net.ipv4.(conf|ip_forward)",
	} {
		dump[command] = stable(output(t, l, host, strings.Fields(command)...))
	}
	return dump
}

var (
	counters = regexp.MustCompile(`\[[0-9]+:[0-9]+\]`)
	comments = regexp.MustCompile(`(?m)^#.*\n`)
)

// stable takes out what moves by itself: packet counters, and the comments with
// the time.
func stable(text string) string {
	return counters.ReplaceAllString(comments.ReplaceAllString(text, ""), "[0:0]")
}

func compareDumps(t *testing.T, before, after map[string]string) {
	t.Helper()
	for command, want := range before {
		if got := after[command]; got != want {
			t.Errorf("%s printed\n%s\nand now prints\n%s", command, want, got)
		}
	}
}

func TestKilledNodeControllers(t *testing.T) {
	l := up(t, "legacy")
	mustCall(t, l)
	for _, node := range l.Net.Topology.Nodes {
		before := nodeDump(t, l, node.Host)
		kill9(t, l, node.Host, nodeDaemon)
		mustCall(t, l) // the data path stands by itself
		if err := l.StartNode(t.Context(), &node); err != nil {
			t.Fatal(err)
		}
		compareDumps(t, before, nodeDump(t, l, node.Host))
		mustCall(t, l)
	}
	// The ztunnels found their control plane again: what they get now arrives.
	checkReconnected(t, l)
}

// late is a service that comes while the lab runs.
const late = `
apiVersion: v1
kind: Service
metadata: {name: late, namespace: default}
spec:
  clusterIP: 10.8.99.1
  ports: [{name: http, port: 9080, targetPort: 9080}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: late-1
  namespace: default
  labels: {kubernetes.io/service-name: late}
addressType: IPv4
ports: [{name: http, port: 9080, protocol: TCP}]
endpoints:
- addresses: [10.4.3.20]
  conditions: {ready: true}
  targetRef: {kind: Pod, name: productpage-v1-5586c4d4ff-qxz9f, namespace: default}
`

// checkReconnected adds a service and calls it: the ztunnels follow the control
// plane that was started again.
func checkReconnected(t *testing.T, l *Lab) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(l.Manifests(), "late.yaml"), []byte(late), 0o644); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the new service answers", func() error { return briefCall(t, l, "http://10.8.99.1:9080/") })
}
