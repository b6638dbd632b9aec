// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package e2e

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"

	"github.com/ambient22/ambient22/internal/kubeapi"
	"github.com/ambient22/ambient22/internal/mesh"
)

// testGone takes the reason for being captured away in every way there is, and
// measures until nothing is left of it.
func (w *world) testGone(t *testing.T) {
	t.Run("label removed", w.testLabelRemoved)
	t.Run("sidecar label", w.testSidecarLabel)
	t.Run("pod opted out", w.testOptOut)
	t.Run("pod deleted", w.testPodDeleted)
}

// promptly fails where something took longer than promised.
func promptly(t *testing.T, all times) {
	t.Helper()
	if slowest := all.slowest(); slowest > soon {
		t.Errorf("the last took %v, more than %v", slowest, soon)
	}
}

func (w *world) testLabelRemoved(t *testing.T) {
	all := w.captured(nodes()...)
	var facts []fact
	for _, p := range all {
		facts = append(facts, gone(w.traces(meshed, p.pod))...)
		facts = append(facts, w.event(t, meshed, p.Metadata.Name, kubeapi.ReasonNotCaptured))
	}
	if err := w.api.label(t.Context(), meshed, "", ambient(false)); err != nil {
		t.Fatal(err)
	}
	took := await(t, time.Now(), merge(facts))
	figure(t, "label removed from a namespace: %d pods on %d nodes: %v; %s", len(all), len(nodes()), took, w.said(t, meshed, all[0].Metadata.Name))
	promptly(t, took)
	w.enrol(t)
}

// said is the last event about a pod, for a person.
func (w *world) said(t *testing.T, namespace, object string) string {
	t.Helper()
	found, err := w.api.events(t.Context(), namespace, object, kubeapi.ReasonNotCaptured)
	if err != nil || len(found) == 0 {
		t.Fatalf("events about %s: %v, %v", object, found, err)
	}
	// Versions grow; the times of events are whole seconds.
	last := slices.MaxFunc(found, func(a, b corev1.Event) int {
		return cmp.Or(cmp.Compare(len(a.ResourceVersion), len(b.ResourceVersion)), cmp.Compare(a.ResourceVersion, b.ResourceVersion))
	})
	return fmt.Sprintf("%q", last.Message)
}

// testSidecarLabel: a namespace that asks for both is refused, and named.
func (w *world) testSidecarLabel(t *testing.T) {
	all := w.captured(nodes()...)
	var facts []fact
	for _, p := range all {
		facts = append(facts, gone(w.traces(meshed, p.pod))...)
		facts = append(facts, w.event(t, meshed, p.Metadata.Name, kubeapi.ReasonNotCaptured))
	}
	facts = append(facts, w.event(t, metav1.NamespaceDefault, meshed, kubeapi.ReasonInactive))
	if err := w.api.label(t.Context(), meshed, "", map[string]any{"istio-injection": "enabled"}); err != nil {
		t.Fatal(err)
	}
	took := await(t, time.Now(), merge(facts))
	figure(t, "sidecar label on the namespace: %d pods on %d nodes: %v; %s", len(all), len(nodes()), took, w.said(t, meshed, all[0].Metadata.Name))
	promptly(t, took)
	if err := w.api.label(t.Context(), meshed, "", map[string]any{"istio-injection": nil}); err != nil {
		t.Fatal(err)
	}
	w.enrol(t)
}

func (w *world) testOptOut(t *testing.T) {
	p := w.sleep[nodes()[0]]
	facts := append(gone(w.traces(meshed, p.pod)), w.event(t, meshed, p.Metadata.Name, kubeapi.ReasonNotCaptured))
	if err := w.api.label(t.Context(), meshed, p.Metadata.Name, map[string]any{mesh.LabelAmbientType: "none"}); err != nil {
		t.Fatal(err)
	}
	took := await(t, time.Now(), facts)
	figure(t, "a pod opts out: %v; %s", took, w.said(t, meshed, p.Metadata.Name))
	promptly(t, took)
	w.callsPlainly(t, p, w.web[nodes()[1]])
	if err := w.api.label(t.Context(), meshed, p.Metadata.Name, map[string]any{mesh.LabelAmbientType: nil}); err != nil {
		t.Fatal(err)
	}
	w.enrol(t)
}

// testPodDeleted deletes a captured pod, and then lets a pod of another namespace have
// its address.
func (w *world) testPodDeleted(t *testing.T) {
	node := nodes()[0]
	w.runPod(t, meshed, "short-lived", node)
	p := enter(t, w.podNamed(t, meshed, "short-lived"))
	traces := w.traces(meshed, p.pod)
	await(t, time.Now(), traces)
	deleted := w.deleted(t, meshed, "short-lived")
	if err := w.api.CoreV1().Pods(meshed).Delete(t.Context(), "short-lived", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	at := <-deleted
	took := await(t, at, gone(traces))
	figure(t, "a captured pod deleted, counted from its end at the API server: %v", took)
	promptly(t, took)
	w.testAddressReused(t, p.Status.PodIP, node)
}

// testAddressReused: what had to do with an address belonged to the pod, not to the
// address.
func (w *world) testAddressReused(t *testing.T, ip, node string) {
	w.nextAddress(t, node, ip)
	w.runPod(t, outside, "heir", node)
	defer w.removePod(t, outside, "heir")
	heir := enter(t, w.podNamed(t, outside, "heir"))
	if heir.Status.PodIP != ip {
		t.Fatalf("the new pod has the address %s, not %s", heir.Status.PodIP, ip)
	}
	for _, f := range w.traces(outside, heir.pod) {
		if is, err := f.is(t.Context()); is || err != nil {
			t.Errorf("%s of the pod that has the address now: %v, %v", f.name, is, err)
		}
	}
	w.callsPlainly(t, heir, w.web[nodes()[1]])
	if b, err := w.sleep[nodes()[1]].page(t.Context(), heir.address()); err != nil || !strings.Contains(b.body, "Served by heir") {
		t.Errorf("a captured pod called the pod that has the address now: %q, %v", b.body, err)
	}
	figure(t, "the address %s of the deleted pod given to a pod outside: no set entry, route, chain or annotation; it calls under its own address and is called", ip)
}

// callsPlainly: between two pods is nobody who would change the caller's address or
// port.
func (w *world) callsPlainly(t *testing.T, caller, server *inPod) {
	t.Helper()
	a, err := caller.page(t.Context(), server.address())
	if err != nil {
		t.Fatal(err)
	}
	if _, from, err := seen(a.body); err != nil || from != a.local {
		t.Errorf("%s called as %s and was seen as %s, %v", caller.Metadata.Name, a.local, from, err)
	}
}

// nextAddress makes an address the next that the node's CNI plugin gives: host-local
// goes round, and remembers the last one.
func (w *world) nextAddress(t *testing.T, node, ip string) {
	t.Helper()
	before := mustParse(t, ip).Prev()
	const file = "/var/lib/cni/networks/cluster/last_reserved_ip.0"
	if _, err := onHost(t.Context(), node, "sh", "-c", "printf %s "+before.String()+" >"+file); err != nil {
		t.Fatal(err)
	}
}

// deleted sends when a pod's end was seen.
func (w *world) deleted(t *testing.T, namespace, name string) <-chan time.Time {
	t.Helper()
	watching, err := w.api.CoreV1().Pods(namespace).Watch(t.Context(), metav1.ListOptions{FieldSelector: "metadata.name=" + name})
	if err != nil {
		t.Fatal(err)
	}
	at := make(chan time.Time, 1)
	go func() {
		defer watching.Stop()
		for e := range watching.ResultChan() {
			if e.Type == watch.Deleted {
				at <- time.Now()
				return
			}
		}
		at <- time.Now()
	}()
	return at
}

// podNamed is one pod.
func (w *world) podNamed(t *testing.T, namespace, name string) pod {
	t.Helper()
	p, err := w.api.CoreV1().Pods(namespace).Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return podOf(p)
}

// podOf is what the tests need to know of a pod.
func podOf(p *corev1.Pod) (one pod) {
	one.Metadata.Name, one.Metadata.UID = p.Name, string(p.UID)
	one.Spec.NodeName, one.Status.PodIP = p.Spec.NodeName, p.Status.PodIP
	return one
}

// removePod deletes a pod and waits for its end.
func (w *world) removePod(t *testing.T, namespace, name string) {
	t.Helper()
	if _, err := kubectl(context.WithoutCancel(t.Context()), "", "-n", namespace, "delete", "pod", name, "--timeout=60s"); err != nil {
		t.Error(err)
	}
}
