// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"
)

//go:embed testdata/web.yaml
var web string

// the hosts' names are package kube's, which the tests see only from outside.
func nodes() []string { return []string{"node-a", "node-b"} }

func TestNodesAreReady(t *testing.T) {
	list := struct {
		Items []struct {
			Metadata struct{ Name string }
			Spec     struct{ PodCIDR string }
			Status   struct {
				NodeInfo   struct{ KubeletVersion, ContainerRuntimeVersion string }
				Conditions []struct{ Type, Status string }
			}
		}
	}{}
	if err := json.Unmarshal([]byte(must(t, "get", "nodes", "-o", "json")), &list); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, n := range list.Items {
		names = append(names, n.Metadata.Name)
		t.Logf("%s: kubelet %s, %s, pods %s", n.Metadata.Name, n.Status.NodeInfo.KubeletVersion, n.Status.NodeInfo.ContainerRuntimeVersion, n.Spec.PodCIDR)
		if n.Spec.PodCIDR == "" {
			t.Errorf("%s has no pod range", n.Metadata.Name)
		}
		for _, c := range n.Status.Conditions {
			if (c.Status == "True") != (c.Type == "Ready") {
				t.Errorf("%s: %s is %s", n.Metadata.Name, c.Type, c.Status)
			}
		}
	}
	if slices.Sort(names); !slices.Equal(names, nodes()) {
		t.Errorf("got the nodes %v, want %v", names, nodes())
	}
}

// TestPodsAndServices runs a Deployment with a replica on each node, behind a
// ClusterIP, and calls it every way there is.
func TestPodsAndServices(t *testing.T) {
	const ns = "smoke"
	namespace(t, ns)
	if _, err := kubectl(t.Context(), web, "-n", ns, "apply", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	must(t, "-n", ns, "rollout", "status", "deployment/web", "--timeout=90s")
	must(t, "-n", ns, "rollout", "status", "daemonset/caller", "--timeout=90s")
	servers, callers := pods(t, ns, "web"), pods(t, ns, "caller")
	if len(servers) != 2 || len(callers) != 2 {
		t.Fatalf("the pods are not on both nodes: %v, %v", servers, callers)
	}
	vip := must(t, "-n", ns, "get", "service", "web", "-o", "jsonpath={.spec.clusterIP}")
	for _, from := range nodes() {
		for _, to := range nodes() {
			t.Run("pod on "+from+" to pod on "+to, func(t *testing.T) { callPod(t, ns, callers[from], servers[to]) })
		}
		t.Run("pod on "+from+" to ClusterIP", func(t *testing.T) { callService(t, ns, callers[from], vip, servers) })
		t.Run("pod on "+from+" to API server", func(t *testing.T) { reachAPI(t, ns, callers[from]) })
	}
	t.Run("probes", func(t *testing.T) { checkProbes(t, ns) })
	t.Run("kube-proxy removes what is gone", func(t *testing.T) { scaleToNothing(t, ns, vip) })
}

// callPod: the address that the server sees is the caller's own, nobody translated it.
func callPod(t *testing.T, ns string, from, to pod) {
	page, err := get(t.Context(), ns, from.Metadata.Name, "http://"+net.JoinHostPort(to.Status.PodIP, "9080")+"/productpage")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Served by " + to.Metadata.Name, "seen here: " + from.Status.PodIP + ":"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not say %q:\n%s", want, page)
		}
	}
}

// callService calls until both replicas have answered. That a pod is ready and that
// kube-proxy has heard of it are two things, so the first answer may take a moment;
// from then on every call is answered.
func callService(t *testing.T, ns string, from pod, vip string, servers map[string]pod) {
	missing := map[string]bool{}
	for _, s := range servers {
		missing[s.Metadata.Name] = true
	}
	answered := false
	eventually(t, "both replicas to answer", func() error {
		page, err := get(t.Context(), ns, from.Metadata.Name, "http://"+net.JoinHostPort(vip, "9080")+"/productpage")
		if err != nil && answered {
			t.Fatalf("after the first answer: %v", err)
		}
		if err != nil {
			return err
		}
		answered = true
		for name := range missing {
			if strings.Contains(page, "Served by "+name) {
				delete(missing, name)
			}
		}
		if len(missing) > 0 {
			return fmt.Errorf("these have not: %v", missing)
		}
		return nil
	})
}

// reachAPI: the address in the pod's environment leads to the API server, which
// answers that this port speaks TLS.
func reachAPI(t *testing.T, ns string, from pod) {
	address := must(t, "-n", "default", "get", "service", "kubernetes", "-o", "jsonpath={.spec.clusterIP}")
	answer, err := get(t.Context(), ns, from.Metadata.Name, "http://"+address+":443/")
	if err != nil || !strings.Contains(answer, "HTTP request to an HTTPS server") {
		t.Errorf("got %q, %v", answer, err)
	}
}

// checkProbes looks at pods whose kubelet has probed them for a while, by HTTP, TCP
// and command.
func checkProbes(t *testing.T, ns string) {
	const probes = 3 // at least, of each kind: they run once a second
	started := must(t, "-n", ns, "get", "pods", "-l", "app=web", "-o", "jsonpath={.items[*].status.containerStatuses[0].state.running.startedAt}")
	for _, at := range strings.Fields(started) {
		start, err := time.Parse(time.RFC3339, at)
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, "some probes", func() error {
			if age := time.Since(start); age < (probes+1)*time.Second {
				return fmt.Errorf("a container is %v old", age)
			}
			return nil
		})
	}
	for node, p := range pods(t, ns, "web") {
		for _, c := range p.Status.ContainerStatuses {
			if !c.Ready || c.RestartCount > 0 {
				t.Errorf("%s on %s: ready %v, %d restarts", p.Metadata.Name, node, c.Ready, c.RestartCount)
			}
		}
	}
	failed := must(t, "-n", ns, "get", "events", "--field-selector=reason=Unhealthy", "-o", "jsonpath={.items[*].message}")
	if strings.Contains(failed, "Liveness") {
		t.Errorf("liveness probes failed: %s", failed)
	}
}

// scaleToNothing: without endpoints a ClusterIP refuses, on every node.
func scaleToNothing(t *testing.T, ns, vip string) {
	must(t, "-n", ns, "scale", "deployment/web", "--replicas=0")
	eventually(t, "the replicas' end", func() error {
		if left := pods(t, ns, "web"); len(left) > 0 {
			return fmt.Errorf("there are still %v", left)
		}
		return nil
	})
	for node, caller := range pods(t, ns, "caller") {
		eventually(t, "the ClusterIP to refuse on "+node, func() error {
			_, err := get(t.Context(), ns, caller.Metadata.Name, "http://"+net.JoinHostPort(vip, "9080")+"/")
			if err == nil {
				return errors.New("it answers")
			}
			if !strings.Contains(err.Error(), "connection refused") {
				return err
			}
			return nil
		})
	}
}
