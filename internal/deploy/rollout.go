// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Missing is one thing that a workload still waits for.
type Missing struct {
	Node     string // "" where it is no matter of one node
	Workload string // name of the DaemonSet or Deployment
	Why      string
	pod      *corev1.Pod // nil where there is none
	state    podState
}

// at says where something is missing.
func (m Missing) at() string {
	if m.Node == "" {
		return m.Workload
	}
	return m.Node + ": " + m.Workload
}

// missing is what the DaemonSets and Deployments of a plan still wait for. ready are
// the nodes that wait for nothing.
func (c *Client) missing(ctx context.Context, plan Plan) (missing []Missing, ready []string, err error) {
	nodes := map[string]bool{} // → waits for something
	unknown := false           // which nodes wait
	for _, s := range plan {
		if s.Action == Remove {
			continue
		}
		var found []Missing
		switch s.Object.GetKind() {
		case "DaemonSet":
			found, err = c.daemonSet(ctx, s.Object.GetNamespace(), s.Object.GetName(), nodes)
			unknown = unknown || slices.ContainsFunc(found, func(m Missing) bool { return m.Node == "" })
		case "Deployment":
			found, err = c.deployment(ctx, s.Object.GetNamespace(), s.Object.GetName())
		}
		if err != nil {
			return nil, nil, err
		}
		missing = append(missing, found...)
	}
	away, err := c.unreachable(ctx)
	if err != nil {
		return nil, nil, err
	}
	for i := range missing {
		m := &missing[i]
		nodes[m.Node] = true
		if why := away[m.Node]; why != "" {
			m.Why, m.pod, m.state = why, nil, podState{wayOut: "kubectl describe node " + m.Node}
		}
	}
	followUp(missing)
	for name, waits := range nodes {
		if !waits && !unknown && name != "" {
			ready = append(ready, name)
		}
	}
	slices.SortFunc(missing, func(a, b Missing) int {
		return cmp.Or(strings.Compare(a.Node, b.Node), strings.Compare(a.Workload, b.Workload))
	})
	slices.Sort(ready)
	return missing, ready, nil
}

// followUp says of ztunnels that wait for their node's controller that they do.
func followUp(missing []Missing) {
	late := map[string]bool{}
	for _, m := range missing {
		late[m.Node] = late[m.Node] || m.Workload == NodeController
	}
	for i := range missing {
		if m := &missing[i]; m.Workload == Ztunnel && m.Node != "" && late[m.Node] && m.state.runs {
			m.Why += "; it gets its configuration from " + NodeController
			m.state.wayOut = "see " + NodeController
		}
	}
}

// daemonSet is what a DaemonSet waits for: on each of its nodes a ready pod of its
// newest form. The nodes of its pods are noted.
func (c *Client) daemonSet(ctx context.Context, namespace, name string, nodes map[string]bool) ([]Missing, error) {
	set, err := c.Kube.AppsV1().DaemonSets(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("reading DaemonSet %s: %w", name, err)
	}
	if set.Status.ObservedGeneration < set.Generation {
		return []Missing{{Workload: name, Why: "the cluster has not looked at it yet"}}, nil
	}
	pods, err := c.podsOf(ctx, namespace, set.Spec.Selector, set.UID)
	if err != nil {
		return nil, err
	}
	revision, err := c.revision(ctx, set)
	if err != nil {
		return nil, err
	}
	byNode := map[string][]*corev1.Pod{}
	for _, pod := range pods {
		node := nodeOf(pod)
		byNode[node] = append(byNode[node], pod)
		if _, known := nodes[node]; !known {
			nodes[node] = false
		}
	}
	var missing []Missing
	for node, pods := range byNode {
		if why, pod, state := notCurrent(time.Now(), pods, revision); why != "" {
			missing = append(missing, Missing{node, name, why, pod, state})
		}
	}
	if more := int(set.Status.DesiredNumberScheduled) - len(byNode); more > 0 {
		missing = append(missing, Missing{Workload: name, Why: fmt.Sprintf("%d pods are to be made%s", more, c.complaint(ctx, set))})
	}
	if set.Status.DesiredNumberScheduled == 0 {
		missing = append(missing, Missing{Workload: name, Why: "no node takes it: see its nodeSelector, and the nodes' taints"})
	}
	return missing, nil
}

// notCurrent is why none of a node's pods is ready in the newest form.
func notCurrent(now time.Time, pods []*corev1.Pod, revision string) (string, *corev1.Pod, podState) {
	var current []*corev1.Pod
	for _, pod := range pods {
		if pod.Labels[appsv1.ControllerRevisionHashLabelKey] == revision && pod.DeletionTimestamp == nil {
			current = append(current, pod)
		}
	}
	pod := newest(current)
	if pod == nil {
		return "the pod before is still there", nil, podState{}
	}
	state := stateOf(pod)
	if ready := condition(pod, corev1.PodReady); state.why == "" && pod.Labels["app"] == Ztunnel && now.Sub(ready.LastTransitionTime.Time) < settle {
		return "it has just become ready, and the node is made to lead to it", pod, state
	}
	return state.why, pod, state
}

// settle is how long after a ztunnel has become ready its node's controller, which
// makes the node lead to it then, can be asked whether it could. Its readiness is
// looked at every two seconds.
const settle = 5 * time.Second

// revision is the label of those of a DaemonSet's pods that are of its newest form.
func (c *Client) revision(ctx context.Context, set *appsv1.DaemonSet) (string, error) {
	selector := metav1.FormatLabelSelector(set.Spec.Selector)
	list, err := c.Kube.AppsV1().ControllerRevisions(set.Namespace).List(ctx, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		return "", fmt.Errorf("listing the forms of DaemonSet %s: %w", set.Name, err)
	}
	var last *appsv1.ControllerRevision
	for i := range list.Items {
		r := &list.Items[i]
		if metav1.IsControlledBy(r, set) && (last == nil || r.Revision > last.Revision) {
			last = r
		}
	}
	if last == nil {
		return "", nil
	}
	return last.Labels[appsv1.ControllerRevisionHashLabelKey], nil
}

// complaint is what the DaemonSet controller says about pods that it can't make.
func (c *Client) complaint(ctx context.Context, set *appsv1.DaemonSet) string {
	all := c.warnings(ctx, set.Namespace, set.UID)
	if len(all) == 0 {
		return ""
	}
	last := all[len(all)-1]
	return ": " + last.Reason + " " + last.Message
}

// deployment is what a Deployment waits for.
func (c *Client) deployment(ctx context.Context, namespace, name string) ([]Missing, error) {
	d, err := c.Kube.AppsV1().Deployments(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("reading Deployment %s: %w", name, err)
	}
	wanted := int32(1)
	if d.Spec.Replicas != nil {
		wanted = *d.Spec.Replicas
	}
	if d.Status.ObservedGeneration >= d.Generation && d.Status.UpdatedReplicas >= wanted && d.Status.AvailableReplicas >= wanted {
		return nil, nil
	}
	pods, err := c.podsOf(ctx, namespace, d.Spec.Selector, "")
	if err != nil {
		return nil, err
	}
	var missing []Missing
	for _, pod := range pods {
		if state := stateOf(pod); state.why != "" && pod.DeletionTimestamp == nil {
			why := fmt.Sprintf("pod %s: %s", pod.Name, state.why)
			missing = append(missing, Missing{Workload: name, Why: why, pod: pod, state: state})
		}
	}
	if len(missing) == 0 {
		why := fmt.Sprintf("%d of %d pods are available", d.Status.AvailableReplicas, wanted)
		for _, c := range d.Status.Conditions {
			if c.Type == appsv1.DeploymentReplicaFailure && c.Status == corev1.ConditionTrue {
				why += ": " + c.Message
			}
		}
		missing = append(missing, Missing{Workload: name, Why: why})
	}
	return missing, nil
}

// podsOf are the pods of a selector, and of an owner where one is given.
func (c *Client) podsOf(ctx context.Context, namespace string, selector *metav1.LabelSelector, owner types.UID) ([]*corev1.Pod, error) {
	list, err := c.Kube.CoreV1().Pods(namespace).List(ctx, cached(metav1.FormatLabelSelector(selector)))
	if err != nil {
		return nil, fmt.Errorf("listing pods: %w", err)
	}
	var pods []*corev1.Pod
	for i := range list.Items {
		pod := &list.Items[i]
		if by := metav1.GetControllerOf(pod); owner == "" || by != nil && by.UID == owner {
			pods = append(pods, pod)
		}
	}
	return pods, nil
}

// nodeOf is the node of a pod, also of one of a DaemonSet that is not scheduled yet.
func nodeOf(pod *corev1.Pod) string {
	if pod.Spec.NodeName != "" || pod.Spec.Affinity == nil || pod.Spec.Affinity.NodeAffinity == nil {
		return pod.Spec.NodeName
	}
	required := pod.Spec.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution
	if required == nil {
		return ""
	}
	for _, term := range required.NodeSelectorTerms {
		for _, field := range term.MatchFields {
			if field.Key == metav1.ObjectNameField && len(field.Values) == 1 {
				return field.Values[0]
			}
		}
	}
	return ""
}
