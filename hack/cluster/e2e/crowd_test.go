// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/ambient22/ambient22/internal/mesh"
)

// pace is the time between two pods that come one after the other.
const pace = time.Second / 20

// crowd is a node of many pods that only the API server knows. Its controller is
// real, and so is the kernel that it programs.
type crowd struct {
	*objects
	ns        string
	room      *room
	kernel    *kernel
	run, gone moments
}

func newCrowd(t *testing.T, ns string, pods int) *crowd {
	t.Helper()
	return &crowd{objects: newObjects(t), ns: ns, room: newRoom(t, pods)}
}

func name(i int) string { return fmt.Sprintf("pod-%d", i) }

// namespace makes the pods' namespace, with so many service accounts, until the
// test's end.
func (c *crowd) namespace(accounts int) {
	c.t.Helper()
	_, err := c.CoreV1().Namespaces().Create(c.t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: c.ns}}, metav1.CreateOptions{})
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() {
		c.endPods()
		if _, err := kubectl(context.Background(), "", "delete", "namespace", c.ns, "--timeout=180s"); err != nil {
			c.t.Error(err)
		}
	})
	c.each(accounts, func(ctx context.Context, i int) error {
		_, err := c.CoreV1().ServiceAccounts(c.ns).Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: account(i)}}, metav1.CreateOptions{})
		return err
	})
}

// endPods deletes the pods at once: no kubelet ends them. It asks until there are
// none, because the API server gives up on a request after a minute.
func (c *crowd) endPods() {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	for {
		err := c.CoreV1().Pods(c.ns).DeleteCollection(ctx, metav1.DeleteOptions{GracePeriodSeconds: new(int64)}, metav1.ListOptions{})
		if err == nil {
			return
		}
		if ctx.Err() != nil {
			c.t.Errorf("deleting the pods: %v", err)
			return
		}
	}
}

// join labels the namespace, so that its pods take part.
func (c *crowd) join() {
	c.t.Helper()
	must(c.t, "label", "namespace", c.ns, mesh.LabelDataplaneMode+"="+mesh.DataplaneModeAmbient)
}

// ztunnel makes the node's ztunnel, in a namespace that lasts as long as the test. It
// serves nobody: what is measured ends at the kernel.
func (c *crowd) ztunnel() {
	c.t.Helper()
	const ns = mesh.RootNamespace
	ctx := c.t.Context()
	_, err := c.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ns}}, metav1.CreateOptions{})
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() {
		ctx := context.Background()
		err := c.CoreV1().Pods(ns).Delete(ctx, harness, metav1.DeleteOptions{GracePeriodSeconds: new(int64)})
		if _, errNS := kubectl(ctx, "", "delete", "namespace", ns, "--timeout=60s"); err != nil || errNS != nil {
			c.t.Error(err, errNS)
		}
	})
	_, err = c.CoreV1().ServiceAccounts(ns).Create(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: mesh.AppZtunnel}}, metav1.CreateOptions{})
	if err == nil {
		err = c.pod(ctx, ns, harness, harness, mesh.AppZtunnel, map[string]string{mesh.LabelApp: mesh.AppZtunnel})
	}
	if err == nil {
		err = c.runs(ctx, ns, harness, address(0))
	}
	if err != nil {
		c.t.Fatal(err)
	}
}

// moments are when the world could first know something of a pod.
type moments struct {
	mu sync.Mutex
	at map[string]time.Time
}

// now notes it, if nobody has before.
func (m *moments) now(pod string) {
	now := time.Now()
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.at == nil {
		m.at = map[string]time.Time{}
	}
	if at := m.at[pod]; at.IsZero() || now.Before(at) {
		m.at[pod] = now
	}
}

func (m *moments) of(pod string) time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.at[pod]
}

// follow follows the node's pods at the API server, and its kernel.
func (c *crowd) follow() {
	c.t.Helper()
	c.kernel = c.room.watch(c.t)
	all, err := c.CoreV1().Pods(c.ns).List(c.t.Context(), metav1.ListOptions{Limit: 1})
	if err != nil {
		c.t.Fatal(err)
	}
	w, err := c.CoreV1().Pods(c.ns).Watch(c.t.Context(), metav1.ListOptions{
		FieldSelector: fields.OneTermEqualSelector("spec.nodeName", harness).String(), ResourceVersion: all.ResourceVersion,
	})
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(w.Stop)
	go func() {
		for e := range w.ResultChan() {
			pod, ok := e.Object.(*corev1.Pod)
			switch {
			case ok && e.Type == watch.Deleted:
				c.gone.now(pod.Name)
			case ok && pod.Status.PodIP != "":
				c.run.now(pod.Name)
			}
		}
	}()
}

// shape is an order in which pods come or go.
type shape func(c *crowd, from, to int, do func(context.Context, int) error)

// enrol has the pods from one number to another run, and waits until the kernel
// captures them.
func (c *crowd) enrol(how string, order shape, from, to int) {
	c.t.Helper()
	c.measure("captured, "+how, &c.run, order, from, to, span(0, to), func(ctx context.Context, i int) error {
		return c.runs(ctx, c.ns, name(i), address(i+1))
	})
}

// release deletes pods, the first ones that are left, and waits until the kernel
// captures only the others, up to the last one.
func (c *crowd) release(how string, order shape, from, to, last int) {
	c.t.Helper()
	c.measure("released, "+how, &c.gone, order, from, to, span(to, last), func(ctx context.Context, i int) error {
		return c.CoreV1().Pods(c.ns).Delete(ctx, name(i), metav1.DeleteOptions{GracePeriodSeconds: new(int64)})
	})
}

// span are the addresses of the pods from one number to another.
func span(from, to int) []netip.Addr {
	var all []netip.Addr
	for i := from; i < to; i++ {
		all = append(all, address(i+1))
	}
	return all
}

// measure does something to pods in an order, waits for what the kernel makes of
// it, and tells how long that took: from when the API server's watch or its answer
// first told of a pod until the kernel's route and set had both followed.
func (c *crowd) measure(what string, known *moments, order shape, from, to int, left []netip.Addr, do func(context.Context, int) error) {
	c.t.Helper()
	begun := time.Now()
	order(c, from, to, func(ctx context.Context, i int) error {
		if err := do(ctx, i); err != nil {
			return err
		}
		known.now(name(i))
		return nil
	})
	took := time.Since(begun)
	eventually(c.t, what, func() error { return c.kernel.captures(left) })
	var times []time.Duration
	for i, at := range c.kernel.changed(span(from, to)) {
		times = append(times, at.Sub(known.of(name(from+i))))
	}
	slices.Sort(times)
	part := func(percent int) float64 { return times[(len(times)*percent-1)/100].Seconds() * 1000 }
	figure(c.t, "%d pods %s, in %.1f s: p50 %.1f ms, p90 %.1f ms, p99 %.1f ms, max %.1f ms",
		to-from, what, took.Seconds(), part(50), part(90), part(99), part(100))
}

// allAtOnce does something to all pods as fast as the API server takes it.
func allAtOnce(c *crowd, from, to int, do func(context.Context, int) error) {
	c.t.Helper()
	c.each(to-from, func(ctx context.Context, i int) error { return do(ctx, from+i) })
}

// oneByOne does something to one pod after the other.
func oneByOne(c *crowd, from, to int, do func(context.Context, int) error) {
	c.t.Helper()
	next := time.NewTicker(pace)
	defer next.Stop()
	for i := from; i < to; i++ {
		if err := do(c.t.Context(), i); err != nil {
			c.t.Fatal(err)
		}
		<-next.C
	}
}
