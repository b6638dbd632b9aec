// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ambient22/ambient22/hack/cluster/host"
	"github.com/ambient22/ambient22/internal/lab/app"
	"github.com/ambient22/ambient22/internal/lab/evidence"
	"github.com/ambient22/ambient22/internal/mesh"
)

// tunnelPort is where mesh traffic goes between nodes.
const tunnelPort = 15008

// testCapture labels a namespace and holds every way of calling against what the
// proxies and the link between the nodes show of it.
func (w *world) testCapture(t *testing.T) {
	figure(t, "namespace labelled: %d pods on %d nodes captured: %v", len(w.captured(nodes()...)), len(nodes()), w.enrol(t))
	t.Run("calls", w.testCalls)
	t.Run("datagrams", w.testDatagrams)
	t.Run("pods outside", w.testOutside)
	t.Run("pods on the host's network", w.testHostNetwork)
}

// call is a request that a captured pod made, and what the proxies are to say of it.
type call struct {
	node string // of the caller
	to   string // what it called
	by   string // address and port of the pod that answered
	from string // the caller's address and port
}

// testCalls calls the ClusterIP until both pods have answered, and each pod's own
// address, from each node.
func (w *world) testCalls(t *testing.T) {
	tap, err := evidence.OpenTap(host.Namespace(cluster(), "control"), nodes()[0])
	if err != nil {
		t.Fatal(err)
	}
	defer tap.Close()
	var calls []call
	for _, node := range nodes() {
		calls = append(calls, w.callVIP(t, node)...)
		for _, to := range nodes() {
			calls = append(calls, w.callFrom(t, node, w.productpage[to].address()))
		}
	}
	frames, err := tap.Drain()
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "what the proxies say of the calls", func() error {
		logs := map[string]string{}
		for node, z := range w.ztunnel {
			logs[node] = must(t, "-n", mesh.RootNamespace, "logs", z.Metadata.Name, "-c", "ztunnel")
		}
		for _, c := range calls {
			if err := c.proved(w, logs); err != nil {
				return err
			}
		}
		return nil
	})
	figure(t, "%d calls from pods on 2 nodes to a ClusterIP and to pods, on the other and the same node: all answered, each a CONNECT in the logs of both its proxies", len(calls))
	w.checkLink(t, frames)
}

func (w *world) callVIP(t *testing.T, node string) []call {
	missing := map[string]bool{}
	for _, p := range w.productpage {
		missing[p.Status.PodIP] = true
	}
	var calls []call
	eventually(t, "both pods behind the service to answer", func() error {
		c := w.callFrom(t, node, net.JoinHostPort(w.vip, "9080"))
		calls = append(calls, c)
		if delete(missing, hostOf(c.by)); len(missing) > 0 {
			return fmt.Errorf("these have not: %v", missing)
		}
		return nil
	})
	return calls
}

// callFrom makes one call from a captured pod. Its server sees the ztunnel of the
// caller's node, which opened the tunnel.
func (w *world) callFrom(t *testing.T, node, to string) call {
	t.Helper()
	a, err := w.sleep[node].page(t.Context(), to)
	if err != nil {
		t.Fatalf("from %s to %s: %v", node, to, err)
	}
	by, from, err := seen(a.body)
	if err != nil {
		t.Fatal(err)
	}
	c := call{node: node, to: to, from: a.local}
	for _, p := range w.productpage {
		if p.Metadata.Name == by {
			c.by = p.address()
		}
	}
	if z := w.ztunnel[node].Status.PodIP; hostOf(from) != z {
		t.Errorf("from %s to %s: the server sees %s, not the ztunnel at %s", node, to, from, z)
	}
	return c
}

// proved looks for the call in the logs of the two proxies: captured by one, taken out
// of a tunnel by the other.
func (c *call) proved(w *world, logs map[string]string) error {
	if !slices.ContainsFunc(strings.Split(logs[c.node], "\n"), func(line string) bool {
		return strings.Contains(line, " "+c.from+" ") && strings.Contains(line, "capture outbound") && !strings.Contains(line, "passthrough")
	}) {
		return fmt.Errorf("the ztunnel of %s does not know the connection from %s", c.node, c.from)
	}
	for node, p := range w.productpage {
		if p.address() == c.by && !strings.Contains(logs[node], `"`+c.by+`" "`+c.by+`" virtual_inbound `) {
			return fmt.Errorf("the ztunnel of %s shows no CONNECT for %s", node, c.by)
		}
	}
	return nil
}

// checkLink looks at what passed between the nodes while only captured pods talked:
// of pods nothing but TLS 1.3 to the tunnel's port.
func (w *world) checkLink(t *testing.T, frames [][]byte) {
	between := evidence.ReadWire(frames, tunnelPort, []string{app.Title, "/productpage"})
	for _, text := range between.Plain {
		t.Errorf("%q can be read on the link", text)
	}
	for _, c := range between.Connections {
		if !c.TLS13() {
			t.Errorf("%v: not TLS 1.3: %s", c.Flow, c.Err)
		}
	}
	var fromPods, others int
	for _, flow := range evidence.Peers(frames) {
		isPod := func(ip string) bool { return strings.HasPrefix(ip, "10.4.") }
		switch {
		case flow.To.Port() == tunnelPort || flow.From.Port() == tunnelPort:
			fromPods++
		case isPod(flow.From.Addr().String()) && isPod(flow.To.Addr().String()):
			t.Errorf("a connection between pods that is no tunnel: %v", flow)
		default:
			others++
		}
	}
	if len(between.Connections) == 0 {
		t.Error("no tunnel was opened over the link")
	}
	figure(t, "on the link: %d frames; %d TLS 1.3 connections to port %d, none of pods beside them, no text of the page readable", len(frames), len(between.Connections), tunnelPort)
}

// testDatagrams: questions and answers over UDP pass by the proxies.
func (w *world) testDatagrams(t *testing.T) {
	asked := 0
	for _, node := range nodes() {
		targets := []string{net.JoinHostPort(w.vip, "53")}
		for _, to := range nodes() {
			targets = append(targets, net.JoinHostPort(w.productpage[to].Status.PodIP, "9090"))
		}
		for _, to := range targets {
			a, err := w.sleep[node].ask(t.Context(), to, "productpage.bookinfo?")
			if err != nil {
				t.Errorf("asking %s from %s: %v", to, node, err)
				continue
			}
			if !strings.HasSuffix(a.body, " to "+a.local+": productpage.bookinfo?") {
				t.Errorf("asking %s from %s as %s: %q", to, node, a.local, a.body)
			}
			asked++
		}
	}
	figure(t, "%d UDP questions from captured pods to a ClusterIP and to pods: all answered, and the servers saw the pods' own addresses", asked)
}

// testOutside: pods of a namespace without the label talk as before, to each other and
// to captured pods.
func (w *world) testOutside(t *testing.T) {
	const calls = 10
	for _, node := range nodes() {
		caller := w.web[node]
		before := w.counters(t, node)
		for range calls {
			a, err := caller.page(t.Context(), net.JoinHostPort(w.webVIP, "9080"))
			if err != nil {
				t.Fatal(err)
			}
			if err := w.untouched(t.Context(), node, a.local, w.webVIP); err != nil {
				t.Error(err)
			}
		}
		after := w.counters(t, node)
		theirs := "-A KUBE-SERVICES -d " + w.webVIP + "/32 -p tcp"
		translated, accepted := after.of("nat", theirs)-before.of("nat", theirs), after.of("nat", acceptRule)-before.of("nat", acceptRule)
		if translated != calls {
			t.Errorf("%s: of %d connections kube-proxy's rule took %d", node, calls, translated)
		}
		for _, to := range nodes() {
			if _, err := caller.page(t.Context(), w.productpage[to].address()); err != nil {
				t.Errorf("from %s, outside, to a captured pod on %s: %v", node, to, err)
			}
		}
		figure(t, "%s: %d calls of a pod without the label to a ClusterIP: kube-proxy's rule for it +%d, our ACCEPT +%d, no mark on the connections; it calls captured pods, too", node, calls, translated, accepted)
	}
}

// untouched looks a connection up in the node's table of connections: kube-proxy chose
// the pod, and no mark is on it.
func (w *world) untouched(ctx context.Context, node, local, vip string) error {
	from, port, err := net.SplitHostPort(local)
	if err != nil {
		return err
	}
	out, err := inNetwork(ctx, node, "conntrack", "-L", "-p", "tcp", "--orig-src", from, "--orig-port-src", port, "--orig-dst", vip)
	if err != nil {
		return err
	}
	if !strings.Contains(out, "mark=0 ") {
		return fmt.Errorf("the connection from %s is marked: %s", local, out)
	}
	for _, p := range w.web {
		if strings.Contains(out, " src="+p.Status.PodIP+" dst=") {
			return nil
		}
	}
	return fmt.Errorf("kube-proxy did not translate the connection from %s: %s", local, out)
}

// testHostNetwork: a pod on its node's network is not captured. It calls captured pods
// and is called by them.
func (w *world) testHostNetwork(t *testing.T) {
	for node, p := range w.hosts {
		for _, f := range w.traces(meshed, p.pod) {
			if is, err := f.is(t.Context()); is || err != nil {
				t.Errorf("%s of a pod on the network of %s: %v, %v", f.name, node, is, err)
			}
		}
		for to, captured := range w.productpage {
			if _, err := p.page(t.Context(), captured.address()); err != nil {
				t.Errorf("from the host %s to a captured pod on %s: %v", node, to, err)
			}
		}
		for from, caller := range w.sleep {
			if from == node {
				continue
			}
			if _, err := caller.page(t.Context(), net.JoinHostPort(p.Status.PodIP, "9180")); err != nil {
				t.Errorf("from a captured pod on %s to the host %s: %v", from, node, err)
			}
		}
	}
	figure(t, "%d pods on their nodes' networks: no set entry, route, chain or annotation; they call captured pods of both nodes, and those of the other node call them", len(w.hosts))
	w.ownNode(t)
}

// ownNode prints what becomes of the two ways between a node's own processes and its
// captured pods on which the node's packets carry another address than the one that
// the article's rules skip.
func (w *world) ownNode(t *testing.T) {
	node := nodes()[0]
	quick := *w.sleep[node].http
	quick.Timeout = time.Second
	_, err := fetch(t.Context(), &quick, "http://"+net.JoinHostPort(w.hosts[node].Status.PodIP, "9180")+"/productpage")
	figure(t, "a captured pod calls its own node's address: %s", outcomeOf(err))
	quick = *w.hosts[node].http
	quick.Timeout = time.Second
	const calls = 4
	answered := 0
	for range calls {
		if _, err := fetch(t.Context(), &quick, "http://"+net.JoinHostPort(w.vip, "9080")+"/productpage"); err == nil {
			answered++
		}
	}
	figure(t, "a node's own process calls the ClusterIP of a pod on each node: %d of %d calls answered", answered, calls)
}

func outcomeOf(err error) string {
	if err != nil {
		return "no answer"
	}
	return "answered"
}
