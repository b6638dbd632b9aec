// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"fmt"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/ambient22/ambient22/internal/mesh"
)

// node puts together how one node does, and adds its pods that are not captured,
// and what is wrong with it, to s.
func (l *looked) node(s *Status, node *corev1.Node, snapshot *mesh.Snapshot) NodeStatus {
	n := NodeStatus{Name: node.Name, Others: []string{}}
	l.controllerOn(&n)
	l.ztunnelsOn(&n, snapshot)
	marked := map[string]bool{}
	for _, pod := range l.objects.Pods {
		if pod.Spec.NodeName == node.Name {
			_, marked[string(pod.UID)] = pod.Annotations[annotation]
		}
	}
	for _, w := range workloadsOn(snapshot, node.Name) {
		switch {
		case w.Enrolled() && marked[w.UID]:
			n.Asked++
			n.Captured++
		case w.Enrolled():
			n.Asked++
			s.NotCaptured = append(s.NotCaptured, PodStatus{w.Namespace, w.Name, w.Node, l.whyNot(&n, w)})
		case marked[w.UID] && !w.Terminating:
			s.Warnings = append(s.Warnings, fmt.Sprintf("Pod %s/%s is marked as captured, and should not be: %s", w.Namespace, w.Name, w.NotEnrolled))
		}
	}
	if why := whyAway(node); why != "" {
		n.Problems = []string{why} // whatever its pods were at last, this is why
	}
	for _, p := range n.Problems {
		s.Warnings = append(s.Warnings, node.Name+": "+p)
	}
	return n
}

// whyNot is why a pod that asks to take part is not captured.
func (l *looked) whyNot(n *NodeStatus, w *mesh.Workload) string {
	if said := l.lastWord(w.UID); said != "" {
		return said
	}
	switch {
	case n.Controller == "":
		return "no node controller is on its node"
	case n.Ztunnel == "":
		return "no ztunnel is ready on its node"
	case !n.Ready:
		return "its node's controller is not ready"
	}
	return "it is on its way, or its node's controller has not said why"
}

// controllerOn finds the node's controller.
func (l *looked) controllerOn(n *NodeStatus) {
	pod := newest(l.podsOn(n.Name, l.controller))
	if pod == nil {
		if l.controller == nil {
			n.Problems = append(n.Problems, "there is no DaemonSet "+NodeController)
		} else if l.wants(l.controller, n.Name) {
			n.Problems = append(n.Problems, "no pod of DaemonSet "+NodeController)
		}
		return
	}
	n.Controller, n.Ready = pod.Name, isReady(pod)
	if state := stateOf(pod); state.why != "" {
		lines := append([]string{fmt.Sprintf("%s: %s", pod.Name, state.why)}, l.logs[pod.UID]...)
		n.Problems = append(n.Problems, strings.Join(lines, "\n"))
	}
}

// ztunnelsOn finds the node's ztunnels: the active one is the newest that is ready.
func (l *looked) ztunnelsOn(n *NodeStatus, snapshot *mesh.Snapshot) {
	pods := l.podsOn(n.Name, l.ztunnel)
	var active *corev1.Pod
	if w := snapshot.ActiveZtunnel(n.Name); w != nil {
		for _, pod := range l.objects.Pods {
			if string(pod.UID) == w.UID {
				active = pod
			}
		}
	}
	if active != nil {
		n.Ztunnel, n.Image = active.Name, proxyImage(active)
	}
	for _, pod := range pods {
		switch {
		case active != nil && pod.UID == active.UID:
		case pod.DeletionTimestamp != nil:
			n.Others = append(n.Others, pod.Name+" (draining)")
		case isReady(pod):
			n.Others = append(n.Others, pod.Name+" (ready, older)")
		default:
			state := stateOf(pod)
			n.Others = append(n.Others, pod.Name+" (not ready)")
			if active == nil {
				n.Problems = append(n.Problems, fmt.Sprintf("%s: %s", pod.Name, state.why))
			}
		}
	}
	slices.Sort(n.Others)
	if active == nil && (l.wants(l.ztunnel, n.Name) || len(pods) > 0) {
		n.Problems = append(n.Problems, "no ztunnel is ready: its pods talk plainly")
	}
}

// podsOn are the pods of a DaemonSet on a node.
func (l *looked) podsOn(node string, set *appsv1.DaemonSet) []*corev1.Pod {
	if set == nil {
		return nil
	}
	var pods []*corev1.Pod
	for _, pod := range l.objects.Pods {
		if by := metav1.GetControllerOf(pod); by != nil && by.UID == set.UID && nodeOf(pod) == node {
			pods = append(pods, pod)
		}
	}
	return pods
}

// wants reports whether a DaemonSet asks for a pod on the node by its selector.
func (l *looked) wants(set *appsv1.DaemonSet, name string) bool {
	if set == nil {
		return false
	}
	for _, node := range l.objects.Nodes {
		if node.Name != name {
			continue
		}
		for label, value := range set.Spec.Template.Spec.NodeSelector {
			if node.Labels[label] != value {
				return false
			}
		}
		return true
	}
	return false
}

// proxyImage is the image of a ztunnel's proxy.
func proxyImage(pod *corev1.Pod) string {
	for _, c := range pod.Spec.Containers {
		if c.Name == Ztunnel || len(pod.Spec.Containers) == 1 || strings.Contains(c.Name, "proxy") {
			return c.Image
		}
	}
	return ""
}
