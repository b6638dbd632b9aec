// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"context"
	"fmt"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// cleanerFor makes the DaemonSet that cleans the nodes. It runs what the node
// controller's pods run, with their rights and folders, so it is made out of their
// DaemonSet: where values were given that of the chart, else that of the cluster, else
// that of the chart again. It is nil where one of an earlier run is there and
// nothing better.
func (u *Uninstaller) cleanerFor(ctx context.Context) (*appsv1.DaemonSet, error) {
	sets := u.Client.Kube.AppsV1().DaemonSets(Namespace)
	if !u.Given {
		for _, name := range []string{NodeController, cleaner} {
			live, err := sets.Get(ctx, name, metav1.GetOptions{})
			switch {
			case err == nil && name == cleaner:
				return nil, nil
			case err == nil:
				return u.withPlugin(live)
			case !apierrors.IsNotFound(err):
				return nil, fmt.Errorf("reading DaemonSet %s: %w", name, err)
			}
		}
	}
	controller, err := u.rendered()
	if err != nil {
		return nil, err
	}
	set, err := cleanerOf(controller)
	if err != nil || u.Given {
		return set, err
	}
	return set, u.sameImage(ctx, &set.Spec.Template.Spec)
}

// withPlugin makes the cleaning DaemonSet out of the cluster's. Where that has no
// plugin, an earlier form may have had one, which is still on the nodes: it is
// looked for where the chart would put it.
func (u *Uninstaller) withPlugin(live *appsv1.DaemonSet) (*appsv1.DaemonSet, error) {
	to := &live.Spec.Template.Spec
	node := container(to, NodeController)
	if node == nil || container(to, pluginKeeper) != nil {
		return cleanerOf(live)
	}
	chart, err := u.rendered()
	if err != nil {
		return nil, err
	}
	from := &chart.Spec.Template.Spec
	keeper := container(from, pluginKeeper)
	if keeper == nil {
		return cleanerOf(live)
	}
	keeper.Image, keeper.ImagePullPolicy = node.Image, node.ImagePullPolicy
	to.Containers = append(to.Containers, *keeper)
	for _, v := range from.Volumes {
		if !slices.ContainsFunc(to.Volumes, func(has corev1.Volume) bool { return has.Name == v.Name }) {
			to.Volumes = append(to.Volumes, v)
		}
	}
	return cleanerOf(live)
}

// rendered is the node controller's DaemonSet as the chart has it.
func (u *Uninstaller) rendered() (*appsv1.DaemonSet, error) {
	objects, err := u.Objects()
	if err != nil {
		return nil, err
	}
	for _, o := range objects {
		if o.GetKind() != "DaemonSet" || o.GetName() != NodeController {
			continue
		}
		set := &appsv1.DaemonSet{}
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, set); err != nil {
			return nil, fmt.Errorf("reading the DaemonSet %s of the chart: %w", NodeController, err)
		}
		return set, nil
	}
	return nil, fmt.Errorf("the chart has no DaemonSet %s", NodeController)
}

// sameImage has a pod run the image that the rest of the install runs, where there
// still is some: every cluster has it under a name of its own.
func (u *Uninstaller) sameImage(ctx context.Context, pod *corev1.PodSpec) error {
	set, err := u.Client.Kube.AppsV1().DaemonSets(Namespace).Get(ctx, Ztunnel, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading DaemonSet %s: %w", Ztunnel, err)
	}
	from := &set.Spec.Template.Spec
	if len(from.InitContainers) == 0 {
		return nil
	}
	pod.ImagePullSecrets = from.ImagePullSecrets
	for _, containers := range [][]corev1.Container{pod.InitContainers, pod.Containers} {
		for i := range containers {
			containers[i].Image, containers[i].ImagePullPolicy = from.InitContainers[0].Image, from.InitContainers[0].ImagePullPolicy
		}
	}
	return nil
}

// cleanerOf makes the cleaning DaemonSet out of the node controller's. The work is
// done by init containers, one after the other; the container after them only
// stays, so that nothing is done twice.
func cleanerOf(controller *appsv1.DaemonSet) (*appsv1.DaemonSet, error) {
	from := &controller.Spec.Template.Spec
	volumes := plainVolumes(from)
	node := container(from, NodeController)
	if node == nil {
		return nil, fmt.Errorf("the DaemonSet %s has no container %s", controller.Name, NodeController)
	}
	var tasks []corev1.Container
	if cni := container(from, pluginKeeper); cni != nil {
		// First, because it keeps pods from starting while nobody answers it.
		tasks = append(tasks, task(cni, volumes, "remove", flagNames(cni.Args)...))
	}
	tasks = append(tasks, task(node, volumes, "cleanup", "state-dir", "iptables", "tunnel", "tunnel-port", "proc-sys"))
	labels := map[string]string{LabelPartOf: PartOf, "app": cleaner}
	return &appsv1.DaemonSet{
		ObjectMeta: metav1.ObjectMeta{Namespace: Namespace, Name: cleaner, Labels: labels},
		Spec: appsv1.DaemonSetSpec{
			Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": cleaner}},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec: corev1.PodSpec{
					HostNetwork: true, NodeSelector: from.NodeSelector, Affinity: from.Affinity,
					SecurityContext: from.SecurityContext, ImagePullSecrets: from.ImagePullSecrets, Volumes: volumes,
					InitContainers: tasks, Containers: []corev1.Container{stay(node)},
					// A node that has become unfit since has rules, too.
					Tolerations:                   []corev1.Toleration{{Operator: corev1.TolerationOpExists}},
					AutomountServiceAccountToken:  new(false),
					EnableServiceLinks:            new(false),
					TerminationGracePeriodSeconds: new(int64(1)),
				},
			},
		},
	}, nil
}

// task is a container with another command for the same program, and those of the
// flags that it has.
func task(from *corev1.Container, volumes []corev1.Volume, verb string, flags ...string) corev1.Container {
	c := corev1.Container{
		Name: from.Name, Image: from.Image, ImagePullPolicy: from.ImagePullPolicy,
		Command: from.Command, Args: append([]string{verb}, pick(from.Args, flags)...), Env: from.Env,
		SecurityContext: from.SecurityContext,
		// What went wrong is in the pod's status then.
		TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
	}
	for _, m := range from.VolumeMounts {
		if slices.ContainsFunc(volumes, func(v corev1.Volume) bool { return v.Name == m.Name }) {
			c.VolumeMounts = append(c.VolumeMounts, m)
		}
	}
	return c
}

// stay is a container that does nothing, without any rights.
func stay(from *corev1.Container) corev1.Container {
	return corev1.Container{
		Name: "done", Image: from.Image, ImagePullPolicy: from.ImagePullPolicy,
		Command: []string{"/usr/local/bin/ambientctl", "inside", "wait"},
		SecurityContext: &corev1.SecurityContext{
			AllowPrivilegeEscalation: new(false), ReadOnlyRootFilesystem: new(true),
			RunAsUser: new(int64(65534)), RunAsGroup: new(int64(65534)), RunAsNonRoot: new(true),
			Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		},
	}
}

// plainVolumes are the volumes that are there whatever else is gone: no secret or
// ConfigMap, without which a pod would not start.
func plainVolumes(pod *corev1.PodSpec) []corev1.Volume {
	var plain []corev1.Volume
	for _, v := range pod.Volumes {
		if v.HostPath != nil || v.EmptyDir != nil {
			plain = append(plain, v)
		}
	}
	return plain
}

func container(pod *corev1.PodSpec, name string) *corev1.Container {
	i := slices.IndexFunc(pod.Containers, func(c corev1.Container) bool { return c.Name == name })
	if i < 0 {
		return nil
	}
	return &pod.Containers[i]
}

// pick is those of a command's flags that have one of the names, written "--name=value"
// or as two arguments.
func pick(args, names []string) []string {
	var picked []string
	for i, arg := range args {
		name, _, whole := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		if !strings.HasPrefix(arg, "-") || !slices.Contains(names, name) {
			continue
		}
		picked = append(picked, arg)
		if !whole && i+1 < len(args) && !strings.HasPrefix(args[i+1], "-") {
			picked = append(picked, args[i+1])
		}
	}
	return picked
}

// flagNames are the names of all of a command's flags.
func flagNames(args []string) []string {
	var names []string
	for _, arg := range args {
		if strings.HasPrefix(arg, "-") {
			name, _, _ := strings.Cut(strings.TrimLeft(arg, "-"), "=")
			names = append(names, name)
		}
	}
	return names
}
