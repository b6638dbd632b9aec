// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// patience is how long a reason to wait stands before it is told.
const patience = 5 * time.Second

// Wait waits until every node has ready pods of all DaemonSets of the plan, and all
// its Deployments are available. It tells of each node as it gets ready, and of
// what takes longer; after the timeout the error says for each that is not ready
// why, what its events and log say, and a way out.
func (i *Installer) Wait(ctx context.Context, plan Plan, timeout time.Duration, out io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	r := newReporter(out, func(m Missing) string { return i.Client.lastEvent(ctx, m.pod) })
	var last []Missing
	err := poll(ctx, func(ctx context.Context) (bool, error) {
		missing, ready, err := i.Client.missing(ctx, plan)
		if err != nil {
			return false, err
		}
		last = missing
		r.update(time.Now(), missing, ready)
		return len(missing) == 0, nil
	})
	if err == nil {
		return nil
	}
	if ctx.Err() == context.Canceled {
		return fmt.Errorf("waiting for the nodes: %w; what is applied stays", err)
	}
	if len(last) == 0 {
		return fmt.Errorf("waiting for the nodes: %w", err)
	}
	// The time is up; saying why takes a moment of its own.
	ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), connectTimeout)
	defer cancel()
	return i.Client.timedOut(ctx, timeout, last)
}

// timedOut tells everything about what is missing.
func (c *Client) timedOut(ctx context.Context, timeout time.Duration, missing []Missing) error {
	var text strings.Builder
	fmt.Fprintf(&text, "after %v this is not ready:", timeout)
	for _, m := range missing {
		fmt.Fprintf(&text, "\n  %s: %s", m.at(), m.Why)
		var look string
		if m.pod != nil {
			for _, line := range c.details(ctx, m.pod, m.state) {
				fmt.Fprintf(&text, "\n      %s", line)
			}
			look = inspect(m.pod, m.state)
		}
		if m.state.wayOut != "" {
			look = m.state.wayOut
		}
		if look != "" {
			fmt.Fprintf(&text, "\n      way out: %s", look)
		}
	}
	text.WriteString("\nEverything is applied and stays: the same command goes on waiting, and \"ambientctl uninstall\" takes it away.")
	return fmt.Errorf("%s", text.String())
}

// inspect is the command that shows more of a pod.
func inspect(pod *corev1.Pod, state podState) string {
	if state.container == "" {
		return fmt.Sprintf("kubectl -n %s describe pod %s", pod.Namespace, pod.Name)
	}
	command := fmt.Sprintf("kubectl -n %s logs %s -c %s", pod.Namespace, pod.Name, state.container)
	if state.previous {
		command += " --previous"
	}
	return command
}

// reporter tells each thing once.
type reporter struct {
	printer
	more    func(Missing) string // what else there is to say about a thing
	begun   time.Time
	since   map[string]time.Time // what is missing, since when
	told    map[string]bool
	isReady map[string]bool // nodes
}

func newReporter(out io.Writer, more func(Missing) string) *reporter {
	return &reporter{
		printer: printer{out}, more: more, begun: time.Now(),
		since: map[string]time.Time{}, told: map[string]bool{}, isReady: map[string]bool{},
	}
}

func (r *reporter) update(now time.Time, missing []Missing, ready []string) {
	there := map[string]bool{}
	for _, m := range missing {
		line := m.at() + ": " + m.Why
		there[line] = true
		if _, known := r.since[line]; !known {
			r.since[line] = now
		}
		if !r.told[line] && now.Sub(r.since[line]) >= patience {
			r.told[line] = true
			r.say("  waiting for %s%s", line, r.more(m))
		}
		delete(r.isReady, m.Node)
	}
	for line := range r.since {
		if !there[line] {
			delete(r.since, line)
			delete(r.told, line)
		}
	}
	for _, node := range ready {
		if !r.isReady[node] {
			r.isReady[node] = true
			r.say("  %s is ready (%s)", node, since(r.begun))
		}
	}
}
