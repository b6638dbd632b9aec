// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ambient22/ambient22/hack/cluster/host"
	"github.com/ambient22/ambient22/internal/mesh"
)

// damage is something that somebody does to a node by hand.
type damage struct {
	command string
	shows   string // the command that shows it
}

func damages() []damage {
	return []damage{
		{"iptables -t mangle -F ztunnel-PREROUTING", "iptables -t mangle -S ztunnel-PREROUTING"},
		{"iptables -t nat -D PREROUTING -j ztunnel-PREROUTING", "iptables -t nat -S PREROUTING"},
		{"ip rule del priority 101", "ip rule show"},
		{"ip rule del priority 103", "ip rule show"},
		{"ip route flush table 100", "ip route show table 100"},
		{"ipset flush ztunnel-pods-ips", "ipset list ztunnel-pods-ips"},
		{"ip link del istioout", "ip -d address show dev istioout"},
		{"ip link del istioin", "ip -d address show dev istioin"},
		{"ip link set istioin down", "ip -d address show dev istioin"},
	}
}

// traffic runs under everything that is done to the first node in a test.
type traffic struct{ captured, outside *load }

// drive calls the service from pods of the first node, from a captured one and from
// one outside.
func (w *world) drive(t *testing.T, rate int) traffic {
	node := nodes()[0]
	return traffic{
		w.sleep[node].load(t.Context(), "captured", net.JoinHostPort(w.vip, "9080"), rate),
		w.web[node].load(t.Context(), "outside", net.JoinHostPort(w.webVIP, "9080"), rate),
	}
}

// check reports what a span of time cost, and fails where the pods outside lost
// anything or captured ones anything after some time.
func (f traffic) check(t *testing.T, what string, from time.Time, limit time.Duration) {
	t.Helper()
	f.settled(t)
	captured, outside := f.captured.between(from, time.Now()), f.outside.between(from, time.Now())
	last := fmt.Sprintf("%d none lost", len(captured.requests))
	if n := len(captured.failed); n > 0 {
		last = fmt.Sprintf("%d of %d lost, the last begun %d ms after it (%v)", n, len(captured.requests), captured.since(from).Milliseconds(), captured.failed[n-1].err)
	}
	figure(t, "%s; of captured calls %s, %d past the proxies; of %d outside %d lost", what, last, captured.plain, len(outside.requests), len(outside.failed))
	if len(outside.failed) > 0 {
		t.Errorf("pods outside lost %d calls: %v", len(outside.failed), outside.failed[0].err)
	}
	if captured.since(from) > limit {
		t.Errorf("captured pods still lost calls after %v", captured.since(from))
	}
}

// settled waits until requests begun from now on have been answered, for both loads.
func (f traffic) settled(t *testing.T) {
	t.Helper()
	f.captured.settled(t)
	f.outside.settled(t)
}

// testDamage breaks the first node in every way by hand, under traffic.
func (w *world) testDamage(t *testing.T) {
	f := w.drive(t, 50)
	defer f.captured.end()
	defer f.outside.end()
	f.settled(t)
	for _, d := range damages() {
		t.Run(d.command, func(t *testing.T) { w.repaired(t, f, d) })
	}
}

// repaired does the damage and waits until the node shows what it showed before.
func (w *world) repaired(t *testing.T, f traffic, d damage) {
	node := nodes()[0]
	show := func(ctx context.Context) (string, error) {
		out, err := inNetwork(ctx, node, strings.Fields(d.shows)...)
		return withoutNumbers(out), err
	}
	whole, err := show(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	mustInNetwork(t, node, strings.Fields(d.command)...)
	at := time.Now()
	took := await(t, at, []fact{{"back", func(ctx context.Context) (bool, error) {
		now, err := show(ctx)
		return err == nil && now == whole, nil
	}}})
	f.check(t, fmt.Sprintf("%s: repaired after %d ms", d.command, took[0].took.Milliseconds()), at, soon)
	promptly(t, took)
}

// withoutNumbers is a command's output without numbers that a new device has of its own.
func withoutNumbers(text string) string {
	var kept []string
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) == 0 || strings.HasPrefix(fields[0], "link/") || strings.HasPrefix(fields[0], "inet6") || strings.HasPrefix(fields[0], "valid_lft") {
			continue
		}
		if strings.HasSuffix(fields[0], ":") && len(fields) > 2 && strings.HasPrefix(fields[2], "<") {
			fields = fields[1:]
		}
		kept = append(kept, strings.Join(fields, " "))
	}
	return strings.Join(kept, "\n")
}

// testControllerKilled: the data path needs no controller, and the next one takes it
// over as it is.
func (w *world) testControllerKilled(t *testing.T) {
	f := w.drive(t, 50)
	defer f.captured.end()
	defer f.outside.end()
	f.settled(t)
	at := time.Now()
	w.killController(t)
	down := w.await(t, "the next controller", at, w.controllerReady)
	f.check(t, fmt.Sprintf("controller killed (SIGKILL): the next is ready after %.1f s", down.Seconds()), at, 0)
	w.runPod(t, meshed, "newcomer", nodes()[0])
	defer w.removePod(t, meshed, "newcomer")
	await(t, at, w.traces(meshed, w.podNamed(t, meshed, "newcomer")))
}

// killController ends the first node's controller at once.
func (w *world) killController(t *testing.T) {
	t.Helper()
	p := pods(t, mesh.RootNamespace, "ambient-node")[nodes()[0]]
	files, err := filepath.Glob("/proc/[0-9]*/cgroup")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, _ := os.ReadFile(file)
		name, _ := os.ReadFile(filepath.Join(filepath.Dir(file), "comm"))
		if !strings.Contains(string(text), "/pod"+p.Metadata.UID+"/") || strings.TrimSpace(string(name)) != "ambient-node" {
			continue
		}
		var pid int
		if _, err := fmt.Sscan(filepath.Base(filepath.Dir(file)), &pid); err != nil {
			t.Fatal(err)
		}
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Fatal("the controller has no process")
}

// controllerReady asks the first node's controller itself.
func (w *world) controllerReady(ctx context.Context) (bool, error) {
	_, err := fetch(ctx, w.hosts[nodes()[0]].http, "http://127.0.0.1:15014/readyz")
	return err == nil, nil
}

func (w *world) await(t *testing.T, what string, from time.Time, is func(context.Context) (bool, error)) time.Duration {
	t.Helper()
	return await(t, from, []fact{{what, is}})[0].took
}

// testAPIOutage: without the API server everything goes on as it is, damage is
// repaired, and what changed meanwhile is found afterwards.
func (w *world) testAPIOutage(t *testing.T) {
	const outage = 30 * time.Second
	f := w.drive(t, 50)
	defer f.captured.end()
	defer f.outside.end()
	f.settled(t)
	at := time.Now()
	if err := host.StopDaemon(t.Context(), cluster(), "control", "kube-apiserver"); err != nil {
		t.Fatal(err)
	}
	again := sync.OnceValue(func() error { return host.StartDaemon(cluster(), "control", "kube-apiserver") })
	t.Cleanup(func() {
		if err := again(); err != nil {
			t.Error(err)
		}
	})
	t.Run("damage", func(t *testing.T) { w.repaired(t, f, damages()[0]) })
	eventually(t, "the outage's end", func() error {
		if left := time.Until(at.Add(outage)); left > 0 {
			return errors.New("it lasts " + left.String() + " more")
		}
		return nil
	})
	f.check(t, fmt.Sprintf("API server stopped for %.0f s", time.Since(at).Seconds()), at, soon)
	if err := again(); err != nil {
		t.Fatal(err)
	}
	back := time.Now()
	eventually(t, "the API server", func() error {
		_, err := kubectl(t.Context(), "", "get", "--raw", "/readyz")
		return err
	})
	// That the controllers follow it again shows in the next change.
	p := w.sleep[nodes()[0]]
	if err := w.api.label(t.Context(), meshed, p.Metadata.Name, map[string]any{mesh.LabelAmbientType: "none"}); err != nil {
		t.Fatal(err)
	}
	took := await(t, back, gone(w.traces(meshed, p.pod)))
	figure(t, "API server back: a pod that opted out then was let go %.1f s after its start", took.slowest().Seconds())
	if err := w.api.label(t.Context(), meshed, p.Metadata.Name, map[string]any{mesh.LabelAmbientType: nil}); err != nil {
		t.Fatal(err)
	}
	w.enrol(t)
	w.wakeOthers(t)
}

// wakeOthers restarts what else follows the API server: after such an outage it would
// look again only within a minute, and the next tests would wait for it.
func (w *world) wakeOthers(t *testing.T) {
	t.Helper()
	restart := func(name string, daemons ...string) {
		for _, daemon := range daemons {
			err := host.StopDaemon(t.Context(), cluster(), name, daemon)
			if err == nil {
				err = host.StartDaemon(cluster(), name, daemon)
			}
			if err != nil {
				t.Error(err)
			}
		}
	}
	restart("control", "kube-controller-manager", "kube-scheduler")
	for _, node := range nodes() {
		restart(node, "kubelet") // kube-proxy would print its rules in another order
	}
}
