// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/ambient22/ambient22/internal/golden"
	"github.com/ambient22/ambient22/internal/kube"
	"github.com/ambient22/ambient22/internal/mesh"
)

// eventOf is an event of a node controller about an object, some minutes ago.
func eventOf(kind, namespace, name, reason, message string, minutes int) *corev1.Event {
	return &corev1.Event{
		InvolvedObject: corev1.ObjectReference{Kind: kind, Namespace: namespace, Name: name, UID: types.UID("uid-" + name)},
		Reason:         reason, Message: message, LastTimestamp: minutesAgo(minutes),
	}
}

func nodeNamed(name, ip, podCIDR string) *corev1.Node {
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"kubernetes.io/os": "linux"}},
		Spec:       corev1.NodeSpec{PodCIDR: podCIDR},
		Status: corev1.NodeStatus{
			Addresses:  []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: ip}},
			Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}},
		},
	}
}

func setNamed(name string) *appsv1.DaemonSet {
	return &appsv1.DaemonSet{ObjectMeta: metav1.ObjectMeta{Namespace: Namespace, Name: name, UID: types.UID("uid-" + name)}}
}

// of makes a pod one of a DaemonSet.
func of(set *appsv1.DaemonSet) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(set, appsv1.SchemeGroupVersion.WithKind("DaemonSet"))}
		p.Labels = map[string]string{"app": set.Name}
		p.Spec.HostNetwork = set.Name == NodeController
		p.Spec.Containers[0].Image = "ambient22.test/ambient22:0.1.0"
	}
}

func at(ip string) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Status.PodIP, p.Status.PodIPs = ip, []corev1.PodIP{{IP: ip}} }
}

func captured(p *corev1.Pod) { p.Annotations = map[string]string{annotation: mesh.RedirectionEnabled} }

func namespaceNamed(name string, labels ...string) *corev1.Namespace {
	n := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{}}}
	for i := 0; i < len(labels); i += 2 {
		n.Labels[labels[i]] = labels[i+1]
	}
	return n
}

// healthy is a cluster of two nodes, with a captured pod on each.
func healthy() *looked {
	controller, ztunnel := setNamed(NodeController), setNamed(Ztunnel)
	return &looked{
		now: noon(), controller: controller, ztunnel: ztunnel,
		signer: &appsv1.Deployment{
			Spec: appsv1.DeploymentSpec{Replicas: new(int32(2))}, Status: appsv1.DeploymentStatus{ReadyReplicas: 2},
		},
		settings: &corev1.ConfigMap{Data: map[string]string{"mode": "default", "trustDomain": "cluster.local"}},
		objects: kube.Objects{
			Nodes:      []*corev1.Node{nodeNamed("node-a", "10.168.15.222", "10.4.4.0/24"), nodeNamed("node-b", "10.168.15.224", "10.4.3.0/24")},
			Namespaces: []*corev1.Namespace{namespaceNamed("shop", mesh.LabelDataplaneMode, "ambient"), namespaceNamed("plain"), namespaceNamed(Namespace)},
			Pods: []*corev1.Pod{
				podOn("node-a", Namespace, "ambient-node-a", of(controller), at("10.168.15.222")),
				podOn("node-b", Namespace, "ambient-node-b", of(controller), at("10.168.15.224")),
				podOn("node-a", Namespace, "ztunnel-a", of(ztunnel), at("10.4.4.2")),
				podOn("node-b", Namespace, "ztunnel-b", of(ztunnel), at("10.4.3.2")),
				podOn("node-a", "shop", "web-a", captured, at("10.4.4.3")),
				podOn("node-b", "shop", "web-b", captured, at("10.4.3.3")),
				podOn("node-b", "plain", "batch", at("10.4.3.4")),
			},
		},
	}
}

func shown(t *testing.T, s *Status) string {
	t.Helper()
	var out strings.Builder
	if err := s.Write(&out); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestStatusOfAHealthyCluster(t *testing.T) {
	s := healthy().status()
	if !s.Good() {
		t.Error("it is not good")
	}
	golden.Check(t, "testdata/status-healthy.txt", shown(t, s))
}

// Everything that can be wrong at once, and what is said about it.
func TestStatusOfATroubledCluster(t *testing.T) {
	l := healthy()
	l.signer.Status.ReadyReplicas = 0
	l.settings.Data["disabledSelectors"] = "team=db\nnot a selector"
	l.objects.Namespaces = append(l.objects.Namespaces, namespaceNamed("both", mesh.LabelDataplaneMode, "ambient", "istio-injection", "enabled"))
	old := podOn("node-a", Namespace, "ztunnel-0", of(l.ztunnel), at("10.4.4.9"), beingEnded)
	next := podOn("node-b", Namespace, "ztunnel-c", of(l.ztunnel), at("10.4.3.9"), notReady)
	notReady(l.objects.Pods[3])
	notReady(l.objects.Pods[1])
	l.logs = map[types.UID][]string{"uid-ambient-node-b": {"level=ERROR msg=\"the node could not be programmed\""}}
	l.objects.Pods = append(l.objects.Pods, old, next,
		podOn("node-a", "shop", "refused", at("10.4.4.5")),
		podOn("node-a", "shop", "fresh", at("10.4.4.6")),
		podOn("node-b", "shop", "late", at("10.4.3.5")),
		podOn("node-b", "plain", "forgotten", captured, at("10.4.3.6")),
	)
	l.events = []corev1.Event{
		*eventOf("Pod", "shop", "refused", "AmbientCaptured", "its TCP connections go through the node's ztunnel", 9),
		*eventOf("Pod", "shop", "refused", reasonNotCaptured, "there is no route to 10.4.4.5", 3),
		*eventOf("Service", "shop", "web", reasonUnusable, "spec.ports: protocol SCTP is not carried", 2),
		*eventOf("Service", "shop", "old", reasonUnusable, "spec.ports: long ago", 50),
	}
	s := l.status()
	if s.Good() {
		t.Error("it is good")
	}
	golden.Check(t, "testdata/status-troubled.txt", shown(t, s))
}

// A node that is away is the reason for whatever its pods were at last.
func TestStatusOfANodeThatIsAway(t *testing.T) {
	l := healthy()
	l.objects.Nodes[1].Status.Conditions[0] = corev1.NodeCondition{
		Type: corev1.NodeReady, Status: corev1.ConditionUnknown, LastTransitionTime: minutesAgo(1), Message: "Kubelet stopped posting node status.",
	}
	notReady(l.objects.Pods[1])
	want := "node-b: the node is not ready since 2022-09-07T11:59:00Z: Kubelet stopped posting node status."
	if s := l.status(); s.Good() || strings.Join(s.Warnings, "\n") != want {
		t.Errorf("got %q", s.Warnings)
	}
}

func TestStatusWithoutAnInstall(t *testing.T) {
	l := healthy()
	l.controller, l.ztunnel, l.signer = nil, nil, nil
	golden.Check(t, "testdata/status-leftovers.txt", shown(t, l.status()))
	l.objects.Pods = nil
	if s := l.status(); s.Good() || s.Installed || len(s.Warnings) > 0 {
		t.Errorf("got %+v", s)
	}
}

// With the controllers' DaemonSet gone the rest is still told.
func TestStatusWithoutControllers(t *testing.T) {
	l := healthy()
	l.controller, l.objects.Pods = nil, l.objects.Pods[2:]
	s := l.status()
	if got := strings.Join(s.Warnings, "\n"); got != "node-a: there is no DaemonSet ambient-node\nnode-b: there is no DaemonSet ambient-node" {
		t.Errorf("got %s", got)
	}
	if s.Nodes[0].Captured != 1 || s.Nodes[0].Ztunnel != "ztunnel-a" {
		t.Errorf("got %+v", s.Nodes[0])
	}
}

// A node that the DaemonSets are not meant for is no fault.
func TestStatusOfANodeThatTakesNoPart(t *testing.T) {
	l := healthy()
	for _, set := range []*appsv1.DaemonSet{l.controller, l.ztunnel} {
		set.Spec.Template.Spec.NodeSelector = map[string]string{"kubernetes.io/os": "linux"}
	}
	windows := nodeNamed("node-w", "10.168.15.230", "10.4.5.0/24")
	windows.Labels["kubernetes.io/os"] = "windows"
	l.objects.Nodes = append(l.objects.Nodes, windows)
	if s := l.status(); !s.Good() || len(s.Nodes) != 3 {
		t.Errorf("got %+v", s)
	}
}
