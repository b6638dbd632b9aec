// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"fmt"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// noon is when all test clusters are looked at.
func noon() time.Time { return time.Date(2022, 9, 7, 12, 0, 0, 0, time.UTC) }

func minutesAgo(n int) metav1.Time {
	return metav1.NewTime(noon().Add(-time.Duration(n) * time.Minute))
}

// podOn is a running, ready pod.
func podOn(node, namespace, name string, edits ...func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, UID: types.UID("uid-" + name), CreationTimestamp: minutesAgo(30)},
		Spec:       corev1.PodSpec{NodeName: node, ServiceAccountName: "default", Containers: []corev1.Container{{Name: "main"}}},
		Status: corev1.PodStatus{
			Phase: corev1.PodRunning, PodIP: "10.4.4.9", PodIPs: []corev1.PodIP{{IP: "10.4.4.9"}},
			Conditions:        []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}},
			ContainerStatuses: []corev1.ContainerStatus{{Name: "main", Ready: true, State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}},
		},
	}
	for _, edit := range edits {
		edit(p)
	}
	return p
}

func notReady(p *corev1.Pod) {
	p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionFalse}}
	p.Status.ContainerStatuses[0].Ready = false
}

func beingEnded(p *corev1.Pod) { p.DeletionTimestamp = new(minutesAgo(0)) }

// state gives the first container another state.
func withState(s corev1.ContainerState) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		notReady(p)
		p.Status.ContainerStatuses[0].State = s
		p.Status.ContainerStatuses[0].Image = "ambient22.test/ambient22:9"
	}
}

func waitingFor(reason, message string) corev1.ContainerState {
	return corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}
}

func endedWith(code int32, reason string) corev1.ContainerState {
	return corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code, Reason: reason}}
}

// inInit puts an init container of that state before the others.
func inInit(s corev1.ContainerState) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		withState(waitingFor("PodInitializing", ""))(p)
		p.Spec.InitContainers = []corev1.Container{{Name: "init"}}
		p.Status.InitContainerStatuses = []corev1.ContainerStatus{{Name: "init", State: s}}
	}
}

// A pod that is not ready says what it waits for.
func TestPodState(t *testing.T) {
	for name, c := range map[string]struct {
		edit           func(*corev1.Pod)
		why            string
		wayOut         string // part of it
		log            string // container whose log helps
		ofTheRunBefore bool
	}{
		"ready":  {edit: func(*corev1.Pod) {}},
		"ending": {edit: beingEnded, why: "it is being ended"},
		"not scheduled": {edit: func(p *corev1.Pod) {
			notReady(p)
			p.Status.Conditions = append(p.Status.Conditions, corev1.PodCondition{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Message: "0/2 nodes are available: 2 Insufficient memory."})
		}, why: "it is not scheduled: 0/2 nodes are available: 2 Insufficient memory.", wayOut: "make room"},
		"failed": {edit: func(p *corev1.Pod) {
			notReady(p)
			p.Status.Phase, p.Status.Reason = corev1.PodFailed, "Evicted"
		}, why: "it failed: Evicted"},
		"not taken":   {edit: func(p *corev1.Pod) { notReady(p); p.Status.ContainerStatuses = nil }, why: "the kubelet has not taken it yet", wayOut: "kubectl get node node-a"},
		"being made":  {edit: withState(waitingFor("ContainerCreating", "")), why: "container main is being made"},
		"no image":    {edit: withState(waitingFor("ErrImageNeverPull", "it is not present")), why: "container main has no image ambient22.test/ambient22:9: ErrImageNeverPull it is not present", wayOut: "--set image.repository"},
		"wrong":       {edit: withState(waitingFor("CreateContainerConfigError", `secret "x" not found`)), why: `container main waits: CreateContainerConfigError secret "x" not found`},
		"not ready":   {edit: withState(corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}), why: "container main runs and is not ready", log: "main"},
		"out of room": {edit: withState(endedWith(137, "OOMKilled")), why: "container main ended with exit code 137 (OOMKilled)", log: "main"},
		"init works":  {edit: inInit(corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}), why: "init container init is at work", log: "init"},
		"init failed": {edit: inInit(endedWith(1, "Error")), why: "init container init ended with exit code 1", log: "init"},
		"init done":   {edit: inInit(endedWith(0, "Completed")), why: "container main is being made"},
		"crashes": {edit: func(p *corev1.Pod) {
			withState(waitingFor("CrashLoopBackOff", "back-off 10s"))(p)
			p.Status.ContainerStatuses[0].LastTerminationState = endedWith(1, "Error")
		}, why: "container main ends again and again: it ended with exit code 1", log: "main", ofTheRunBefore: true},
		"almost": {edit: func(p *corev1.Pod) { p.Status.Conditions = nil }, why: "its containers are ready, and the pod is about to be"},
	} {
		t.Run(name, func(t *testing.T) {
			got := stateOf(podOn("node-a", "istio-system", "ztunnel-1", c.edit))
			if got.why != c.why || !strings.Contains(got.wayOut, c.wayOut) || got.container != c.log || got.previous != c.ofTheRunBefore {
				t.Errorf("got %+v", got)
			}
		})
	}
}

// Only a ready pod of the newest form counts, whatever else is on the node.
func TestNotCurrent(t *testing.T) {
	form := func(hash string) func(*corev1.Pod) {
		return func(p *corev1.Pod) { p.Labels = map[string]string{appsv1.ControllerRevisionHashLabelKey: hash} }
	}
	for name, c := range map[string]struct {
		pods []*corev1.Pod
		want string
	}{
		"ready":          {[]*corev1.Pod{podOn("a", "n", "new", form("2"))}, ""},
		"beside the old": {[]*corev1.Pod{podOn("a", "n", "old", form("1")), podOn("a", "n", "new", form("2"))}, ""},
		"old only":       {[]*corev1.Pod{podOn("a", "n", "old", form("1"))}, "the pod before is still there"},
		"new is late":    {[]*corev1.Pod{podOn("a", "n", "old", form("1")), podOn("a", "n", "new", form("2"), notReady)}, "container main runs and is not ready"},
		"just ready": {[]*corev1.Pod{podOn("a", "n", "new", form("2"), func(p *corev1.Pod) {
			p.Labels["app"] = Ztunnel
			p.Status.Conditions[0].LastTransitionTime = metav1.NewTime(noon().Add(-settle / 2))
		})}, "it has just become ready, and the node is made to lead to it"},
		"new is ending": {[]*corev1.Pod{podOn("a", "n", "new", form("2"), beingEnded)}, "the pod before is still there"},
	} {
		if got, _, _ := notCurrent(noon(), c.pods, "2"); got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

// A DaemonSet's pod that nobody could schedule still says which node it is for.
func TestNodeOf(t *testing.T) {
	p := podOn("", "istio-system", "ztunnel-1")
	if got := nodeOf(p); got != "" {
		t.Errorf("without a node: %q", got)
	}
	p.Spec.Affinity = &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{
		NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchFields: []corev1.NodeSelectorRequirement{{Key: "metadata.name", Operator: "In", Values: []string{"node-b"}}}}},
	}}}
	if got := nodeOf(p); got != "node-b" {
		t.Errorf("by affinity: %q", got)
	}
	p.Spec.NodeName = "node-a"
	if got := nodeOf(p); got != "node-a" {
		t.Errorf("scheduled: %q", got)
	}
}

// Of a log only what is no mere news is shown, or its end where that is all.
func TestTelling(t *testing.T) {
	log := "time=1 level=INFO msg=starting\ntime=2 level=DEBUG msg=x\n\ntime=3 level=WARN msg=careful\nambient-node: this node can't carry the data path (1 found, nothing was changed):\n  - kernel: no Geneve (load the module)\n"
	want := "careful\nambient-node: this node can't carry the data path (1 found, nothing was changed):\n  - kernel: no Geneve (load the module)"
	if got := strings.Join(telling(log), "\n"); got != want {
		t.Errorf("got\n%s", got)
	}
	if got := telling("level=INFO msg=a\nlevel=INFO msg=b\n"); len(got) != 2 {
		t.Errorf("news only: %q", got)
	}
	if got := telling(strings.Repeat("broken\n", 100)); len(got) != 1 {
		t.Errorf("a line is told %d times", len(got))
	}
	var many strings.Builder
	for i := range 100 {
		fmt.Fprintf(&many, "broken in place %d\n", i)
	}
	if got := telling(many.String()); len(got) != sayLines || got[len(got)-1] != "broken in place 99" {
		t.Errorf("got %q", got)
	}
	for name, line := range map[string]string{
		"text": `time=2022-09-07T12:00:00Z level=ERROR msg="no agreement yet" err="2 found:\n  - \"a\": b" again_in=500ms`,
		"json": `{"time":"2022-09-07T12:00:00Z","level":"ERROR","msg":"no agreement yet","err":"2 found:\n  - \"a\": b","again_in":"500ms"}`,
	} {
		if level, text := record(line); level != "ERROR" || text != `no agreement yet: 2 found: - "a": b` {
			t.Errorf("%s: %s, %s", name, level, text)
		}
	}
}

// What stands for a while is told once, and again after it had gone; a node that
// gets ready is told at once.
func TestReporter(t *testing.T) {
	var out strings.Builder
	r := newReporter(&out, func(Missing) string { return " (FailedMount: no secret)" })
	late := []Missing{{Node: "node-b", Workload: Ztunnel, Why: "container ztunnel is being made"}}
	at := noon()
	r.update(at, late, []string{"node-a"})
	r.update(at.Add(patience), late, []string{"node-a"})
	r.update(at.Add(2*patience), late, []string{"node-a"})
	r.update(at.Add(3*patience), nil, []string{"node-a", "node-b"})
	r.update(at.Add(4*patience), late, []string{"node-a"})
	r.update(at.Add(5*patience), late, []string{"node-a"})
	var got []string
	for line := range strings.Lines(out.String()) {
		line, _, _ = strings.Cut(strings.TrimSpace(line), " (")
		got = append(got, line)
	}
	want := "node-a is ready|waiting for node-b: ztunnel: container ztunnel is being made|node-b is ready|waiting for node-b: ztunnel: container ztunnel is being made"
	if strings.Join(got, "|") != want {
		t.Errorf("got\n%s", out.String())
	}
}

// A ztunnel that waits for its node's controller says so.
func TestFollowUp(t *testing.T) {
	running := podState{runs: true}
	missing := []Missing{
		{Node: "node-a", Workload: NodeController, Why: "x"}, {Node: "node-a", Workload: Ztunnel, Why: "y", state: running},
		{Node: "node-b", Workload: Ztunnel, Why: "z", state: running},
	}
	followUp(missing)
	if got := missing[1].Why; got != "y; it gets its configuration from ambient-node" {
		t.Errorf("node-a: %q", got)
	}
	if got := missing[2].Why; got != "z" {
		t.Errorf("node-b: %q", got)
	}
}
