// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

const (
	readLines = 60 // of a log, of which
	sayLines  = 6  // are shown
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

// telling are the last things that a log says which are no mere news: warnings,
// errors, and what a program says as it fails; each once. Where there are none, the
// last lines of all.
func telling(log string) []string {
	var all, some []string
	for line := range strings.Lines(log) {
		if line = strings.TrimRight(line, " \r\n"); strings.TrimSpace(line) == "" {
			continue
		}
		all = append(all, line)
		level, text := record(line)
		if level == "INFO" || level == "DEBUG" {
			continue
		}
		some = append(slices.DeleteFunc(some, func(said string) bool { return said == text }), text)
	}
	if len(some) == 0 {
		some = all
	}
	return some[max(0, len(some)-sayLines):]
}

// record reads a line that our programs logged, in either form: its level, and what
// it says, without the time. Of any other line the level is "".
func record(line string) (level, text string) {
	var object struct{ Level, Msg, Err string }
	fields := map[string]string{}
	if json.Unmarshal([]byte(line), &object) == nil {
		fields["level"], fields["msg"], fields["err"] = object.Level, object.Msg, object.Err
	} else {
		fields = textFields(line)
	}
	level, text = fields["level"], fields["msg"]
	if level == "" || text == "" {
		return "", line
	}
	if err := fields["err"]; err != "" {
		text += ": " + err
	}
	return level, strings.Join(strings.Fields(text), " ")
}

// textFields are the fields of a line in the form key=value key="quoted value".
func textFields(line string) map[string]string {
	fields := map[string]string{}
	for {
		name, rest, found := strings.Cut(strings.TrimLeft(line, " "), "=")
		if !found || strings.ContainsAny(name, ` "`) {
			return fields
		}
		value, err := strconv.QuotedPrefix(rest)
		if err != nil {
			value, line, _ = strings.Cut(rest, " ")
			fields[name] = value
			continue
		}
		line = rest[len(value):]
		if fields[name], err = strconv.Unquote(value); err != nil {
			return fields
		}
	}
}
