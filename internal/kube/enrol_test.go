// SPDX-License-Identifier: Apache-2.0

package kube_test

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/ambient22/ambient22/internal/kube"
	"github.com/ambient22/ambient22/internal/mesh"
)

// TestEnrolment goes through every reason to capture a pod or not to.
func TestEnrolment(t *testing.T) {
	ambient := []string{mesh.LabelDataplaneMode, "ambient"}
	for name, c := range map[string]struct {
		labels []string // of the namespace shop
		mode   kube.Mode
		off    []string // disabled selectors
		pod    func(*corev1.Pod)
		class  mesh.Class
		why    string // "" = captured
	}{
		"ambient namespace":         {labels: ambient, class: mesh.InMesh},
		"no label":                  {class: mesh.Outside, why: "its namespace shop has no label istio.io/dataplane-mode=ambient"},
		"another mode's label":      {labels: []string{mesh.LabelDataplaneMode, "none"}, class: mesh.Outside, why: "its namespace shop has no label istio.io/dataplane-mode=ambient"},
		"mode off":                  {labels: ambient, mode: kube.ModeOff, class: mesh.Outside, why: "the mesh mode is off"},
		"mode on":                   {mode: kube.ModeOn, class: mesh.InMesh},
		"mode on, sidecars":         {mode: kube.ModeOn, labels: []string{"istio-injection", "enabled"}, class: mesh.Outside, why: "its namespace shop uses sidecars (label istio-injection=enabled)"},
		"mode on, sidecar revision": {mode: kube.ModeOn, labels: []string{"istio.io/rev", "1-16"}, class: mesh.Outside, why: "its namespace shop uses sidecars (label istio.io/rev=1-16)"},
		"mode on, injection off":    {mode: kube.ModeOn, labels: []string{"istio-injection", "disabled"}, class: mesh.InMesh},
		"disabled by name": {mode: kube.ModeOn, off: []string{"kubernetes.io/metadata.name in (kube-system,shop)"}, class: mesh.Outside,
			why: `its namespace shop is disabled by the selector "kubernetes.io/metadata.name in (kube-system,shop)"`},
		"disabled by label": {labels: append([]string{"team", "db"}, ambient...), off: []string{"team=db"}, class: mesh.Outside,
			why: `its namespace shop is disabled by the selector "team=db"`},
		"other selector":         {labels: ambient, off: []string{"team=db"}, class: mesh.InMesh},
		"pod with sidecar label": {labels: ambient, pod: labelled("istio-injection", "enabled"), class: mesh.Outside, why: "it has a sidecar (label istio-injection=enabled)"},
		"pod with revision":      {labels: ambient, pod: labelled("istio.io/rev", ""), class: mesh.Outside, why: "it has a sidecar (label istio.io/rev=)"},
		"injected pod":           {labels: ambient, pod: labelled("security.istio.io/tlsMode", "istio"), class: mesh.Outside, why: "it has a sidecar (label security.istio.io/tlsMode=istio)"},
		"opted out":              {labels: ambient, pod: labelled("ambient-type", "none"), class: mesh.OptedOut, why: "it opted out (label ambient-type=none)"},
		"opted out of nothing":   {pod: labelled("ambient-type", "none"), class: mesh.Outside, why: "its namespace shop has no label istio.io/dataplane-mode=ambient"},
		"waypoint":               {labels: ambient, pod: labelled("ambient-type", "waypoint"), class: mesh.Waypoint, why: "it is a waypoint (label ambient-type=waypoint)"},
		"waypoint's sidecar labels": {labels: ambient, class: mesh.Waypoint, why: "it is a waypoint (label ambient-type=waypoint)",
			pod: labelled("ambient-type", "waypoint", "istio.io/rev", "default", "security.istio.io/tlsMode", "istio")},
		"opted out, with a sidecar": {labels: ambient, pod: labelled("ambient-type", "none", "istio.io/rev", "default"), class: mesh.Outside, why: "it has a sidecar (label istio.io/rev=default)"},
		"waypoint of no mesh":       {pod: labelled("ambient-type", "waypoint"), class: mesh.Outside, why: "its namespace shop has no label istio.io/dataplane-mode=ambient"},
		"plain workload label":      {labels: ambient, pod: labelled("ambient-type", "workload"), class: mesh.InMesh},
		"a ztunnel's label elsewhere": {labels: ambient, pod: labelled("app", "ztunnel"), class: mesh.OptedOut,
			why: "its label app=ztunnel is for the ztunnels, which are in the namespace istio-system"},
		"a ztunnel's label outside": {pod: labelled("app", "ztunnel"), class: mesh.Outside, why: "its namespace shop has no label istio.io/dataplane-mode=ambient"},
		"static pod": {labels: ambient, class: mesh.OptedOut, why: "it is a static pod: those have no service account, and so no identity", pod: func(p *corev1.Pod) {
			p.Annotations = map[string]string{"kubernetes.io/config.mirror": "5d2a"}
		}},
		"host network": {labels: ambient, class: mesh.InMesh, why: "it uses its node's network", pod: func(p *corev1.Pod) {
			hostNetwork(p)
			p.Status.PodIP = "10.168.15.222"
		}},
	} {
		t.Run(name, func(t *testing.T) {
			selectors, err := kube.ParseSelectors(c.off)
			if err != nil {
				t.Fatal(err)
			}
			p := pod("shop", "web", "10.4.4.7")
			if c.pod != nil {
				c.pod(p)
			}
			objects := one(p)
			objects.Namespaces = append(objects.Namespaces, namespace("shop", c.labels...))
			s, problems := kube.Snapshot(objects, kube.Options{Mode: c.mode, DisabledSelectors: selectors})
			if len(problems) > 0 || len(s.Workloads) != 1 {
				t.Fatalf("problems %v, workloads %v, left out %v", problems, s.Workloads, s.LeftOut)
			}
			if w := s.Workloads[0]; w.Class != c.class || w.NotEnrolled != c.why {
				t.Errorf("class %d, %q; want %d, %q", w.Class, w.NotEnrolled, c.class, c.why)
			}
		})
	}
}

// TestZtunnelsAreInTheirNamespace has somebody who can make pods elsewhere try to get
// a node's traffic.
func TestZtunnelsAreInTheirNamespace(t *testing.T) {
	for _, mode := range []kube.Mode{kube.ModeDefault, kube.ModeOff, kube.ModeOn} {
		ztunnel := pod("istio-system", "ztunnel", "10.4.4.2", labelled("app", "ztunnel"))
		thief := pod("shop", "thief", "10.4.4.66", labelled("app", "ztunnel"))
		thief.CreationTimestamp.Time = ztunnel.CreationTimestamp.Add(time.Hour)
		for _, p := range []*corev1.Pod{ztunnel, thief} {
			p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
		}
		objects := one(ztunnel, thief)
		objects.Namespaces = append(objects.Namespaces, namespace("istio-system"), namespace("shop", mesh.LabelDataplaneMode, "ambient"))
		s, problems := kube.Snapshot(objects, kube.Options{Mode: mode})
		active := s.ActiveZtunnel(ztunnel.Spec.NodeName)
		if active == nil || active.Namespace != "istio-system" || len(s.OtherZtunnels(ztunnel.Spec.NodeName)) != 0 {
			t.Errorf("mode %v: active is %+v (problems %v)", mode, active, problems)
		}
	}
}

// TestLeftOut wants a reason for every pod that is no workload, and a problem only
// where somebody has to mend something.
func TestLeftOut(t *testing.T) {
	edit := func(edit func(*corev1.Pod)) *corev1.Pod { return pod("default", "web", "10.4.4.7", edit) }
	for name, c := range map[string]struct {
		pod     *corev1.Pod
		why     string
		problem bool
	}{
		"pending":      {edit(func(p *corev1.Pod) { p.Status.Phase = corev1.PodPending }), "it is Pending, not Running", false},
		"done":         {edit(func(p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded }), "it is Succeeded, not Running", false},
		"no address":   {edit(func(p *corev1.Pod) { p.Status.PodIP = "" }), "it has no address yet", false},
		"IPv6":         {edit(func(p *corev1.Pod) { p.Status.PodIP = "fd00::7" }), `its address "fd00::7" is an IPv6 address, and this data path carries IPv4 only`, true},
		"mapped":       {edit(func(p *corev1.Pod) { p.Status.PodIP = "::ffff:10.4.4.7" }), `its address "::ffff:10.4.4.7" is an IPv6 address, and this data path carries IPv4 only`, true},
		"loopback":     {edit(func(p *corev1.Pod) { p.Status.PodIP = "127.0.0.1" }), `its address "127.0.0.1" is no address that a host can have`, true},
		"unknown node": {edit(func(p *corev1.Pod) { p.Spec.NodeName = "node-z" }), `its node "node-z" is unknown`, true},
		"no node":      {edit(func(p *corev1.Pod) { p.Spec.NodeName = "" }), "it has no node", true},
		"no UID":       {edit(func(p *corev1.Pod) { p.UID = "" }), "it has no UID", true},
		"bad account":  {edit(func(p *corev1.Pod) { p.Spec.ServiceAccountName = "a/b" }), "its names are not valid", true},
	} {
		t.Run(name, func(t *testing.T) {
			neighbour := pod("default", "neighbour", "10.4.4.8")
			s, problems := kube.Snapshot(one(c.pod, neighbour), kube.Options{})
			if len(s.LeftOut) != 1 || s.LeftOut[0].Why != c.why || s.LeftOut[0].Name != "web" {
				t.Errorf("left out: %+v, want %q", s.LeftOut, c.why)
			}
			if (len(problems) > 0) != c.problem {
				t.Errorf("problems: %v", problems)
			}
			if len(s.Workloads) != 1 || s.Workloads[0].Name != "neighbour" {
				t.Errorf("the neighbour is not there alone: %+v", s.Workloads)
			}
		})
	}
}

func TestParse(t *testing.T) {
	for _, text := range []string{"off", "default", "on"} {
		m, err := kube.ParseMode(text)
		if err != nil || m.String() != text {
			t.Errorf("mode %q is %v (%v)", text, m, err)
		}
	}
	if _, err := kube.ParseMode("ON"); err == nil {
		t.Error("mode ON was taken")
	}
	for _, text := range []string{"", "a in b", "==x"} {
		if _, err := kube.ParseSelectors([]string{text}); err == nil {
			t.Errorf("selector %q was taken", text)
		}
	}
}
