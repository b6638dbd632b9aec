// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ambient22/ambient22/internal/mesh"
)

const (
	// drain is how long a ztunnel that ends lets open connections go on; the
	// chart's default is longer than a test should be.
	drain = 6 * time.Second
	// eachNode is how many requests begin on each node in a second, from captured
	// pods and again from pods outside.
	eachNode = 100
	// visitLasts is how long a connection is open that is to survive a drain.
	visitLasts = 3 * time.Second
)

// testRollout replaces all ztunnels under load.
func (w *world) testRollout(t *testing.T) {
	loads := w.loadEverywhere(t)
	visits := w.visitEverywhere(t)
	streams := w.openStreams(t)
	ending := w.followEnds(t)
	for _, l := range loads {
		l.settled(t)
	}
	start := time.Now()
	must(t, "-n", mesh.RootNamespace, "rollout", "restart", "daemonset/ztunnel")
	must(t, "-n", mesh.RootNamespace, "rollout", "status", "daemonset/ztunnel", "--timeout=90s")
	figure(t, "rollout restart of the ztunnels: %.1f s until both new ones are ready", time.Since(start).Seconds())
	eventually(t, "the old ztunnels' end", ending.all)
	figure(t, "and %.1f s until the old ones are gone, with a drain time of %v", time.Since(start).Seconds(), drain)
	for _, l := range loads {
		l.settled(t)
	}
	for _, l := range loads {
		o := l.end()
		figure(t, "%s", o)
		if len(o.failed) > 0 {
			t.Errorf("%s: %d lost: %v after the restart", o.name, len(o.failed), o.since(start))
		}
	}
	w.checkVisits(t, visits, ending)
	w.checkStreams(t, streams, ending)
	w.findZtunnels()
}

// loadEverywhere calls the two services from a captured pod and a pod outside on each
// node.
func (w *world) loadEverywhere(t *testing.T) []*load {
	var all []*load
	for _, node := range nodes() {
		all = append(all,
			w.sleep[node].load(t.Context(), "captured, "+node, net.JoinHostPort(w.vip, "9080"), eachNode),
			w.web[node].load(t.Context(), "outside, "+node, net.JoinHostPort(w.webVIP, "9080"), eachNode))
	}
	t.Cleanup(func() {
		for _, l := range all {
			l.end()
		}
	})
	return all
}

// visits are connections that are opened one after the other and each end by
// themselves within the drain time.
type visits struct {
	stop context.CancelFunc
	done sync.WaitGroup

	mu   sync.Mutex
	made []*stream
	errs []error // of those that could not be opened
}

func (w *world) visitEverywhere(t *testing.T) *visits {
	ctx, stop := context.WithCancel(t.Context())
	v := &visits{stop: stop}
	t.Cleanup(func() { stop(); v.done.Wait() })
	for _, node := range nodes() {
		v.done.Go(func() {
			next := time.NewTicker(200 * time.Millisecond)
			defer next.Stop()
			for {
				select {
				case <-ctx.Done():
					return
				case <-next.C:
					v.done.Go(func() { v.one(t.Context(), w.sleep[node], net.JoinHostPort(w.vip, "9090")) })
				}
			}
		})
	}
	return v
}

func (v *visits) one(ctx context.Context, from *inPod, address string) {
	s, err := from.stream(ctx, address)
	if err == nil {
		select {
		case <-s.ended:
		case <-time.After(visitLasts):
		}
		_ = s.end() // is asked again of each
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if err != nil {
		v.errs = append(v.errs, err)
		return
	}
	v.made = append(v.made, s)
}

func (w *world) checkVisits(t *testing.T, v *visits, ending *ends) {
	v.stop()
	v.done.Wait()
	lost := 0
	for _, s := range v.made {
		err := s.end()
		if err == nil {
			continue
		}
		if lost++; !ending.excuse(nodes(), s.at) {
			t.Errorf("a connection of %v was lost %v while no ztunnel had been ending for longer than the drain time: %v", visitLasts, ending.after(s.at), err)
		}
	}
	for _, err := range v.errs {
		t.Errorf("a connection could not be opened: %v", err)
	}
	figure(t, "captured, connections that are open for %v: %d, %d lost, %d not opened", visitLasts, len(v.made), lost, len(v.errs))
}

// long is a connection that is open all the time, and the nodes whose ztunnels carry
// it: none for one outside.
type long struct {
	*stream
	nodes []string
}

// openStreams opens connections from each node to each node, from captured pods and
// from pods outside.
func (w *world) openStreams(t *testing.T) []long {
	t.Helper()
	const each = 3
	var all []long
	open := func(from *inPod, to string, nodes ...string) {
		for range each {
			s, err := from.stream(t.Context(), to)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { s.end() })
			all = append(all, long{s, nodes})
		}
	}
	for _, from := range nodes() {
		for _, to := range nodes() {
			open(w.sleep[from], net.JoinHostPort(w.productpage[to].Status.PodIP, "9090"), from, to)
			open(w.web[from], net.JoinHostPort(w.web[to].Status.PodIP, "9090"))
		}
	}
	return all
}

// checkStreams: a connection may be lost only where a ztunnel that carries it had been
// ending for longer than the drain time.
func (w *world) checkStreams(t *testing.T, streams []long, ending *ends) {
	captured, outsiders, lost, early := 0, 0, 0, 0
	for _, s := range streams {
		err := s.end()
		if len(s.nodes) == 0 {
			if outsiders++; err != nil {
				t.Errorf("a connection outside was lost: %v", err)
			}
			continue
		}
		if captured++; err == nil {
			continue
		}
		lost++
		if !ending.excuse(s.nodes, s.at) {
			early++
			t.Errorf("a connection over %v was lost %v while none of its ztunnels had been ending for longer than the drain time: %v", s.nodes, ending.after(s.at), err)
		}
	}
	figure(t, "connections open all the time: %d captured, %d lost, %d of them before the drain time was over; %d outside, 0 lost", captured, lost, early, outsiders)
}

// ends says when each of the ztunnels began to end, and which are gone.
type ends struct {
	mu    sync.Mutex
	began map[string]time.Time // by node
	gone  map[string]bool
}

// followEnds watches the ztunnels that are there now.
func (w *world) followEnds(t *testing.T) *ends {
	t.Helper()
	e := &ends{began: map[string]time.Time{}, gone: map[string]bool{}}
	watching, err := w.api.CoreV1().Pods(mesh.RootNamespace).Watch(t.Context(), metav1.ListOptions{LabelSelector: "app=ztunnel"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(watching.Stop)
	names := map[string]bool{}
	for _, z := range w.ztunnel {
		names[z.Metadata.Name] = true
	}
	go func() {
		for change := range watching.ResultChan() {
			p, ok := change.Object.(*corev1.Pod)
			if !ok || !names[p.Name] || p.DeletionTimestamp == nil {
				continue
			}
			e.mu.Lock()
			if _, known := e.began[p.Spec.NodeName]; !known {
				e.began[p.Spec.NodeName] = time.Now()
			}
			if change.Type == "DELETED" {
				e.gone[p.Spec.NodeName] = true
			}
			e.mu.Unlock()
		}
	}()
	return e
}

// all is nil when all of them are gone.
func (e *ends) all() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.gone) < len(nodes()) {
		return errors.New("some are still there")
	}
	return nil
}

// excuse reports whether a ztunnel of one of these nodes had been ending at a moment for
// longer than the drain time, and was not long gone.
func (e *ends) excuse(nodes []string, at time.Time) bool {
	const (
		grace = 15 * time.Second // after the drain time the kubelet kills
		late  = time.Second      // that the test may hear of an end after the kubelet
	)
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, node := range nodes {
		began, known := e.began[node]
		if over := began.Add(drain); known && at.After(over.Add(-late)) && at.Before(over.Add(grace)) {
			return true
		}
	}
	return false
}

// after says how long each ztunnel had been ending at a moment.
func (e *ends) after(at time.Time) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	var parts []string
	for node, began := range e.began {
		parts = append(parts, fmt.Sprintf("%v after the end on %s began", at.Sub(began), node))
	}
	return strings.Join(parts, ", ")
}
