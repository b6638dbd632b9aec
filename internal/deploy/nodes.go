// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// cleanNodes ends the node controllers, runs the cleanup on every node and waits for
// all of them. left are nodes that could not be reached and are not waited for.
func (u *Uninstaller) cleanNodes(ctx context.Context, set *appsv1.DaemonSet) (left map[string]bool, err error) {
	if err := u.endControllers(ctx); err != nil {
		return nil, err
	}
	if err := u.Client.ensureNamespace(ctx); err != nil {
		return nil, err
	}
	if set != nil {
		if err := u.Client.replace(ctx, set); err != nil {
			return nil, fmt.Errorf("making DaemonSet %s: %w", cleaner, err)
		}
	}
	return u.waitForNodes(ctx)
}

// replace makes a DaemonSet in the place of one that may be there.
func (c *Client) replace(ctx context.Context, set *appsv1.DaemonSet) error {
	sets := c.Kube.AppsV1().DaemonSets(set.Namespace)
	err := sets.Delete(ctx, set.Name, metav1.DeleteOptions{PropagationPolicy: new(metav1.DeletePropagationBackground)})
	if err != nil && !apierrors.IsNotFound(err) {
		return err
	}
	_, err = sets.Create(ctx, set, metav1.CreateOptions{FieldManager: Manager})
	return err
}

// endControllers deletes the DaemonSet of the node controllers and waits until none
// runs on a node that can be reached: on one node only one may work.
func (u *Uninstaller) endControllers(ctx context.Context) error {
	sets := u.Client.Kube.AppsV1().DaemonSets(Namespace)
	set, err := sets.Get(ctx, NodeController, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading DaemonSet %s: %w", NodeController, err)
	}
	err = sets.Delete(ctx, NodeController, metav1.DeleteOptions{PropagationPolicy: new(metav1.DeletePropagationBackground)})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("deleting DaemonSet %s: %w", NodeController, err)
	}
	wait, cancel := context.WithTimeout(ctx, u.Timeout)
	defer cancel()
	err = poll(wait, func(ctx context.Context) (bool, error) {
		pods, err := u.Client.podsOf(ctx, Namespace, set.Spec.Selector, set.UID)
		if err != nil {
			return false, err
		}
		away, err := u.Client.unreachable(ctx)
		if err != nil {
			return false, err
		}
		return !slices.ContainsFunc(pods, func(pod *corev1.Pod) bool {
			return pod.Spec.NodeName != "" && away[pod.Spec.NodeName] == ""
		}), nil
	})
	if err != nil {
		return fmt.Errorf("waiting for the pods of DaemonSet %s to end: %w", NodeController, err)
	}
	printer{u.Out}.say("the node controllers have ended; the cleanup runs on every node")
	return nil
}

// unreachable are the nodes whose kubelet doesn't answer, and since when.
func (c *Client) unreachable(ctx context.Context) (map[string]string, error) {
	list, err := c.Kube.CoreV1().Nodes().List(ctx, cached(""))
	if err != nil {
		return nil, fmt.Errorf("listing nodes: %w", err)
	}
	away := map[string]string{}
	for i := range list.Items {
		if why := whyAway(&list.Items[i]); why != "" {
			away[list.Items[i].Name] = why
		}
	}
	return away, nil
}

// whyAway is why a node is not ready, "" for one that is.
func whyAway(n *corev1.Node) string {
	for _, c := range n.Status.Conditions {
		if c.Type == corev1.NodeReady && c.Status != corev1.ConditionTrue {
			return fmt.Sprintf("the node is not ready since %s: %s", c.LastTransitionTime.UTC().Format(time.RFC3339), c.Message)
		}
	}
	return ""
}

// waitForNodes waits until the cleanup has run on every node.
func (u *Uninstaller) waitForNodes(ctx context.Context) (left map[string]bool, err error) {
	wait, cancel := context.WithTimeout(ctx, u.Timeout)
	defer cancel()
	r := cleanReporter{printer: printer{u.Out}, begun: time.Now(), told: map[string]bool{}}
	var dirty []unclean
	err = poll(wait, func(ctx context.Context) (bool, error) {
		clean, now, err := u.Client.cleaned(ctx)
		if err != nil {
			return false, err
		}
		dirty = now
		r.update(clean, dirty)
		return !slices.ContainsFunc(dirty, func(d unclean) bool { return !u.Force || !d.away }), nil
	})
	switch {
	case ctx.Err() != nil:
		return nil, fmt.Errorf("waiting for the nodes: %w; the same command goes on", ctx.Err())
	case len(dirty) == 0 && err != nil:
		return nil, fmt.Errorf("waiting for the nodes: %w", err)
	case len(dirty) == 0:
		r.say("the nodes are clean (%s)", since(r.begun))
		return nil, nil
	}
	tell, cancel := context.WithTimeout(context.WithoutCancel(ctx), connectTimeout)
	defer cancel()
	text := u.Client.describe(tell, dirty)
	if !u.Force {
		return nil, fmt.Errorf("after %v these nodes are not clean:%s\nEverything that is needed to go on stays, and the same command goes on. With --force these nodes are left as they are", u.Timeout, text)
	}
	r.say("these nodes are left as they are:%s\n  until they are cleaned, their CNI plugin refuses pods of namespaces that take part\n  way out: when they are back, \"ambientctl uninstall --nodes\" cleans them, with the --set and --values of the install", text)
	left = map[string]bool{}
	for _, d := range dirty {
		left[d.node] = d.away
	}
	return left, nil
}

// cleanReporter tells of each node once.
type cleanReporter struct {
	printer
	begun time.Time
	told  map[string]bool
}

func (r *cleanReporter) update(clean []string, dirty []unclean) {
	once := func(about, format string, args ...any) {
		if !r.told[about] {
			r.told[about] = true
			r.say(format, args...)
		}
	}
	for _, node := range clean {
		once("clean "+node, "  %s is clean (%s)", node, since(r.begun))
	}
	for _, d := range dirty {
		if d.away {
			once("away "+d.node, "  %s can't be reached: %s", d.node, d.why)
		}
	}
}

// unclean is a node that the cleanup has not finished.
type unclean struct {
	node  string // "" where it is not known which
	why   string
	away  bool // it can't be reached
	pod   *corev1.Pod
	state podState
}

// cleaned says on which nodes the cleanup has run, and on which not.
func (c *Client) cleaned(ctx context.Context) (clean []string, dirty []unclean, err error) {
	set, err := c.Kube.AppsV1().DaemonSets(Namespace).Get(ctx, cleaner, metav1.GetOptions{})
	if err != nil {
		return nil, nil, fmt.Errorf("reading DaemonSet %s: %w", cleaner, err)
	}
	if set.Status.ObservedGeneration < set.Generation {
		return nil, []unclean{{why: "the cluster has not looked at the DaemonSet " + cleaner + " yet"}}, nil
	}
	pods, err := c.podsOf(ctx, Namespace, set.Spec.Selector, set.UID)
	if err != nil {
		return nil, nil, err
	}
	away, err := c.unreachable(ctx)
	if err != nil {
		return nil, nil, err
	}
	seen := 0
	for _, pod := range pods {
		if pod.DeletionTimestamp != nil {
			continue
		}
		seen++
		node := nodeOf(pod)
		if ranThrough(pod) {
			clean = append(clean, node)
			continue
		}
		state := stateOf(pod)
		d := unclean{node: node, why: state.why, pod: pod, state: state}
		if why, is := away[node]; is {
			d.why, d.away = why, true
		}
		dirty = append(dirty, d)
	}
	if more := int(set.Status.DesiredNumberScheduled) - seen; more > 0 {
		dirty = append(dirty, unclean{why: fmt.Sprintf("%d pods of DaemonSet %s are to be made%s", more, cleaner, c.complaint(ctx, set))})
	}
	slices.Sort(clean)
	slices.SortFunc(dirty, func(a, b unclean) int { return strings.Compare(a.node, b.node) })
	return clean, dirty, nil
}

// ranThrough reports whether all of a pod's init containers have done their work.
func ranThrough(pod *corev1.Pod) bool {
	all := pod.Status.InitContainerStatuses
	if len(all) < len(pod.Spec.InitContainers) {
		return false
	}
	return !slices.ContainsFunc(all, func(s corev1.ContainerStatus) bool { return !done(&s) })
}

// describe says of each node why it is not clean, and what may help.
func (c *Client) describe(ctx context.Context, left []unclean) string {
	var text strings.Builder
	for _, d := range left {
		name := d.node
		if name == "" {
			name = "(not known which)"
		}
		fmt.Fprintf(&text, "\n  %s: %s", name, d.why)
		if d.away || d.pod == nil {
			continue
		}
		for _, line := range c.details(ctx, d.pod, d.state) {
			fmt.Fprintf(&text, "\n      %s", line)
		}
		if d.state.wayOut != "" {
			fmt.Fprintf(&text, "\n      way out: %s", d.state.wayOut)
		}
	}
	return text.String()
}

// unmark removes the annotation of a captured pod.
func (c *Client) unmark(ctx context.Context, pod *corev1.Pod) error {
	patch := fmt.Sprintf(`{"metadata":{"uid":%q,"annotations":{%q:null}}}`, pod.UID, annotation)
	_, err := c.Kube.CoreV1().Pods(pod.Namespace).Patch(ctx, pod.Name, types.MergePatchType, []byte(patch), metav1.PatchOptions{FieldManager: Manager})
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		return fmt.Errorf("removing the annotation of pod %s/%s: %w", pod.Namespace, pod.Name, err)
	}
	return nil
}
