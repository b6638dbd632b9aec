// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/containernetworking/cni/pkg/types/create"

	"github.com/ambient22/ambient22/envoyconfig"
	"github.com/ambient22/ambient22/internal/agent"
	"github.com/ambient22/ambient22/internal/cni"
	"github.com/ambient22/ambient22/internal/kubeapi"
	"github.com/ambient22/ambient22/internal/mesh"
	"github.com/ambient22/ambient22/noderoute"
	"github.com/ambient22/ambient22/noderoute/netnstest"
	"github.com/ambient22/ambient22/xds"
)

// built is this program, built as it is shipped.
var built = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "ambient-cni-test-")
	if err == nil {
		err = os.Chmod(dir, 0o755) // one test starts it as somebody else
	}
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "ambient-cni")
	if out, err := exec.Command("go", "build", "-o", path, ".").CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return path, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if path, err := built(); err == nil {
		os.RemoveAll(filepath.Dir(path))
	}
	os.Exit(code)
}

// kernelNode is a real node. What a test's namespace lacks of a whole machine is
// nothing to this test.
type kernelNode struct{ *noderoute.Node }

func (kernelNode) Preflight(context.Context, noderoute.HostConfig) ([]noderoute.Problem, error) {
	return nil, nil
}

// ztunnel takes every configuration.
type ztunnel struct{}

func (ztunnel) Set(*envoyconfig.Resources) error { return nil }
func (ztunnel) Forget() bool                     { return true }
func (ztunnel) Proxies() (bool, <-chan struct{}) { return true, nil }

// node is a node with a controller, in a network namespace of the test's, and one
// namespace for pods.
type node struct {
	t              *testing.T
	client         *fake.Clientset
	binary         string
	socket, state  string
	sandbox        int // process that holds the pods' namespace
	stopController func()
}

func newNode(t *testing.T) *node {
	t.Helper()
	netnstest.Enter(t)
	for _, line := range []string{
		"sysctl -qw net.ipv6.conf.default.disable_ipv6=1", "sysctl -qw net.ipv4.ip_forward=1", "ip addr add 10.4.4.1/32 dev lo",
	} {
		netnstest.Run(t, line)
	}
	binary, err := built()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil { // one test comes as somebody else
		t.Fatal(err)
	}
	n := &node{t: t, binary: binary, socket: filepath.Join(dir, "cni.sock"), state: filepath.Join(dir, "config", "config.json")}
	sandbox := exec.Command("unshare", "--net", "sleep", "3600")
	if err := sandbox.Start(); err != nil {
		t.Fatal(err)
	}
	n.sandbox = sandbox.Process.Pid
	t.Cleanup(func() {
		_ = sandbox.Process.Kill()
		_ = sandbox.Wait()
	})
	own, _ := os.Readlink("/proc/thread-self/ns/net")
	n.until("the pods' namespace is there", func() bool {
		theirs, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", n.sandbox))
		return err == nil && theirs != own
	})
	n.wire("10.4.4.18")
	n.client = fake.NewClientset(
		&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node-a"}, Spec: corev1.NodeSpec{PodCIDR: "10.4.4.0/24"}},
		namespace("default", mesh.LabelDataplaneMode, "ambient"), namespace("istio-system"), namespace("kube-system"),
		ztunnelPod(),
	)
	n.start()
	n.until("the controller knows the mesh", func() bool { return n.written().ZtunnelReady })
	return n
}

func namespace(name string, labels ...string) *corev1.Namespace {
	n := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID("ns-" + name), Labels: map[string]string{}}}
	for i := 0; i < len(labels); i += 2 {
		n.Labels[labels[i]] = labels[i+1]
	}
	return n
}

func ztunnelPod() *corev1.Pod {
	p := pod("istio-system", "ztunnel")
	p.Labels["app"] = "ztunnel"
	p.Status = corev1.PodStatus{
		Phase: corev1.PodRunning, PodIP: "10.4.4.18", PodIPs: []corev1.PodIP{{IP: "10.4.4.18"}},
		Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}},
	}
	return p
}

// pod is one that was scheduled to the node a moment ago.
func pod(namespace, name string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, UID: types.UID(name + "-uid"), Labels: map[string]string{}},
		Spec:       corev1.PodSpec{NodeName: "node-a", Containers: []corev1.Container{{Name: "c"}}},
		Status:     corev1.PodStatus{Phase: corev1.PodPending},
	}
}

// until waits until ok holds.
func (n *node) until(what string, ok func() bool) {
	n.t.Helper()
	for limit := time.Now().Add(20 * time.Second); !ok(); {
		if time.Now().After(limit) {
			n.t.Fatalf("it never came to that: %s", what)
		}
		<-time.After(time.Millisecond)
	}
}

// wire makes a pod's veth and route, as the plugin before ours does.
func (n *node) wire(ip string) {
	n.t.Helper()
	veth := "veth" + ip[strings.LastIndexByte(ip, '.')+1:]
	netnstest.Run(n.t, fmt.Sprintf("ip link add %s up type veth peer name %sp netns %d", veth, veth, n.sandbox))
	netnstest.Run(n.t, fmt.Sprintf("nsenter --net=/proc/%d/ns/net ip link set %sp up", n.sandbox, veth))
	netnstest.Run(n.t, fmt.Sprintf("ip route add %s dev %s", ip, veth))
}

// start runs a controller until stopController.
func (n *node) start() {
	n.t.Helper()
	real, err := noderoute.New(noderoute.Options{IPTables: noderoute.NFT, StateDir: n.t.TempDir()})
	if err != nil {
		n.t.Fatal(err)
	}
	var logs bytes.Buffer // read after everything has ended
	log := slog.New(slog.NewTextHandler(&logs, nil))
	source := kubeapi.New(kubeapi.Config{
		Kubernetes: n.client, Dynamic: dynamicfake.NewSimpleDynamicClient(runtime.NewScheme()), Node: "node-a",
		ConfigMap: types.NamespacedName{Namespace: "istio-system", Name: "ambient22-config"}, Rediscover: time.Hour, Log: log,
		State: func(s cni.State) {
			if err := cni.WriteState(n.state, s); err != nil {
				n.t.Error(err)
			}
		},
	})
	controller := agent.New(agent.Config{
		NodeName: "node-a", Resync: time.Hour, PushDelay: 5 * time.Millisecond, PushInterval: 100 * time.Millisecond,
		Node: kernelNode{real}, XDS: ztunnel{}, Tunnel: netnstest.Tunnel(n.t), Source: source.Run, Outcome: source.Captured,
		Log: log, Metrics: agent.NewMetrics(prometheus.NewRegistry()),
	})
	listener, err := xds.Listen(n.socket, xds.WithMode(0o666))
	if err != nil {
		n.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	for _, part := range []func() error{
		func() error { return controller.Run(ctx) },
		func() error { return cni.Serve(ctx, listener, source, log) },
	} {
		running.Go(func() {
			if err := part(); err != nil {
				n.t.Error(err)
			}
		})
	}
	n.stopController = sync.OnceFunc(func() {
		cancel()
		running.Wait()
		real.Close()
		if n.t.Failed() {
			n.t.Log(logs.String())
		}
	})
	n.t.Cleanup(n.stopController)
}

// create makes a pod known to the API server.
func (n *node) create(p *corev1.Pod) {
	n.t.Helper()
	if _, err := n.client.CoreV1().Pods(p.Namespace).Create(n.t.Context(), p, metav1.CreateOptions{}); err != nil {
		n.t.Fatal(err)
	}
}

// call is one call of a container runtime.
type call struct {
	command, version string
	pod              *corev1.Pod
	ips              []string
	wait             string // "" for the default
	user             uint32
}

// outcome is what came of one.
type outcome struct {
	code   int
	stdout string
	stderr string
	took   time.Duration
	err    struct {
		Code         uint
		Msg, Details string
	}
}

// previous is the result of the plugin before, as each version writes it.
func (c call) previous(sandbox int) string {
	var ips []string
	for _, ip := range c.ips {
		family, version := "/24", ""
		if strings.Contains(ip, ":") {
			family = "/64"
		}
		if c.version < "1.0.0" {
			version = `"version": "` + map[bool]string{true: "6", false: "4"}[family == "/64"] + `", `
		}
		ips = append(ips, fmt.Sprintf(`{%s"interface": 1, "address": "%s%s"}`, version, ip, family))
	}
	return fmt.Sprintf(`{"cniVersion": %q, "interfaces": [{"name": "vethX", "mac": "00:11:22:33:44:55"}, {"name": "eth0", "sandbox": "/proc/%d/ns/net"}],`+
		` "ips": [%s], "routes": [{"dst": "0.0.0.0/0", "gw": "10.4.4.1"}], "dns": {}}`, c.version, sandbox, strings.Join(ips, ", "))
}

// run runs the plugin.
func (n *node) run(c call) outcome {
	n.t.Helper()
	if c.version == "" {
		c.version = "1.1.0"
	}
	conf := map[string]any{"cniVersion": c.version, "name": "cluster", "type": "ambient-cni", "socket": n.socket, "state": n.state}
	if len(c.ips) > 0 {
		conf["prevResult"] = json.RawMessage(c.previous(n.sandbox))
	}
	if c.wait != "" {
		conf["wait"] = c.wait
	}
	stdin, err := json.Marshal(conf)
	if err != nil {
		n.t.Fatal(err)
	}
	cmd := exec.Command(n.binary)
	cmd.Stdin = bytes.NewReader(stdin)
	cmd.Env = append(os.Environ(), "CNI_COMMAND="+c.command, "CNI_IFNAME=eth0", "CNI_PATH=/opt/cni/bin", fmt.Sprintf("CNI_NETNS=/proc/%d/ns/net", n.sandbox))
	if c.pod != nil {
		cmd.Env = append(cmd.Env, "CNI_CONTAINERID="+c.pod.Name+"-sandbox", fmt.Sprintf("CNI_ARGS=IgnoreUnknown=1;K8S_POD_NAMESPACE=%s;K8S_POD_NAME=%s;K8S_POD_INFRA_CONTAINER_ID=x;K8S_POD_UID=%s", c.pod.Namespace, c.pod.Name, c.pod.UID))
	} else {
		cmd.Env = append(cmd.Env, "CNI_CONTAINERID=alone")
	}
	if c.user != 0 {
		cmd.SysProcAttr = as(c.user)
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	start := time.Now()
	err = cmd.Run()
	o := outcome{code: cmd.ProcessState.ExitCode(), stdout: stdout.String(), stderr: stderr.String(), took: time.Since(start)}
	if err != nil {
		if err := json.Unmarshal(stdout.Bytes(), &o.err); err != nil {
			n.t.Fatalf("%s: no error that a runtime can read: %q %q", c.command, o.stdout, o.stderr)
		}
	}
	return o
}

// passed wants success, and the result of the plugin before, as it was.
func (n *node) passed(c call) outcome {
	n.t.Helper()
	o := n.run(c)
	if o.code != 0 {
		n.t.Fatalf("%s failed: %+v", c.command, o)
	}
	if c.command == "ADD" {
		if c.version == "" {
			c.version = "1.1.0"
		}
		if got, want := compact(n.t, o.stdout), compact(n.t, c.previous(n.sandbox)); got != want {
			n.t.Errorf("result %s, want %s", got, want)
		}
		if _, err := create.Create(c.version, []byte(o.stdout)); err != nil {
			n.t.Errorf("no result of version %s: %v", c.version, err)
		}
	}
	return o
}

func compact(t *testing.T, text string) string {
	t.Helper()
	var b bytes.Buffer
	if err := json.Compact(&b, []byte(text)); err != nil {
		t.Fatalf("%v: %q", err, text)
	}
	return b.String()
}

// failed wants an error of this code that says this.
func (n *node) failed(c call, code uint, says string) outcome {
	n.t.Helper()
	o := n.run(c)
	if o.code == 0 || o.err.Code != code || !strings.Contains(o.err.Msg, says) {
		n.t.Errorf("%s: %+v, want code %d and %q", c.command, o, code, says)
	}
	return o
}

// captured reports whether the kernel captures an address now.
func (n *node) captured(ip string) bool {
	_, err := netnstest.Try("ipset test ztunnel-pods-ips " + ip)
	route, _ := netnstest.Try("ip route show table 100 " + ip)
	return err == nil && strings.Contains(route, ip)
}
