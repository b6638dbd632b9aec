// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ambient22/ambient22/internal/cni"
)

// Codes of the specification.
const (
	tryAgain = 11
	refused  = 100 // the plugin's own
)

func as(user uint32) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: user, Gid: user}}
}

// TestAPodIsCapturedWhenThePluginReturns goes through the versions of the specification.
// The API server knows the pods, but none of their addresses.
func TestAPodIsCapturedWhenThePluginReturns(t *testing.T) {
	n := newNode(t)
	for i, version := range []string{"0.3.1", "0.4.0", "1.0.0", "1.1.0"} {
		ip := []string{"10.4.4.20", "10.4.4.21", "10.4.4.22", "10.4.4.23"}[i]
		p := pod("default", "pod-"+strings.ReplaceAll(version, ".", "-"))
		n.create(p)
		n.wire(ip)
		o := n.passed(call{command: "ADD", version: version, pod: p, ips: []string{ip}})
		if !n.captured(ip) {
			t.Errorf("%s: the plugin returned before %s was captured", version, ip)
		}
		t.Logf("version %s: captured within %v", version, o.took)
		if version != "0.3.1" {
			n.passed(call{command: "CHECK", version: version, pod: p, ips: []string{ip}})
		}
		n.passed(call{command: "DEL", version: version, pod: p})
		n.until(ip+" is let go after DEL", func() bool { return !n.captured(ip) })
	}
	n.passed(call{command: "STATUS"})
	n.passed(call{command: "GC"})
	n.passed(call{command: "VERSION"})
}

func TestPodsThatTakeNoPartPass(t *testing.T) {
	n := newNode(t)
	outside := pod("kube-system", "outside")
	n.create(outside)
	o := n.passed(call{command: "ADD", pod: outside, ips: []string{"10.4.4.30"}})
	if o.took > 2*time.Second || n.captured("10.4.4.30") {
		t.Errorf("took %v, captured %v", o.took, n.captured("10.4.4.30"))
	}
	optedOut := pod("default", "opted-out")
	optedOut.Labels["ambient-type"] = "none"
	n.create(optedOut)
	n.passed(call{command: "ADD", pod: optedOut, ips: []string{"fd00::30"}})
	n.passed(call{command: "ADD", ips: []string{"10.4.4.31"}}) // no pod of Kubernetes
	o = n.passed(call{command: "CHECK", pod: outside, ips: []string{"10.4.4.30"}})
	if o.stdout != "" {
		t.Errorf("CHECK printed %q", o.stdout)
	}
}

func TestPodsAreRefused(t *testing.T) {
	n := newNode(t)
	p := pod("default", "sleep")
	n.create(p)
	ip := []string{"10.4.4.20"}
	o := n.failed(call{command: "ADD", pod: p, ips: []string{"fd00::20"}}, refused, "fd00::20 is an IPv6 one")
	if !strings.Contains(o.err.Details, "ambient-type=none") {
		t.Errorf("no way out: %+v", o.err)
	}
	n.failed(call{command: "ADD", pod: pod("default", "nobody"), ips: ip}, tryAgain, "knows no pod of this name and UID")
	n.failed(call{command: "ADD", pod: p, ips: ip, user: 65534}, refused, "only root may ask")
	n.failed(call{command: "ADD", pod: p}, 7, "nothing before it")
	n.failed(call{command: "ADD", pod: p, ips: ip, wait: "300ms"}, tryAgain, "no /32 route over a veth of its own")
	n.failed(call{command: "CHECK", pod: p, ips: ip}, tryAgain, "the pod is not captured")
	n.failed(call{command: "ADD", pod: p, ips: ip, wait: "soon"}, 7, `"soon" is no duration`)
	if err := n.client.CoreV1().Pods("istio-system").Delete(t.Context(), "ztunnel", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	n.until("the state tells that the ztunnel has gone", func() bool { return !n.written().ZtunnelReady })
	o = n.failed(call{command: "ADD", pod: p, ips: ip}, tryAgain, "no ztunnel is ready on node node-a")
	if o.took > 5*time.Second || o.err.Details == "" {
		t.Errorf("took %v: %+v", o.took, o.err)
	}
}

// written is what the controller wrote for plugins.
func (n *node) written() cni.State {
	n.t.Helper()
	s, err := cni.ReadState(n.state)
	if err != nil {
		n.t.Fatal(err)
	}
	return s
}

func TestWithoutAController(t *testing.T) {
	n := newNode(t)
	p := pod("default", "sleep")
	n.create(p)
	n.wire("10.4.4.20")
	ip := []string{"10.4.4.20"}
	n.passed(call{command: "ADD", pod: p, ips: ip}) // the state is written by then
	n.stopController()
	o := n.failed(call{command: "ADD", pod: p, ips: ip, wait: "300ms"}, tryAgain, "ambient-node did not answer")
	if !strings.Contains(o.err.Details, "DaemonSet ambient-node") {
		t.Errorf("no way out: %+v", o.err)
	}
	n.passed(call{command: "ADD", pod: pod("kube-system", "outside"), ips: []string{"10.4.4.30"}})
	n.passed(call{command: "DEL", pod: p})
	n.passed(call{command: "CHECK", pod: p, ips: ip})

	// A controller that comes back meanwhile takes the pod over.
	done := make(chan outcome, 1)
	go func() { done <- n.run(call{command: "ADD", pod: p, ips: ip}) }()
	n.start()
	if o := <-done; o.code != 0 || !n.captured("10.4.4.20") {
		t.Errorf("%+v, captured %v", o, n.captured("10.4.4.20"))
	}
	n.stopController()

	// Where nobody can say who takes part, pods start.
	for _, content := range []string{"half a fi", `{"mode": "off", "ztunnelReady": false}`} {
		if err := os.WriteFile(n.state, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		n.passed(call{command: "ADD", pod: p, ips: ip})
	}
	if err := os.Remove(n.state); err != nil {
		t.Fatal(err)
	}
	n.passed(call{command: "ADD", pod: p, ips: ip})
}

// TestAnAddressThatIsUsedAgain gives a captured address to a pod outside the mesh while
// the API server still shows the pod that had it.
func TestAnAddressThatIsUsedAgain(t *testing.T) {
	n := newNode(t)
	p := pod("default", "sleep")
	p.Status = corev1.PodStatus{Phase: corev1.PodRunning, PodIP: "10.4.4.20", PodIPs: []corev1.PodIP{{IP: "10.4.4.20"}}}
	n.wire("10.4.4.20")
	n.create(p)
	n.until("it is captured", func() bool { return n.captured("10.4.4.20") })
	outside := pod("kube-system", "outside")
	n.create(outside)
	n.passed(call{command: "ADD", pod: outside, ips: []string{"10.4.4.20"}})
	if n.captured("10.4.4.20") {
		t.Error("the outsider started while its address was captured for another pod")
	}
}
