// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/ambient22/ambient22/envoyconfig"
	"github.com/ambient22/ambient22/internal/mesh"
	"github.com/ambient22/ambient22/noderoute"
)

// recorder takes the place of the node and of the xDS server and hands every
// call to the test in the order in which it was made.
type recorder struct {
	calls   chan string
	refuse  func(call string) error
	leftOut netip.Addr // a pod that can't take part
	changed chan noderoute.Kinds
	hears   atomic.Bool // whether what is told is a call

	mu        sync.Mutex
	connected bool          // a proxy is
	proxies   chan struct{} // closed when that changes
}

func (r *recorder) call(format string, args ...any) error {
	name := fmt.Sprintf(format, args...)
	var err error
	if r.refuse != nil {
		err = r.refuse(name)
	}
	r.calls <- name
	return err
}

func (r *recorder) Preflight(context.Context, noderoute.HostConfig) ([]noderoute.Problem, error) {
	if err := r.call("preflight"); err != nil {
		passing := errors.Is(err, noderoute.ErrNoRoute)
		return []noderoute.Problem{{What: err.Error(), Where: "here", WayOut: "mend it", Blocking: true, Passing: passing}}, nil
	}
	return nil, nil
}

func (r *recorder) Apply(_ context.Context, c noderoute.HostConfig) (noderoute.Result, error) {
	return r.without(c.Pods), r.call("apply %s with %s", c.ZtunnelIP, ips(c.Pods))
}

func (r *recorder) UpdatePods(_ context.Context, _ noderoute.HostConfig, add, remove []noderoute.Pod) (noderoute.Result, error) {
	return r.without(add), r.call("add %s remove %s", ips(add), ips(remove))
}

// without is the result of a call that leaves out one of the pods.
func (r *recorder) without(pods []noderoute.Pod) (result noderoute.Result) {
	for _, pod := range pods {
		if pod.IP == r.leftOut {
			result.Refused = append(result.Refused, &noderoute.PodError{Pod: pod, Err: noderoute.ErrNoRoute})
		}
	}
	return result
}

func (r *recorder) Cleanup(context.Context) (noderoute.Result, error) {
	return noderoute.Result{}, r.call("clean up")
}

func (r *recorder) Repair(_ context.Context, c noderoute.HostConfig, kinds noderoute.Kinds) (noderoute.Result, error) {
	return r.without(c.Pods), r.call("repair %s with %s", kinds, ips(c.Pods))
}

// Watch tells what the test says has changed.
func (r *recorder) Watch(ctx context.Context, changed func(noderoute.Kinds)) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case kinds := <-r.changed:
			changed(kinds)
		}
	}
}

func (r *recorder) Set(resources *envoyconfig.Resources) error {
	return r.call("serve %d secrets", len(resources.Secrets))
}

func (r *recorder) Forget() bool {
	if connected, _ := r.Proxies(); connected {
		return false
	}
	return r.call("forget") == nil
}

func (r *recorder) Proxies() (bool, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.proxies == nil {
		r.proxies = make(chan struct{})
	}
	return r.connected, r.proxies
}

// connect has a proxy connect, or leave.
func (r *recorder) connect(connected bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.connected = connected
	if r.proxies != nil {
		close(r.proxies)
	}
	r.proxies = make(chan struct{})
}

func ips(pods []noderoute.Pod) string {
	var all []string
	for _, pod := range pods {
		all = append(all, pod.IP.String())
	}
	slices.Sort(all)
	return "[" + strings.Join(all, " ") + "]"
}

// snapshot is node-a with a ztunnel and captured pods at these addresses.
func snapshot(ztunnel string, pods ...string) *mesh.Snapshot {
	s := &mesh.Snapshot{
		TrustDomain: mesh.DefaultTrustDomain,
		Nodes:       []mesh.Node{{Name: "node-a", InternalIP: netip.MustParseAddr("10.168.15.222"), PodCIDR: netip.MustParsePrefix("10.4.4.0/24")}},
	}
	if ztunnel != "" {
		s.Workloads = append(s.Workloads, mesh.Workload{
			UID: "z", Namespace: "istio-system", Name: "ztunnel-" + ztunnel, ServiceAccount: "ztunnel", Node: "node-a",
			IP: netip.MustParseAddr(ztunnel), Ready: true, Class: mesh.Ztunnel, NotEnrolled: "it is a ztunnel",
		})
	}
	for _, ip := range pods {
		s.Workloads = append(s.Workloads, mesh.Workload{
			UID: "pod-" + ip, Namespace: "default", Name: "pod-" + ip, ServiceAccount: "sleep", Node: "node-a",
			IP: netip.MustParseAddr(ip), Ready: true, Class: mesh.InMesh,
		})
	}
	s.Sort()
	return s
}

// running is an agent in a test: what it is given, and what it calls.
type running struct {
	*recorder
	t        *testing.T
	agent    *Agent
	snapshot chan any // *mesh.Snapshot or error
	registry *prometheus.Registry
	stop     context.CancelFunc
	done     chan error
}

func start(t *testing.T, refuse func(string) error) *running {
	t.Helper()
	return startPaced(t, refuse, 0, 0)
}

// startPaced starts an agent that waits between pushes.
func startPaced(t *testing.T, refuse func(string) error, delay, interval time.Duration) *running {
	t.Helper()
	registry := prometheus.NewRegistry()
	r := &running{
		recorder: &recorder{calls: make(chan string, 100), refuse: refuse, changed: make(chan noderoute.Kinds)}, t: t,
		snapshot: make(chan any), done: make(chan error, 1), registry: registry,
	}
	r.agent = New(Config{
		NodeName: "node-a", Resync: time.Hour, Node: r, XDS: r, PushDelay: delay, PushInterval: interval, Outcome: r.outcome,
		Log: slog.New(slog.DiscardHandler), Metrics: NewMetrics(registry),
		Source: func(ctx context.Context, deliver func(*mesh.Snapshot, error)) error {
			for {
				select {
				case <-ctx.Done():
					return nil
				case found := <-r.snapshot:
					if err, broken := found.(error); broken {
						deliver(nil, err)
					} else {
						deliver(found.(*mesh.Snapshot), nil)
					}
				}
			}
		},
	})
	ctx, stop := context.WithCancel(t.Context())
	r.stop = stop
	go func() { r.done <- r.agent.Run(ctx) }()
	t.Cleanup(stop)
	return r
}

// want waits for these calls, in this order.
func (r *running) want(calls ...string) {
	r.t.Helper()
	var got []string
	for range calls {
		select {
		case call := <-r.calls:
			got = append(got, call)
		case err := <-r.done:
			r.t.Fatalf("the agent ended after %q: %v", got, err)
		}
	}
	if diff := cmp.Diff(calls, got); diff != "" {
		r.t.Fatalf("calls (-want +got):\n%s", diff)
	}
}

func TestServesBeforeItCaptures(t *testing.T) {
	r := start(t, nil)
	r.snapshot <- snapshot("10.4.4.18", "10.4.4.19")
	r.want("serve 2 secrets", "preflight", "apply 10.4.4.18 with [10.4.4.19]")
	r.stop()
	if err := <-r.done; err != nil {
		t.Errorf("a clean stop returned %v", err)
	}
	if len(r.calls) > 0 {
		t.Errorf("stopping touched the node: %s", <-r.calls)
	}
}

func TestHandlesOnlyThePodsThatChanged(t *testing.T) {
	r := start(t, nil)
	r.snapshot <- snapshot("10.4.4.18", "10.4.4.19", "10.4.4.20")
	r.want("serve 3 secrets", "preflight", "apply 10.4.4.18 with [10.4.4.19 10.4.4.20]")
	r.snapshot <- snapshot("10.4.4.18", "10.4.4.20", "10.4.4.21")
	// 10.4.4.19 is released before the ztunnel forgets it, 10.4.4.21 captured
	// after the ztunnel knows it.
	r.want("add [] remove [10.4.4.19]", "serve 3 secrets", "add [10.4.4.21] remove []")
}

func TestMovesToAnotherZtunnelInPlace(t *testing.T) {
	r := start(t, nil)
	r.snapshot <- snapshot("10.4.4.18", "10.4.4.19")
	r.want("serve 2 secrets", "preflight", "apply 10.4.4.18 with [10.4.4.19]")
	r.snapshot <- snapshot("10.4.4.28", "10.4.4.19")
	r.want("serve 2 secrets", "apply 10.4.4.28 with [10.4.4.19]")
}

func TestWithoutZtunnelPodsTalkPlainly(t *testing.T) {
	r := start(t, nil)
	r.snapshot <- snapshot("10.4.4.18", "10.4.4.19")
	r.want("serve 2 secrets", "preflight", "apply 10.4.4.18 with [10.4.4.19]")
	r.snapshot <- snapshot("", "10.4.4.19")
	r.want("forget", "clean up")
	r.snapshot <- snapshot("10.4.4.18", "10.4.4.19")
	r.want("serve 2 secrets", "preflight", "apply 10.4.4.18 with [10.4.4.19]")
}

func TestABrokenSourceAtTheStartIsFatal(t *testing.T) {
	r := start(t, nil)
	broken := errors.New("pods.yaml: not YAML")
	r.snapshot <- broken
	if err := <-r.done; !errors.Is(err, broken) {
		t.Errorf("Run returned %v, want %v", err, broken)
	}
}

func TestABrokenChangeLeavesWhatRuns(t *testing.T) {
	r := start(t, nil)
	r.snapshot <- snapshot("10.4.4.18", "10.4.4.19")
	r.want("serve 2 secrets", "preflight", "apply 10.4.4.18 with [10.4.4.19]")
	r.snapshot <- errors.New("pods.yaml: not YAML")
	r.snapshot <- snapshot("10.4.4.18")
	r.want("add [] remove [10.4.4.19]", "serve 0 secrets")
}

func TestANodeThatCannotCarryThePathIsFatal(t *testing.T) {
	r := start(t, func(call string) error {
		if call == "preflight" {
			return errors.New("no TPROXY")
		}
		return nil
	})
	r.snapshot <- snapshot("10.4.4.18", "10.4.4.19")
	err := <-r.done
	if err == nil || !strings.Contains(err.Error(), "no TPROXY") || !strings.Contains(err.Error(), "mend it") {
		t.Errorf("Run returned %v; it should name the problem and the way out", err)
	}
}

// A node that starts again is told of the ztunnel that it had before, for a while.
func TestWaitsForAZtunnelThatIsNotThereYet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		attempts := 0
		r := start(t, func(call string) error {
			if call != "preflight" {
				return nil
			}
			if attempts++; attempts > 2 {
				return nil
			}
			return noderoute.ErrNoRoute
		})
		r.hear()
		r.snapshot <- snapshot("10.4.4.18", "10.4.4.19")
		r.want("serve 2 secrets", "preflight")
		if told := <-r.calls; !strings.Contains(told, noderoute.ErrNoRoute.Error()) {
			t.Errorf("told %q, want the reason why nothing is captured", told)
		}
		r.want("preflight", "preflight", "apply 10.4.4.18 with [10.4.4.19]", "tell pod-10.4.4.19")
		r.stop()
		if err := <-r.done; err != nil {
			t.Error(err)
		}
	})
}

func TestRefusedResourcesLeaveTheNodeAlone(t *testing.T) {
	first := true
	r := start(t, func(call string) error {
		if strings.HasPrefix(call, "serve 3") && first {
			first = false
			return errors.New("refused")
		}
		return nil
	})
	r.snapshot <- snapshot("10.4.4.18", "10.4.4.19")
	r.want("serve 2 secrets", "preflight", "apply 10.4.4.18 with [10.4.4.19]")
	r.snapshot <- snapshot("10.4.4.18", "10.4.4.19", "10.4.4.20")
	r.want("serve 3 secrets", "serve 3 secrets", "apply 10.4.4.18 with [10.4.4.19 10.4.4.20]")
}

func TestLooksAgainForAPodThatCouldNotTakePart(t *testing.T) {
	r := start(t, nil)
	r.leftOut = netip.MustParseAddr("10.4.4.19")
	r.snapshot <- snapshot("10.4.4.18", "10.4.4.19")
	r.want("serve 2 secrets", "preflight", "apply 10.4.4.18 with [10.4.4.19]", "apply 10.4.4.18 with [10.4.4.19]")
}

// A pod that can't take part is named once, however often the node is compared,
// again when it came back, and is not counted as enrolled.
func TestNamesAPodThatIsLeftOutOnce(t *testing.T) {
	var logs strings.Builder
	registry := prometheus.NewRegistry()
	r := &recorder{calls: make(chan string, 100), leftOut: netip.MustParseAddr("10.4.4.20")}
	a := New(Config{
		NodeName: "node-a", Node: r, XDS: r,
		Log: slog.New(slog.NewTextHandler(&logs, nil)), Metrics: NewMetrics(registry),
	})
	var p pass
	for _, step := range []struct {
		pods            []string
		named, enrolled int
	}{
		{[]string{"10.4.4.19", "10.4.4.20"}, 1, 1},
		{[]string{"10.4.4.19", "10.4.4.20"}, 1, 1},
		{[]string{"10.4.4.19"}, 1, 1},
		{[]string{"10.4.4.19", "10.4.4.20"}, 2, 1},
		{[]string{"10.4.4.19", "10.4.4.20", "10.4.4.21"}, 2, 2},
	} {
		for _, p.check = range []bool{false, true} {
			if s := a.sync(t.Context(), snapshot("10.4.4.18", step.pods...), &p); s.Err != nil {
				t.Fatal(s.Err)
			}
			if named := strings.Count(logs.String(), `"a pod is not captured" pod=default/pod-10.4.4.20 ip=10.4.4.20`); named != step.named {
				t.Errorf("with %v: named %d times, want %d", step.pods, named, step.named)
			}
			if enrolled := gauge(t, registry, "ambient_node_enrolled_pods"); enrolled != float64(step.enrolled) {
				t.Errorf("with %v: %v enrolled, want %d", step.pods, enrolled, step.enrolled)
			}
		}
	}
}

// gauge reads one number, of a gauge or a counter, or how often a histogram was fed.
func gauge(t *testing.T, g prometheus.Gatherer, name string) float64 {
	t.Helper()
	families, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			m := f.GetMetric()[0]
			return m.GetGauge().GetValue() + m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}

// The socket lies beside the lock, and users who may speak to it must get there.
func TestTheStateDirectoryCanBeEntered(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	release, err := Lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	for name, want := range map[string]fs.FileMode{"": 0o755, "lock": 0o600} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%q: %v, %v; want %v", name, info.Mode(), err, want)
		}
	}
}
