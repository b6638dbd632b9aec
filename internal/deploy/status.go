// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/ambient22/ambient22/internal/kube"
	"github.com/ambient22/ambient22/internal/mesh"
)

// Status is how the data path does in a cluster.
type Status struct {
	Installed   bool         `json:"installed"`
	Mode        string       `json:"mode"` // off, default or on
	Nodes       []NodeStatus `json:"nodes"`
	Signer      string       `json:"signer,omitempty"` // "1/1 ready", "" where there is none
	NotCaptured []PodStatus  `json:"notCaptured"`
	Warnings    []string     `json:"warnings"` // what is not as it should be, in words for a person
}

// NodeStatus is how one node does.
type NodeStatus struct {
	Name       string   `json:"name"`
	Controller string   `json:"controller"`         // pod of the node controller, "" for none
	Ready      bool     `json:"ready"`              // the controller says that node and mesh agree
	Ztunnel    string   `json:"ztunnel"`            // the active one, "" for none
	Image      string   `json:"image"`              // of the active ztunnel's proxy
	Others     []string `json:"others"`             // further ztunnels, with what they are at: "ztunnel-x7 (draining)"
	Asked      int      `json:"asked"`              // pods that ask to take part
	Captured   int      `json:"captured"`           // of them, pods that are marked as captured
	Problems   []string `json:"problems,omitempty"` // why it is not ready
}

// PodStatus is a pod that asks to take part and does not.
type PodStatus struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	Node      string `json:"node"`
	Why       string `json:"why"`
}

// Good reports whether everything is as it should be.
func (s *Status) Good() bool {
	return s.Installed && len(s.Warnings) == 0 && len(s.NotCaptured) == 0
}

// Status looks at a cluster. It reads only.
func (c *Client) Status(ctx context.Context) (*Status, error) {
	l, err := c.look(ctx)
	if err != nil {
		return nil, err
	}
	return l.status(), nil
}

// looked is all that a status is made of.
type looked struct {
	now        time.Time
	objects    kube.Objects
	controller *appsv1.DaemonSet
	ztunnel    *appsv1.DaemonSet
	signer     *appsv1.Deployment
	settings   *corev1.ConfigMap
	events     []corev1.Event
	logs       map[types.UID][]string // what controllers that are not ready said last
}

func (c *Client) look(ctx context.Context) (*looked, error) {
	l := &looked{now: time.Now()}
	all := []func(context.Context, *looked) error{c.lookAtPods, c.lookAtCluster, c.lookAtWorkloads, c.lookAtEvents, c.lookAtLogs}
	for _, look := range all {
		if err := look(ctx, l); err != nil {
			return nil, err
		}
	}
	return l, nil
}

func (c *Client) lookAtPods(ctx context.Context, l *looked) error {
	return c.eachPod(ctx, func(pod *corev1.Pod) { l.objects.Pods = append(l.objects.Pods, pod) })
}

func (c *Client) lookAtCluster(ctx context.Context, l *looked) error {
	nodes, err := c.Kube.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("listing nodes: %w", err)
	}
	for i := range nodes.Items {
		l.objects.Nodes = append(l.objects.Nodes, &nodes.Items[i])
	}
	namespaces, err := c.Kube.CoreV1().Namespaces().List(ctx, metav1.ListOptions{})
	if err != nil {
		return fmt.Errorf("listing namespaces: %w", err)
	}
	for i := range namespaces.Items {
		l.objects.Namespaces = append(l.objects.Namespaces, &namespaces.Items[i])
	}
	return nil
}

func (c *Client) lookAtWorkloads(ctx context.Context, l *looked) error {
	apps := c.Kube.AppsV1()
	var err1, err2, err3, err4 error
	l.controller, err1 = apps.DaemonSets(Namespace).Get(ctx, NodeController, metav1.GetOptions{})
	l.ztunnel, err2 = apps.DaemonSets(Namespace).Get(ctx, Ztunnel, metav1.GetOptions{})
	l.signer, err3 = apps.Deployments(Namespace).Get(ctx, Signer, metav1.GetOptions{})
	l.settings, err4 = c.Kube.CoreV1().ConfigMaps(Namespace).Get(ctx, configName, metav1.GetOptions{})
	var faults []error
	for _, err := range []error{err1, err2, err3, err4} {
		if err != nil && !apierrors.IsNotFound(err) {
			faults = append(faults, fmt.Errorf("reading what is installed: %w", err))
		}
	}
	if err1 != nil {
		l.controller = nil
	}
	if err2 != nil {
		l.ztunnel = nil
	}
	if err3 != nil {
		l.signer = nil
	}
	if err4 != nil {
		l.settings = nil
	}
	return errors.Join(faults...)
}

func (c *Client) lookAtEvents(ctx context.Context, l *looked) error {
	options := metav1.ListOptions{FieldSelector: "source=" + NodeController, Limit: 500}
	for {
		list, err := c.Kube.CoreV1().Events(metav1.NamespaceAll).List(ctx, options)
		if err != nil {
			return fmt.Errorf("listing events: %w", err)
		}
		l.events = append(l.events, list.Items...)
		if options.Continue = list.Continue; options.Continue == "" {
			return nil
		}
	}
}

// mostLogs is how many logs are read: where many controllers fail, they fail alike.
const mostLogs = 10

// lookAtLogs reads the logs of controllers that are not ready. One that can't be
// read is left out, because its node may be the trouble.
func (c *Client) lookAtLogs(ctx context.Context, l *looked) error {
	l.logs = map[types.UID][]string{}
	if l.controller == nil {
		return nil
	}
	for _, pod := range l.objects.Pods {
		by, state := metav1.GetControllerOf(pod), stateOf(pod)
		if by == nil || by.UID != l.controller.UID || state.container == "" || len(l.logs) == mostLogs {
			continue
		}
		if text, err := c.log(ctx, pod, state); err == nil {
			l.logs[pod.UID] = telling(text)
		}
	}
	return ctx.Err()
}

// status puts together what was seen.
func (l *looked) status() *Status {
	s := &Status{Installed: l.controller != nil || l.ztunnel != nil, Nodes: []NodeStatus{}, NotCaptured: []PodStatus{}, Warnings: []string{}}
	if !s.Installed {
		l.leftovers(s)
		return s
	}
	options := l.options(s)
	s.Mode = options.Mode.String()
	snapshot, problems := kube.Snapshot(l.objects, options)
	for _, node := range l.objects.Nodes {
		s.Nodes = append(s.Nodes, l.node(s, node, snapshot))
	}
	slices.SortFunc(s.Nodes, func(a, b NodeStatus) int { return strings.Compare(a.Name, b.Name) })
	l.signs(s)
	for _, p := range problems {
		s.Warnings = append(s.Warnings, p.Error())
	}
	l.unusable(s, problems)
	slices.SortFunc(s.NotCaptured, func(a, b PodStatus) int {
		return cmp.Or(strings.Compare(a.Node, b.Node), strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name))
	})
	slices.Sort(s.Warnings)
	s.Warnings = slices.Compact(s.Warnings)
	return s
}

// leftovers names pods that are marked as captured where nothing is installed.
func (l *looked) leftovers(s *Status) {
	var marked []*corev1.Pod
	for _, pod := range l.objects.Pods {
		if _, there := pod.Annotations[annotation]; there {
			marked = append(marked, pod)
		}
	}
	if len(marked) > 0 {
		s.Warnings = append(s.Warnings, fmt.Sprintf("nothing is installed, but these pods are marked as captured: %s; \"ambientctl uninstall\" cleans the nodes", podNames(marked)))
	}
}

// options are the settings, as far as they can be read.
func (l *looked) options(s *Status) kube.Options {
	var o kube.Options
	if l.settings == nil {
		s.Warnings = append(s.Warnings, fmt.Sprintf("there is no ConfigMap %s/%s: the node controllers' own defaults hold", Namespace, configName))
		return o
	}
	mode, err := kube.ParseMode(cmp.Or(strings.TrimSpace(l.settings.Data[settingMode]), o.Mode.String()))
	if err != nil {
		s.Warnings = append(s.Warnings, fmt.Sprintf("ConfigMap %s/%s: %v", Namespace, configName, err))
	}
	o.Mode = mode
	var lines []string
	for line := range strings.Lines(l.settings.Data["disabledSelectors"]) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			lines = append(lines, line)
		}
	}
	o.DisabledSelectors, err = kube.ParseSelectors(lines)
	if err != nil {
		s.Warnings = append(s.Warnings, fmt.Sprintf("ConfigMap %s/%s: %v", Namespace, configName, err))
	}
	return o
}

// signs says how the signer does.
func (l *looked) signs(s *Status) {
	if l.signer == nil {
		return
	}
	wanted := int32(1)
	if l.signer.Spec.Replicas != nil {
		wanted = *l.signer.Spec.Replicas
	}
	s.Signer = fmt.Sprintf("%d/%d ready", l.signer.Status.ReadyReplicas, wanted)
	if l.signer.Status.ReadyReplicas == 0 {
		s.Warnings = append(s.Warnings, fmt.Sprintf("no pod of Deployment %s is ready: certificates are not renewed", Signer))
	}
}

// unusable repeats what the node controllers said about objects that they can't
// use, where it is still about the object that there is.
func (l *looked) unusable(s *Status, known []kube.Problem) {
	for _, e := range l.events {
		if e.Reason != reasonUnusable || e.InvolvedObject.Kind == kube.KindPod {
			continue
		}
		at := kube.Ref{Kind: e.InvolvedObject.Kind, Namespace: e.InvolvedObject.Namespace, Name: e.InvolvedObject.Name}
		if slices.ContainsFunc(known, func(p kube.Problem) bool { return p.Object == at }) || !recent(e, l.now) {
			continue
		}
		s.Warnings = append(s.Warnings, fmt.Sprintf("%s: %s (said %v ago)", at, e.Message, l.now.Sub(when(e)).Round(time.Second)))
	}
}

const (
	reasonUnusable    = "AmbientUnusable"
	reasonNotCaptured = "AmbientNotCaptured"
	// remembered is how long an event about an object counts. It can't be known whether
	// what it says is still so.
	remembered = 10 * time.Minute
)

func when(e corev1.Event) time.Time {
	at := e.LastTimestamp.Time
	if at.IsZero() {
		at = e.EventTime.Time
	}
	if at.IsZero() {
		at = e.CreationTimestamp.Time
	}
	return at
}

func recent(e corev1.Event, now time.Time) bool { return now.Sub(when(e)) < remembered }

// lastWord is the newest reason that a node controller gave for not capturing a
// pod, "" where it gave none.
func (l *looked) lastWord(uid string) string {
	var last *corev1.Event
	for i := range l.events {
		e := &l.events[i]
		if string(e.InvolvedObject.UID) == uid && strings.HasPrefix(e.Reason, "Ambient") && (last == nil || when(*last).Before(when(*e))) {
			last = e
		}
	}
	if last == nil || last.Reason != reasonNotCaptured {
		return ""
	}
	return last.Message
}

// workloadsOn are those of one node.
func workloadsOn(s *mesh.Snapshot, node string) []*mesh.Workload {
	var all []*mesh.Workload
	for i := range s.Workloads {
		if s.Workloads[i].Node == node {
			all = append(all, &s.Workloads[i])
		}
	}
	return all
}
