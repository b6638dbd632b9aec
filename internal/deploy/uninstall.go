// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/ambient22/ambient22/internal/mesh"
)

// letGoTimeout is how long the node controllers get for letting their pods go. What
// they don't do the cleanup does.
const letGoTimeout = 30 * time.Second

// Uninstaller takes everything of ours off a cluster and its nodes.
type Uninstaller struct {
	Client  *Client
	Out     io.Writer
	Timeout time.Duration // for the nodes, and again for the objects
	// Force leaves nodes as they are that can't be reached or cleaned.
	Force bool
	// Nodes has the nodes cleaned also where the cluster has no object of ours.
	Nodes bool
	// Objects are those of an install. They say how to run something on a node where
	// the cluster doesn't, or, where values were Given, although it does.
	Objects func() ([]*unstructured.Unstructured, error)
	Given   bool
}

// Run uninstalls. It takes things apart in an order that it can be cut short and
// run again at any point.
func (u *Uninstaller) Run(ctx context.Context) error {
	p, begun := printer{u.Out}, time.Now()
	objects, err := u.Client.inventory(ctx)
	if err != nil {
		return err
	}
	marked, err := u.Client.marked(ctx)
	if err != nil {
		return err
	}
	if len(objects) == 0 && len(marked) == 0 && !u.Nodes {
		if err := u.rest(ctx); err != nil {
			return err
		}
		p.say("nothing of ambient22 is in this cluster; to clean nodes that an earlier run left, give --nodes")
		return nil
	}
	set, err := u.cleanerFor(ctx)
	if err != nil {
		return err
	}
	if err := u.letGo(ctx, marked); err != nil {
		return err
	}
	away, err := u.cleanNodes(ctx, set)
	if err != nil {
		return err
	}
	if err := u.unmark(ctx); err != nil {
		return err
	}
	if err := u.sweep(ctx, away); err != nil {
		return err
	}
	p.say("no object of ambient22 is left in the cluster (%s)", since(begun))
	return u.stillLabelled(ctx)
}

// rest takes away what an install or an uninstall left that was cut short between the
// namespace and all else.
func (u *Uninstaller) rest(ctx context.Context) error {
	wait, cancel := context.WithTimeout(ctx, u.Timeout)
	defer cancel()
	live, err := u.Client.Dynamic.Resource(namespaces()).Get(wait, Namespace, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
	case err != nil:
		return fmt.Errorf("reading namespace %s: %w", Namespace, err)
	case madeByUs(live) || ours(live):
		if err := u.sweepNamespace(wait); err != nil {
			return err
		}
	}
	return u.Client.sweepEvents(wait)
}

// marked are the pods that carry the annotation of a captured pod.
func (c *Client) marked(ctx context.Context) ([]*corev1.Pod, error) {
	var marked []*corev1.Pod
	err := c.eachPod(ctx, func(pod *corev1.Pod) {
		if _, there := pod.Annotations[mesh.AnnotationRedirection]; there && pod.DeletionTimestamp == nil {
			marked = append(marked, pod)
		}
	})
	return marked, err
}

// eachPod goes through all pods of the cluster, some at a time.
func (c *Client) eachPod(ctx context.Context, do func(*corev1.Pod)) error {
	options := metav1.ListOptions{Limit: 500}
	for {
		list, err := c.Kube.CoreV1().Pods("").List(ctx, options)
		if err != nil {
			return fmt.Errorf("listing pods: %w", err)
		}
		for i := range list.Items {
			do(&list.Items[i])
		}
		if options.Continue = list.Continue; options.Continue == "" {
			return nil
		}
	}
}

// letGo sets the mesh mode to off and waits until the node controllers have let
// all pods go. Where none runs there is nobody to wait for.
func (u *Uninstaller) letGo(ctx context.Context, marked []*corev1.Pod) error {
	p := printer{u.Out}
	running, err := u.controllers(ctx)
	if err != nil || !slices.Contains(slices.Collect(maps.Values(running)), true) {
		return err
	}
	if err := u.Client.switchOff(ctx); err != nil {
		return err
	}
	waitFor := letGoBy(running, marked)
	captured := len(waitFor) > 0
	if captured {
		p.say("mesh mode is off; %d captured pods are being let go", len(waitFor))
	}
	begun := time.Now()
	wait, cancel := context.WithTimeout(ctx, min(letGoTimeout, u.Timeout))
	defer cancel()
	err = poll(wait, func(ctx context.Context) (bool, error) {
		left, err := u.Client.marked(ctx)
		if err != nil {
			return false, err
		}
		waitFor = letGoBy(running, left)
		return len(waitFor) == 0, nil
	})
	if err == nil && captured {
		p.say("every captured pod is let go (%s)", since(begun))
	}
	if err == nil || ctx.Err() != nil {
		return ctx.Err()
	}
	p.say("after %v these pods are still marked as captured, and the cleanup of their nodes lets them go: %s", min(letGoTimeout, u.Timeout), podNames(waitFor))
	return nil
}

// letGoBy are those of the marked pods that the running controllers let go. Pods that
// have ended keep their mark: no controller looks at them any more.
func letGoBy(running map[string]bool, marked []*corev1.Pod) []*corev1.Pod {
	var pods []*corev1.Pod
	for _, pod := range marked {
		ended := pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
		if running[pod.Spec.NodeName] && !ended {
			pods = append(pods, pod)
		}
	}
	return pods
}

// controllers are the nodes whose controller is ready, whatever else is in its pod. Of
// a node that is away its containers' last word stays, and nobody is there.
func (u *Uninstaller) controllers(ctx context.Context) (map[string]bool, error) {
	set, err := u.Client.Kube.AppsV1().DaemonSets(Namespace).Get(ctx, NodeController, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading DaemonSet %s: %w", NodeController, err)
	}
	pods, err := u.Client.podsOf(ctx, Namespace, set.Spec.Selector, set.UID)
	if err != nil {
		return nil, err
	}
	away, err := u.Client.unreachable(ctx)
	if err != nil {
		return nil, err
	}
	running := map[string]bool{}
	for _, pod := range pods {
		running[pod.Spec.NodeName] = away[pod.Spec.NodeName] == "" && slices.ContainsFunc(pod.Status.ContainerStatuses, func(s corev1.ContainerStatus) bool {
			return s.Name == NodeController && s.Ready
		})
	}
	return running, nil
}

// switchOff sets the mesh mode to off. Nothing else stays in the settings: with
// anything wrong in them the controllers would not follow.
func (c *Client) switchOff(ctx context.Context) error {
	o := &unstructured.Unstructured{Object: map[string]any{"data": map[string]any{settingMode: "off"}}}
	o.SetAPIVersion("v1")
	o.SetKind("ConfigMap")
	o.SetNamespace(Namespace)
	o.SetName(configName)
	o.SetLabels(map[string]string{LabelPartOf: PartOf})
	configMaps := c.Dynamic.Resource(corev1.SchemeGroupVersion.WithResource("configmaps")).Namespace(Namespace)
	// Applied, as by an install, so that the next install may set it again.
	applied, err := configMaps.Apply(ctx, configName, o, metav1.ApplyOptions{FieldManager: Manager, Force: true})
	if err != nil {
		return fmt.Errorf("setting the mesh mode to off: %w", err)
	}
	others := map[string]any{}
	data, _, _ := unstructured.NestedMap(applied.Object, "data")
	for name := range data {
		if name != settingMode {
			others[name] = nil
		}
	}
	if _, binary := applied.Object["binaryData"]; len(others) == 0 && !binary {
		return nil
	}
	patch, err := json.Marshal(map[string]any{"data": others, "binaryData": nil})
	if err != nil {
		return fmt.Errorf("setting the mesh mode to off: %w", err)
	}
	if _, err := configMaps.Patch(ctx, configName, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: Manager}); err != nil {
		return fmt.Errorf("taking the other settings away: %w", err)
	}
	return nil
}

// unmark removes the annotation from pods whose nodes had nobody to do it.
func (u *Uninstaller) unmark(ctx context.Context) error {
	marked, err := u.Client.marked(ctx)
	if err != nil {
		return err
	}
	var faults []error
	for _, pod := range marked {
		faults = append(faults, u.Client.unmark(ctx, pod))
	}
	return errors.Join(faults...)
}

// podNames names some pods, with their nodes.
func podNames(pods []*corev1.Pod) string {
	const most = 10
	var names []string
	for _, pod := range pods {
		names = append(names, fmt.Sprintf("%s/%s on %s", pod.Namespace, pod.Name, pod.Spec.NodeName))
	}
	slices.Sort(names)
	if more := len(names) - most; more > 0 {
		names = append(names[:most], fmt.Sprintf("and %d more", more))
	}
	return strings.Join(names, ", ")
}

// stillLabelled names the namespaces whose label asks for what is gone now. It is
// their owners'.
func (u *Uninstaller) stillLabelled(ctx context.Context) error {
	selector := mesh.LabelDataplaneMode + "=" + mesh.DataplaneModeAmbient
	list, err := u.Client.Kube.CoreV1().Namespaces().List(ctx, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		return fmt.Errorf("listing namespaces: %w", err)
	}
	var names []string
	for _, n := range list.Items {
		names = append(names, n.Name)
	}
	if len(names) > 0 {
		printer{u.Out}.say("these namespaces keep the label %s, which is yours: %s", selector, strings.Join(names, ", "))
	}
	return nil
}
