// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

const (
	readLines = 60 // of a log, of which
	sayLines  = 8  // are shown
)

// details are what the events and the log say about a pod that is not ready. What
// can't be read is left out: it is shown beside something else that went wrong.
func (c *Client) details(ctx context.Context, pod *corev1.Pod, state podState) []string {
	var lines []string
	for _, e := range c.warnings(ctx, pod.Namespace, pod.UID) {
		lines = append(lines, fmt.Sprintf("event %s: %s", e.Reason, strings.TrimSpace(e.Message)))
	}
	if state.container == "" {
		return lines
	}
	text, err := c.log(ctx, pod, state)
	if err != nil {
		return lines
	}
	for _, line := range telling(text) {
		lines = append(lines, "log: "+line)
	}
	return lines
}

// warnings are the last warnings about an object, one of each reason.
func (c *Client) warnings(ctx context.Context, namespace string, uid types.UID) []corev1.Event {
	events, err := c.Kube.CoreV1().Events(namespace).List(ctx, metav1.ListOptions{
		FieldSelector: "involvedObject.uid=" + string(uid) + ",type=" + corev1.EventTypeWarning,
	})
	if err != nil {
		return nil
	}
	return latest(events.Items)
}

// lastEvent is the last warning about a pod, to be put behind why it is not ready.
func (c *Client) lastEvent(ctx context.Context, pod *corev1.Pod) string {
	if pod == nil {
		return ""
	}
	all := c.warnings(ctx, pod.Namespace, pod.UID)
	if len(all) == 0 {
		return ""
	}
	last := all[len(all)-1]
	return fmt.Sprintf(" (%s: %s)", last.Reason, strings.TrimSpace(last.Message))
}

func (c *Client) log(ctx context.Context, pod *corev1.Pod, state podState) (string, error) {
	read := func(previous bool) (string, error) {
		text, err := c.Kube.CoreV1().Pods(pod.Namespace).GetLogs(pod.Name, &corev1.PodLogOptions{
			Container: state.container, Previous: previous, TailLines: new(int64(readLines)),
		}).DoRaw(ctx)
		return string(text), err
	}
	text, err := read(state.previous)
	if err != nil && state.previous {
		text, err = read(false) // the run before is forgotten
	}
	return text, err
}

// latest is the last event of each reason, in the order they happened.
func latest(events []corev1.Event) []corev1.Event {
	at := func(e *corev1.Event) int64 {
		return max(e.LastTimestamp.Unix(), e.EventTime.Unix(), e.CreationTimestamp.Unix())
	}
	last := map[string]corev1.Event{}
	for _, e := range events {
		if old, there := last[e.Reason]; !there || at(&old) <= at(&e) {
			last[e.Reason] = e
		}
	}
	sorted := make([]corev1.Event, 0, len(last))
	for _, e := range last {
		sorted = append(sorted, e)
	}
	slices.SortFunc(sorted, func(a, b corev1.Event) int {
		return cmp.Or(cmp.Compare(at(&a), at(&b)), strings.Compare(a.Reason, b.Reason))
	})
	return sorted
}

// telling are the last lines of a log that are no mere news: warnings, errors, and
// what a program says as it fails. Where there are none, the last lines of all.
func telling(log string) []string {
	var all, some []string
	for line := range strings.Lines(log) {
		line = strings.TrimRight(line, " \r\n")
		if strings.TrimSpace(line) == "" {
			continue
		}
		all = append(all, line)
		if !strings.Contains(line, "level=INFO") && !strings.Contains(line, "level=DEBUG") {
			some = append(some, line)
		}
	}
	if len(some) == 0 {
		some = all
	}
	return some[max(0, len(some)-sayLines):]
}
