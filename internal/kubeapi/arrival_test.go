// SPDX-License-Identifier: Apache-2.0

package kubeapi

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/ambient22/ambient22/internal/cni"
	"github.com/ambient22/ambient22/internal/mesh"
)

// arrival is what the plugin says of a pod.
func arrival(name string, ips ...string) cni.Pod {
	p := cni.Pod{ContainerID: name + "-sandbox", Namespace: "default", Name: name, UID: name + "-uid"}
	for _, ip := range ips {
		p.IPs = append(p.IPs, netip.MustParseAddr(ip))
	}
	return p
}

// pending is a pod whose kubelet has not said anything of it yet.
func pending(p *corev1.Pod) { p.Status = corev1.PodStatus{Phase: corev1.PodPending} }

func labelled(key, value string) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Labels[key] = value }
}

func in(namespace string) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Namespace = namespace }
}

// TestAPodIsCapturedBeforeTheAPIServerKnowsItsAddress follows one from its plugin's
// call to the end of its network.
func TestAPodIsCapturedBeforeTheAPIServerKnowsItsAddress(t *testing.T) {
	s := article(t)
	c := run(t, s)
	c.until("the first", has("ztunnel"))
	s.put(t, "pods", pod("sleep", "", pending))
	answer, err := c.source.Add(t.Context(), arrival("sleep", "10.4.4.19"))
	if err != nil || !answer.Captured || answer.Secret != "spiffe://cluster.local/ns/default/sa/default~sleep~sleep-uid" {
		t.Fatalf("%+v, %v", answer, err)
	}
	c.until("captured", has("sleep* ztunnel"))
	if answer, err := c.source.Check(t.Context(), arrival("sleep", "10.4.4.19")); err != nil || !answer.Captured {
		t.Errorf("check: %+v, %v", answer, err)
	}
	s.put(t, "pods", pod("sleep", "10.4.4.19", func(p *corev1.Pod) { p.Status.Phase = corev1.PodPending }))
	s.put(t, "pods", pod("other", "10.4.4.20"))
	c.until("still, while its init containers run", has("other* sleep* ztunnel"))
	s.put(t, "pods", pod("sleep", "10.4.4.19"))
	s.put(t, "pods", pod("third", "10.4.4.21"))
	c.until("now by the API server's word", has("other* sleep* third* ztunnel"))
	c.source.Del(arrival("sleep"))
	c.until("its network went, which the API server has not heard of", has("other* third* ztunnel"))
	s.said(t, "Pod/sleep", ReasonNotCaptured, "its network was taken down")
}

// TestANewSandbox gives a pod another network. The old one is removed once more, late.
func TestANewSandbox(t *testing.T) {
	s := article(t)
	s.put(t, "pods", pod("sleep", "10.4.4.19"))
	c := run(t, s)
	c.until("the first", has("sleep* ztunnel"))
	fresh := arrival("sleep", "10.4.4.30")
	fresh.ContainerID = "second"
	if answer, err := c.source.Add(t.Context(), fresh); err != nil || !answer.Captured {
		t.Fatalf("%+v, %v", answer, err)
	}
	at := func(ip string) func(*mesh.Snapshot) bool {
		return func(s *mesh.Snapshot) bool { return pods(s) == "sleep* ztunnel" && s.Workloads[0].IP.String() == ip }
	}
	c.until("its new address", at("10.4.4.30"))
	c.source.Del(arrival("sleep"))
	s.put(t, "pods", pod("sleep", "10.4.4.30"))
	s.put(t, "pods", pod("outside", "10.4.4.40", in("kube-system")))
	c.until("its new address is the API server's too", has("sleep* ztunnel outside"))
	s.remove("pods", "kube-system", "outside")
	s.put(t, "pods", pod("sleep", "10.4.4.31")) // somebody else's plugin did that
	c.until("what the API server says", at("10.4.4.31"))
}

// TestAnAddressIsUsedAgain gives an address that is still captured to a pod outside
// the mesh: it is let go before that pod starts.
func TestAnAddressIsUsedAgain(t *testing.T) {
	s := article(t)
	s.put(t, "pods", pod("sleep", "10.4.4.19"))
	s.put(t, "pods", pod("outsider", "", pending, in("kube-system")))
	c := run(t, s)
	c.until("the first", has("sleep* ztunnel"))
	p := arrival("outsider", "10.4.4.19")
	p.Namespace = "kube-system"
	answer, err := c.source.Add(t.Context(), p)
	if err != nil || answer.Captured || !strings.Contains(answer.Why, "no label istio.io/dataplane-mode=ambient") {
		t.Errorf("%+v, %v", answer, err)
	}
	if now, _ := c.source.latest(); holder(now.capture, p.IPs[0]) != "" {
		t.Error("the address was captured when the outsider was let in")
	}
	c.until("let go", has("ztunnel outsider"))
}

func TestWhoPassesAtOnce(t *testing.T) {
	s := article(t)
	s.remove("pods", "istio-system", "ztunnel") // nobody can be captured
	c := run(t, s)
	c.until("the first", has(""))
	for name, edit := range map[string]func(*corev1.Pod){
		"outside": in("kube-system"), "optout": labelled("ambient-type", "none"), "waypoint": labelled("ambient-type", "waypoint"),
		"sidecar": labelled("istio.io/rev", "1-16"), "ztunnel": labelled("app", "ztunnel"),
	} {
		t.Run(name, func(t *testing.T) {
			p := pod(name, "", pending, edit)
			s.put(t, "pods", p)
			asked := arrival(name, "10.4.4.40", "fd00::40")
			asked.Namespace = p.Namespace
			answer, err := c.source.Add(t.Context(), asked)
			if err != nil || answer.Captured || answer.Why == "" {
				t.Errorf("%+v, %v", answer, err)
			}
		})
	}
	s.put(t, "pods", pod("remote", "", pending, on("node-b"), labelled("ambient-type", "none")))
	if answer, err := c.source.Add(t.Context(), arrival("remote", "10.4.4.42")); err != nil || answer.Captured {
		t.Errorf("a pod outside that belongs to another node: %+v, %v", answer, err)
	}
	stranger := arrival("stranger", "10.4.4.41")
	stranger.Namespace = "kube-system"
	if answer, err := c.source.Add(t.Context(), stranger); err != nil || answer.Captured {
		t.Errorf("a stranger in a namespace outside: %+v, %v", answer, err)
	}
}

func TestWhoIsRefused(t *testing.T) {
	s := article(t)
	s.put(t, "pods", pod("ours", "", pending))
	s.put(t, "pods", pod("remote", "", pending, on("node-b")))
	s.put(t, "pods", pod("host", "", pending, func(p *corev1.Pod) { p.Spec.HostNetwork = true }))
	var blind atomic.Bool
	c := runOn(t, s, func(s *mesh.Snapshot) *mesh.Capture {
		if blind.Load() {
			return &mesh.Capture{Snapshot: s, Refused: map[string]string{"ours-uid": "no way to it"}}
		}
		return willing(s)
	})
	c.until("the first", has("ztunnel"))
	wrong := arrival("ours", "10.4.4.19")
	wrong.UID = "another"
	for _, r := range []struct {
		pod   cni.Pod
		says  string
		again bool
	}{
		{arrival("nobody", "10.4.4.19"), "knows no pod of this name and UID", true},
		{wrong, "knows no pod of this name and UID", true},
		{arrival("remote", "10.4.4.19"), `one of node "node-b"`, true},
		{arrival("host", "10.4.4.19"), "uses its node's network", false},
		{arrival("ours", "fd00::19"), "IPv4 only", false},
		{arrival("ours", "10.4.4.19", "fd00::19"), "IPv4 only", false},
	} {
		c.refused(t.Context(), r.pod, r.says, r.again)
	}
	blind.Store(true)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	c.refused(ctx, arrival("ours", "10.4.4.19"), "was not in time: no way to it", true)
	c.until("it is forgotten", has("ztunnel"))
	s.remove("pods", "istio-system", "ztunnel")
	c.until("no ztunnel", has(""))
	c.refused(t.Context(), arrival("ours", "10.4.4.19"), "no ztunnel is ready on node node-a", true)
}

func (c *cluster) refused(ctx context.Context, p cni.Pod, says string, again bool) {
	c.t.Helper()
	answer, err := c.source.Add(ctx, p)
	var no *cni.Refusal
	if !errors.As(err, &no) || !strings.Contains(no.What, says) || no.Again != again || no.Starting {
		c.t.Errorf("%s %v: %+v, %v; want %q", p.Name, p.IPs, answer, err, says)
	}
}

// TestARestartKeepsPodsWhoseInitContainersRun knows them by their annotation.
func TestARestartKeepsPodsWhoseInitContainersRun(t *testing.T) {
	s := article(t)
	initializing := func(p *corev1.Pod) { p.Status.Phase = corev1.PodPending }
	s.put(t, "pods", pod("plain", "10.4.4.19", initializing))
	s.put(t, "pods", pod("sleep", "10.4.4.20", initializing, annotated))
	s.put(t, "pods", pod("theirs", "10.4.3.21", on("node-b"), initializing, annotated))
	c := run(t, s)
	c.until("the first", has("sleep* ztunnel"))
}

func TestBeforeTheClusterIsKnown(t *testing.T) {
	s := article(t)
	s.put(t, "configmaps", settingsMap(map[string]string{KeyMode: "perhaps"}))
	c := run(t, s)
	s.said(t, "ConfigMap/ambient22-config", ReasonUnusable, "data.mode")
	_, err := c.source.Add(t.Context(), arrival("sleep", "10.4.4.19"))
	var no *cni.Refusal
	if !errors.As(err, &no) || !no.Starting {
		t.Errorf("%v", err)
	}
}

// TestOutsidersAreNotRefusedForWantOfTime gives one an address that stays captured for
// another pod, and a plugin that has hardly any patience left.
func TestOutsidersAreNotRefusedForWantOfTime(t *testing.T) {
	s := article(t)
	s.put(t, "pods", pod("outsider", "", pending, in("kube-system")))
	c := runOn(t, s, func(s *mesh.Snapshot) *mesh.Capture {
		return &mesh.Capture{Snapshot: s, Pods: map[string]netip.Addr{"sleep-uid": netip.MustParseAddr("10.4.4.19")}}
	})
	c.until("the first", has("ztunnel"))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	asked := arrival("outsider", "10.4.4.19")
	asked.Namespace = "kube-system"
	if answer, err := c.source.Add(ctx, asked); err != nil || answer.Captured || answer.Why == "" {
		t.Errorf("%+v, %v", answer, err)
	}
}

// TestAPodThatEndsAtOnce is one that the API server never shows running: its word, not
// the plugin's, counts as soon as it has ended.
func TestAPodThatEndsAtOnce(t *testing.T) {
	s := article(t)
	s.put(t, "pods", pod("job", "", pending))
	c := run(t, s)
	c.until("the first", has("ztunnel"))
	if answer, err := c.source.Add(t.Context(), arrival("job", "10.4.4.19")); err != nil || !answer.Captured {
		t.Fatalf("%+v, %v", answer, err)
	}
	s.put(t, "pods", pod("job", "10.4.4.19", func(p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded }))
	c.until("it has ended", has("ztunnel"))
	s.said(t, "Pod/job", ReasonNotCaptured, "it is Succeeded")
}

func TestStateForTheTimeWithoutAController(t *testing.T) {
	s := article(t)
	states := make(chan cni.State, 10)
	run(t, s, func(c *Config) { c.State = func(s cni.State) { states <- s } })
	want := cni.State{Mode: "default", ZtunnelReady: true, ActiveNamespaces: []string{"default"}}
	if diff := cmp.Diff(want, <-states); diff != "" {
		t.Error(diff)
	}
	s.put(t, "pods", pod("sleep", "10.4.4.19")) // no news
	s.put(t, "configmaps", settingsMap(map[string]string{KeyMode: "on", KeyDisabledSelectors: "kubernetes.io/metadata.name in (default)"}))
	want = cni.State{Mode: "on", ZtunnelReady: true, ActiveNamespaces: []string{"istio-system", "kube-system"}, DisabledSelectors: []string{"kubernetes.io/metadata.name in (default)"}}
	if diff := cmp.Diff(want, <-states); diff != "" {
		t.Error(diff)
	}
	s.remove("pods", "istio-system", "ztunnel")
	if got := <-states; got.ZtunnelReady {
		t.Errorf("%+v", got)
	}
}
