// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"context"
	_ "embed"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/ambient22/ambient22/internal/mesh"
)

//go:embed testdata/mesh.yaml
var meshObjects string

// The namespaces of testdata/mesh.yaml: one that asks to take part, and one that
// never does.
const (
	meshed  = "meshed"
	outside = "plain"
)

// world is who talks with whom in the tests of the mesh. The maps' keys are nodes.
type world struct {
	sleep, productpage, web map[string]*inPod
	hosts                   map[string]*inPod // pods on their nodes' networks
	ztunnel                 map[string]*inPod // after the install

	vip, webVIP string // the services' addresses

	api *api
	top *testing.T // the test of them all: what it opens stays open
}

// settle makes the world, or finds it, and waits until all of it is ready and
// kube-proxy knows the services.
func settle(t *testing.T) *world {
	t.Helper()
	if _, err := kubectl(t.Context(), meshObjects, "apply", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // their end need not be waited for
		if _, err := kubectl(context.Background(), "", "delete", "namespace", meshed, outside, "--wait=false"); err != nil {
			t.Error(err)
		}
	})
	for _, set := range []string{"sleep", "productpage", "hostnetwork"} {
		must(t, "-n", meshed, "rollout", "status", "daemonset/"+set, "--timeout=90s")
	}
	must(t, "-n", outside, "rollout", "status", "daemonset/web", "--timeout=90s")
	w := &world{top: t, api: newAPI(t), hosts: entered(t, meshed, "hostnetwork")}
	w.web = entered(t, outside, "web")
	w.sleep, w.productpage = entered(t, meshed, "sleep"), entered(t, meshed, "productpage")
	w.vip = must(t, "-n", meshed, "get", "service", "productpage", "-o", "jsonpath={.spec.clusterIP}")
	w.webVIP = must(t, "-n", outside, "get", "service", "web", "-o", "jsonpath={.spec.clusterIP}")
	for _, node := range nodes() {
		eventually(t, "kube-proxy on "+node, func() error { return w.known(t.Context(), node) })
	}
	return w
}

// known is nil when kube-proxy on a node leads to every pod of the services. A service
// answers when the first does, and what the node shows would still change.
func (w *world) known(ctx context.Context, node string) error {
	for _, vip := range []string{w.vip, w.webVIP} {
		if _, err := w.web[node].page(ctx, net.JoinHostPort(vip, "9080")); err != nil {
			return err
		}
	}
	rules, err := inNetwork(ctx, node, "iptables", "-t", "nat", "-S")
	if err != nil {
		return err
	}
	for _, behind := range []map[string]*inPod{w.productpage, w.web} {
		for _, p := range behind {
			if !strings.Contains(rules, " --to-destination "+p.address()+"\n") {
				return fmt.Errorf("no rule leads to %s", p.address())
			}
		}
	}
	return nil
}

// entered are the pods of an app, one on each node.
func entered(t *testing.T, namespace, app string) map[string]*inPod {
	t.Helper()
	found := map[string]*inPod{}
	for node, p := range pods(t, namespace, app) {
		found[node] = enter(t, p)
	}
	if len(found) != len(nodes()) {
		t.Fatalf("%s runs on %d nodes, not on %d", app, len(found), len(nodes()))
	}
	return found
}

// captured are the pods of the namespace that takes part, of one node or of all.
func (w *world) captured(onNodes ...string) []*inPod {
	var all []*inPod
	for _, node := range onNodes {
		all = append(all, w.sleep[node], w.productpage[node])
	}
	return all
}

// enrol labels the namespace and waits until its pods are captured.
func (w *world) enrol(t *testing.T) times {
	t.Helper()
	var facts []fact
	for _, p := range w.captured(nodes()...) {
		facts = append(facts, w.traces(meshed, p.pod)...)
	}
	if err := w.api.label(t.Context(), meshed, "", ambient(true)); err != nil {
		t.Fatal(err)
	}
	return await(t, time.Now(), merge(facts))
}

// address is where a pod's pages are.
func (i *inPod) address() string { return net.JoinHostPort(i.Status.PodIP, "9080") }

// seen is what the application's page says: who served it, and the caller's address
// as the server saw it.
func seen(page string) (by, from string, err error) {
	found := regexp.MustCompile(`Served by (\S+) at .*\n.*as seen here: ([0-9.:]+)`).FindStringSubmatch(page)
	if found == nil {
		return "", "", fmt.Errorf("no page: %q", page)
	}
	return found[1], found[2], nil
}

// hostOf is the address of "address:port".
func hostOf(endpoint string) string {
	address, _, _ := strings.Cut(endpoint, ":")
	return address
}

// findZtunnels finds the pods that carry the traffic now.
func (w *world) findZtunnels() { w.ztunnel = entered(w.top, mesh.RootNamespace, "ztunnel") }

// lonePod is a pod with the application, on a node.
func lonePod(name, node string) string {
	return `{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "` + name + `"}, "spec": {"nodeName": "` + node + `",
		"terminationGracePeriodSeconds": 1, "containers": [{"name": "app", "image": "ambient22.test/app:cluster", "imagePullPolicy": "Never",
		"args": ["inside", "serve", "--listen=:9080", "--name=` + name + `"],
		"readinessProbe": {"httpGet": {"path": "/health", "port": 9080}, "periodSeconds": 1}}]}}`
}

// runPod makes a pod and waits until it is ready.
func (w *world) runPod(t *testing.T, namespace, name, node string) {
	t.Helper()
	if _, err := kubectl(t.Context(), lonePod(name, node), "-n", namespace, "apply", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	must(t, "-n", namespace, "wait", "pod/"+name, "--for=condition=Ready", "--timeout=60s")
}

func mustParse(t *testing.T, ip string) netip.Addr {
	t.Helper()
	a, err := netip.ParseAddr(ip)
	if err != nil {
		t.Fatal(err)
	}
	return a
}
