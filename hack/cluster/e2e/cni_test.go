// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ambient22/ambient22/internal/cni/plugin"
	"github.com/ambient22/ambient22/internal/mesh"
)

// pluginWait is how long the plugin holds a pod back while no controller answers; the
// chart's default is longer than a test should be. It is more than the controller waits
// for a ztunnel.
const pluginWait = 6 * time.Second

// networkFile is the configuration of the nodes' network.
const networkFile = "/etc/cni/net.d/10-ptp.conflist"

// testCNI shows what the plugin promises. networks are the nodes' configurations as the
// network itself wrote them.
func (w *world) testCNI(t *testing.T, networks map[string]string) {
	t.Cleanup(func() { w.removeCallers(t) })
	t.Run("first requests", w.testFirstRequests)
	t.Run("configuration written again", func(t *testing.T) { w.testWrittenAgain(t, networks) })
	t.Run("away", func(t *testing.T) {
		for _, l := range lacks() {
			t.Run(l.set, func(t *testing.T) {
				t.Parallel() // on a node each
				w.testLack(t, l)
			})
		}
	})
	w.findZtunnels()
}

// testFirstRequests starts pods that make a request as the first thing they do, each
// with an identity that no ztunnel has a certificate for yet.
func (w *world) testFirstRequests(t *testing.T) {
	const each = 4 // on a node
	start := time.Now()
	var all []*caller
	for _, node := range nodes() {
		for n := range each {
			name := fmt.Sprintf("first-%s-%d", node, n)
			w.account(t, name)
			all = append(all, w.start(t, caller{namespace: meshed, name: name, node: node, account: name, to: w.vip}))
		}
	}
	var calls []call
	for _, c := range all {
		calls = append(calls, w.carried(t, c))
	}
	took := time.Since(start)
	w.proveAll(t, start, calls)
	held := w.heldBack(t, start, all)
	figure(t, "%d pods on %d nodes with identities of their own, each with a request as its first act: all answered after %.1f s, each a CONNECT in the logs of both proxies; from ADD to captured, with certificate: %d to %d ms, half within %d ms",
		len(all), len(nodes()), took.Seconds(), held[0].Milliseconds(), held[len(held)-1].Milliseconds(), held[len(held)/2].Milliseconds())
}

// proveAll looks for calls since a moment in the logs of both of their proxies.
func (w *world) proveAll(t *testing.T, since time.Time, calls []call) {
	t.Helper()
	eventually(t, "what the proxies say of the first requests", func() error {
		logs := map[string]string{}
		for node, z := range w.ztunnel {
			logs[node] = logSince(t, since, z.Metadata.Name, "ztunnel")
		}
		served := map[string]int{}
		for _, c := range calls {
			if err := c.proved(w, logs); err != nil {
				return err
			}
			served[c.by]++
		}
		for node, p := range w.productpage {
			connects := strings.Count(logs[node], `"`+p.address()+`" "`+p.address()+`" virtual_inbound `)
			if connects < served[p.address()] {
				return fmt.Errorf("%s answered %d calls, and its ztunnel shows %d CONNECTs", p.Metadata.Name, served[p.address()], connects)
			}
		}
		return nil
	})
}

// heldBack is how long the controllers say that they held each of these pods back, in
// order.
func (w *world) heldBack(t *testing.T, since time.Time, all []*caller) []time.Duration {
	t.Helper()
	byName := map[string]time.Duration{}
	for _, p := range pods(t, mesh.RootNamespace, "ambient-node") {
		text := logSince(t, since, p.Metadata.Name, "ambient-node")
		for _, found := range regexp.MustCompile(`pod=`+meshed+`/(\S+) .* took=(\S+) call=/v1/add captured=true`).FindAllStringSubmatch(text, -1) {
			took, err := time.ParseDuration(found[2])
			if err != nil {
				t.Fatal(err)
			}
			byName[found[1]] = took
		}
	}
	var held []time.Duration
	for _, c := range all {
		took, found := byName[c.name]
		if !found {
			t.Fatalf("no controller says that it captured %s before its start", c.name)
		}
		held = append(held, took)
	}
	slices.Sort(held)
	return held
}

// logSince is what a container of one of our pods logged from a moment on.
func logSince(t *testing.T, since time.Time, pod, container string) string {
	t.Helper()
	return must(t, "-n", mesh.RootNamespace, "logs", pod, "-c", container, "--since-time="+since.UTC().Format(time.RFC3339))
}

// testWrittenAgain does what a network's own program does when it starts again: it
// writes its configuration, and knows of no entry of ours.
func (w *world) testWrittenAgain(t *testing.T, networks map[string]string) {
	const write = `printf %s "$1" >"$0.new" && mv "$0.new" "$0"`
	for _, node := range nodes() {
		whole := readNetwork(t, node)
		if !strings.Contains(whole, plugin.Name) || strings.Contains(networks[node], plugin.Name) {
			t.Fatalf("%s has %q, and before the install %q", node, whole, networks[node])
		}
		if _, err := onHost(t.Context(), node, "sh", "-c", write, networkFile, networks[node]); err != nil {
			t.Fatal(err)
		}
		back := w.await(t, "the entry in "+networkFile, time.Now(), func(ctx context.Context) (bool, error) {
			text, err := onHost(ctx, node, "cat", networkFile)
			return text == whole, err
		})
		figure(t, "%s: %s written again without our entry: as it was after %d ms", node, networkFile, back.Milliseconds())
		if back > soon {
			t.Errorf("it took %v, more than %v", back, soon)
		}
	}
}

// networksOf are the configurations of the nodes' networks.
func networksOf(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, node := range nodes() {
		all[node] = readNetwork(t, node)
	}
	return all
}

func readNetwork(t *testing.T, node string) string {
	t.Helper()
	text, err := onHost(t.Context(), node, "cat", networkFile)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// lack is that a node is without one of our DaemonSets, and what a pod that would be
// captured is told.
type lack struct {
	set, node string
	told      []string
}

func lacks() []lack {
	return []lack{
		{"ztunnel", nodes()[0], []string{"no ztunnel is ready on node " + nodes()[0], "DaemonSet ztunnel in istio-system", "ambient-type=none"}},
		{"ambient-node", nodes()[1], []string{"namespace " + meshed + " takes part", "ambient-node did not answer on", "DaemonSet ambient-node in istio-system", "ambient-cni remove"}},
	}
}

// testLack starts a pod that would be captured and one outside while a node lacks what
// captures pods, and then lets it have that again.
func (w *world) testLack(t *testing.T, l lack) {
	putBack := w.takeOff(t, l.set, l.node)
	start := time.Now()
	refused := w.start(t, caller{namespace: meshed, name: "without-" + l.set, node: l.node, account: "default", to: w.vip})
	outsider := w.start(t, caller{namespace: outside, name: "without-" + l.set, node: l.node, account: "default", to: w.webVIP})
	if a := outsider.answer(t); a.Peer != a.Local {
		t.Errorf("the pod outside called as %s and was seen as %s", a.Local, a.Peer)
	}
	passed := time.Since(start)
	told := refused.refusal(t)
	after := time.Since(start)
	for _, want := range l.told {
		if !strings.Contains(told, want) {
			t.Errorf("the event does not say %q: %s", want, told)
		}
	}
	if p := w.podNamed(t, meshed, refused.name); p.Status.PodIP != "" {
		t.Errorf("the pod that was refused has the address %s", p.Status.PodIP)
	}
	back := time.Now()
	putBack()
	w.carried(t, refused)
	figure(t, "no %s on %s: a pod of the mesh refused after %.1f s, one outside done after %.1f s; %s back: the refused pod's first request carried %.1f s later; its event: %q",
		l.set, l.node, after.Seconds(), passed.Seconds(), l.set, time.Since(back).Seconds(), told)
}

// carried waits for a caller's answer and checks that the server saw the ztunnel of the
// caller's node.
func (w *world) carried(t *testing.T, c *caller) call {
	t.Helper()
	a := c.answer(t)
	z := pods(t, mesh.RootNamespace, "ztunnel")[c.node].Status.PodIP
	if a.Peer == "" || hostOf(a.Peer) != z {
		t.Errorf("the first request of %s: its server saw %q, not the ztunnel at %s", c.name, a.Peer, z)
	}
	by, _, err := seen(a.Body)
	if err != nil {
		t.Fatal(err)
	}
	one := call{node: c.node, to: net.JoinHostPort(c.to, "9080"), from: a.Local}
	for _, p := range w.productpage {
		if p.Metadata.Name == by {
			one.by = p.address()
		}
	}
	return one
}
