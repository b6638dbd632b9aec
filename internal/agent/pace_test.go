// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ambient22/ambient22/envoyconfig"
)

const (
	testDelay    = 5 * time.Millisecond
	testInterval = 100 * time.Millisecond
)

// paced runs f with an agent that has taken its first snapshot, in a time that
// only passes while everybody waits.
func paced(t *testing.T, refuse func(string) error, f func(t *testing.T, r *running)) {
	synctest.Test(t, func(t *testing.T) {
		r := startPaced(t, refuse, testDelay, testInterval)
		r.snapshot <- snapshot("10.4.4.18", "10.4.4.19")
		r.want("serve 2 secrets", "preflight", "apply 10.4.4.18 with [10.4.4.19]")
		f(t, r)
		r.stop()
		if err := <-r.done; err != nil {
			t.Error(err)
		}
	})
}

// wantAfter waits for calls and checks how long that took.
func (r *running) wantAfter(wait time.Duration, calls ...string) {
	r.t.Helper()
	start := time.Now()
	r.want(calls...)
	if took := time.Since(start); took != wait {
		r.t.Fatalf("%q came after %v, want %v", calls, took, wait)
	}
}

// letPass lets the test's own time go on.
func letPass(d time.Duration) { <-time.After(d) }

func TestTheFirstChangeAfterQuietIsServedAtOnce(t *testing.T) {
	paced(t, nil, func(t *testing.T, r *running) {
		for range 3 {
			letPass(time.Second) // quiet
			r.snapshot <- snapshot("10.4.4.18", "10.4.4.19", "10.4.4.20")
			r.wantAfter(testDelay, "serve 3 secrets", "add [10.4.4.20] remove []")
			letPass(time.Second)
			r.snapshot <- snapshot("10.4.4.18", "10.4.4.19")
			r.wantAfter(testDelay, "add [] remove [10.4.4.20]", "serve 2 secrets")
		}
	})
}

// A second of changes, one every ten milliseconds, is served eleven times: once after
// the delay, then once per interval, with what came last.
func TestABurstIsServedOncePerInterval(t *testing.T) {
	paced(t, nil, func(t *testing.T, r *running) {
		letPass(time.Second)
		start, pods := time.Now(), []string{"10.4.4.19"}
		go func() {
			for i := range 100 {
				pods = append(pods, fmt.Sprintf("10.4.5.%d", 1+i))
				r.snapshot <- snapshot("10.4.4.18", pods...)
				letPass(10 * time.Millisecond)
			}
		}()
		for i := range 11 {
			if serve := <-r.calls; !strings.HasPrefix(serve, "serve") {
				t.Fatalf("called %q", serve)
			}
			if at, want := time.Since(start), testDelay+time.Duration(i)*testInterval; at != want {
				t.Errorf("push %d came after %v, want %v", i, at, want)
			}
			if add := <-r.calls; !strings.HasPrefix(add, "add") || time.Since(start) != testDelay+time.Duration(i)*testInterval {
				t.Errorf("after push %d: %q at %v", i, add, time.Since(start))
			}
		}
		letPass(time.Minute)
		if len(r.calls) > 0 {
			t.Errorf("called %q", <-r.calls)
		}
		for name, want := range map[string]float64{
			"ambient_node_snapshots_total":           101,
			"ambient_node_snapshots_coalesced_total": 89, // all but the first and the eleven
			"ambient_node_build_seconds":             12,
		} {
			if got := gauge(t, r.registry, name); got != want {
				t.Errorf("%s is %v, want %v", name, got, want)
			}
		}
	})
}

// A pod that is let go does not wait for the push, and the ztunnel forgets it
// only with that.
func TestReleasesDoNotWaitForThePush(t *testing.T) {
	paced(t, nil, func(t *testing.T, r *running) {
		r.snapshot <- snapshot("10.4.4.18")
		r.wantAfter(testDelay, "add [] remove [10.4.4.19]")
		r.snapshot <- snapshot("10.4.4.18", "10.4.4.20")
		r.wantAfter(testInterval-testDelay, "serve 2 secrets", "add [10.4.4.20] remove []")
	})
}

// Once a pod of a burst was let go, another one is before the burst is served.
func TestReleasesWithinABurst(t *testing.T) {
	paced(t, nil, func(t *testing.T, r *running) {
		letPass(time.Second)
		r.snapshot <- snapshot("10.4.4.18", "10.4.4.19", "10.4.4.20")
		r.want("serve 3 secrets", "add [10.4.4.20] remove []")
		r.snapshot <- snapshot("10.4.4.18", "10.4.4.19")
		r.wantAfter(testDelay, "add [] remove [10.4.4.20]")
		r.snapshot <- snapshot("10.4.4.18")
		r.wantAfter(testDelay, "add [] remove [10.4.4.19]")
		r.wantAfter(testInterval-2*testDelay, "serve 0 secrets")
	})
}

// A pod that could not be let go early is by the comparison of the whole node
// that comes with the push.
func TestAReleaseThatFailsIsRepaired(t *testing.T) {
	refuse := func(call string) error {
		if strings.Contains(call, "remove [10") {
			return errors.New("no")
		}
		return nil
	}
	paced(t, refuse, func(t *testing.T, r *running) {
		r.snapshot <- snapshot("10.4.4.18")
		r.wantAfter(testDelay, "add [] remove [10.4.4.19]")
		r.wantAfter(testInterval-testDelay, "serve 0 secrets", "preflight", "apply 10.4.4.18 with []")
	})
}

// Sets that the server refuses are not built more often than others.
func TestRefusedSetsKeepTheInterval(t *testing.T) {
	refuse := func(call string) error {
		if call == "serve 3 secrets" {
			return errors.New("no")
		}
		return nil
	}
	paced(t, refuse, func(t *testing.T, r *running) {
		letPass(time.Second)
		r.snapshot <- snapshot("10.4.4.18", "10.4.4.19", "10.4.4.20")
		r.wantAfter(testDelay, "serve 3 secrets")
		r.snapshot <- snapshot("10.4.4.18", "10.4.4.19", "10.4.4.21")
		r.wantAfter(testInterval, "serve 3 secrets")
		r.snapshot <- snapshot("10.4.4.18", "10.4.4.21")
		r.wantAfter(testDelay, "add [] remove [10.4.4.19]")
		r.wantAfter(testInterval-testDelay, "serve 2 secrets", "add [10.4.4.21] remove []")
	})
}

// A comparison that falls due while a change waits is made together with it.
func TestAComparisonWaitsForTheChange(t *testing.T) {
	paced(t, nil, func(t *testing.T, r *running) {
		letPass(time.Hour - testDelay - testInterval/2) // the agent is delay old
		r.snapshot <- snapshot("10.4.4.18", "10.4.4.19", "10.4.4.20")
		r.wantAfter(testDelay, "serve 3 secrets", "add [10.4.4.20] remove []")
		r.snapshot <- snapshot("10.4.4.18", "10.4.4.19", "10.4.4.20", "10.4.4.21")
		r.wantAfter(testInterval, "serve 4 secrets", "apply 10.4.4.18 with [10.4.4.19 10.4.4.20 10.4.4.21]")
	})
}

// What is not pushed is no reason to wait: after a comparison of the node the
// next change is served at once.
func TestAComparisonIsNoPush(t *testing.T) {
	paced(t, nil, func(t *testing.T, r *running) {
		r.want("apply 10.4.4.18 with [10.4.4.19]") // the hourly one
		r.snapshot <- snapshot("10.4.4.18", "10.4.4.19", "10.4.4.20")
		r.wantAfter(testDelay, "serve 3 secrets", "add [10.4.4.20] remove []")
	})
}

func TestHardenedNodes(t *testing.T) {
	for profile, want := range map[envoyconfig.Profile]bool{envoyconfig.Article: false, envoyconfig.Hardened: true} {
		r := &recorder{calls: make(chan string, 10)}
		a := New(Config{
			NodeName: "node-a", Form: envoyconfig.Options{Profile: profile}, Node: r, XDS: r,
			Log: slog.New(slog.DiscardHandler), Metrics: NewMetrics(prometheus.NewRegistry()),
		})
		var p pass
		if s := a.sync(t.Context(), snapshot("10.4.4.18", "10.4.4.19"), &p); s.Err != nil {
			t.Fatal(s.Err)
		}
		if got := p.node.config.Hardened; got != want {
			t.Errorf("%v: hardened %v, want %v", profile, got, want)
		}
	}
}

// Only what differs from what was served before counts as rebuilt.
func TestCountsWhatWasRebuilt(t *testing.T) {
	a, b, c := &envoyconfig.Resource{Name: "a"}, &envoyconfig.Resource{Name: "b"}, &envoyconfig.Resource{Name: "c"}
	other := &envoyconfig.Resource{Name: "b"}
	for _, step := range []struct {
		old, now []*envoyconfig.Resource
		want     int
	}{
		{nil, []*envoyconfig.Resource{a, b}, 2},
		{[]*envoyconfig.Resource{a, b}, []*envoyconfig.Resource{a, b}, 0},
		{[]*envoyconfig.Resource{a, b}, []*envoyconfig.Resource{a, other, c}, 2},
		{[]*envoyconfig.Resource{a, b, c}, []*envoyconfig.Resource{c}, 0},
		{[]*envoyconfig.Resource{b, c}, []*envoyconfig.Resource{a, b}, 1},
	} {
		if got := countNew(step.old, step.now); got != step.want {
			t.Errorf("%v after %v: %d new, want %d", names(step.now), names(step.old), got, step.want)
		}
	}
}

func names(list []*envoyconfig.Resource) (all []string) {
	for _, r := range list {
		all = append(all, r.Name)
	}
	return all
}
