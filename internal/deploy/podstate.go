// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// podState is why a pod is not ready, and what a person can do about it.
type podState struct {
	why       string // "" for one that is ready
	wayOut    string // "" where waiting is all there is to do
	container string // whose log may say more, "" for none
	previous  bool   // it is the log of the run before
	runs      bool   // that container runs
}

// stateOf reads a pod's status, the first thing first that the others wait for.
func stateOf(pod *corev1.Pod) podState {
	if pod.DeletionTimestamp != nil {
		return podState{why: "it is being ended"}
	}
	if isReady(pod) {
		return podState{}
	}
	if c := condition(pod, corev1.PodScheduled); c != nil && c.Status == corev1.ConditionFalse {
		return podState{why: "it is not scheduled: " + c.Message, wayOut: "make room on the node, or set what it asks for with --set resources or --set tolerations"}
	}
	if pod.Status.Phase == corev1.PodFailed {
		return podState{why: strings.TrimSuffix("it failed: "+pod.Status.Reason+" "+pod.Status.Message, " ")}
	}
	for i := range pod.Status.InitContainerStatuses {
		if s := &pod.Status.InitContainerStatuses[i]; !done(s) {
			return containerState("init container", s)
		}
	}
	for i := range pod.Status.ContainerStatuses {
		if s := &pod.Status.ContainerStatuses[i]; !s.Ready {
			return containerState("container", s)
		}
	}
	if len(pod.Status.ContainerStatuses) == 0 {
		return podState{why: "the kubelet has not taken it yet", wayOut: "see whether the node is Ready: kubectl get node " + pod.Spec.NodeName}
	}
	return podState{why: "its containers are ready, and the pod is about to be"}
}

// done reports whether an init container holds nobody up any more.
func done(s *corev1.ContainerStatus) bool {
	if s.Started != nil && *s.Started {
		return s.Ready // one that stays beside the others
	}
	return s.State.Terminated != nil && s.State.Terminated.ExitCode == 0
}

func containerState(kind string, s *corev1.ContainerStatus) podState {
	state := podState{container: s.Name}
	name := kind + " " + s.Name
	switch {
	case s.State.Waiting != nil:
		return waiting(name, s)
	case s.State.Terminated != nil:
		state.why = name + " " + ending(s.State.Terminated)
	case s.State.Running != nil && kind == "init container":
		state.why = name + " is at work"
	case s.State.Running != nil:
		state.why, state.runs = name+" runs and is not ready", true
	default:
		state.why = name + " has not started"
	}
	return state
}

// waiting says why a container does not run.
func waiting(name string, s *corev1.ContainerStatus) podState {
	w := s.State.Waiting
	switch w.Reason {
	case "", "ContainerCreating", "PodInitializing":
		return podState{why: name + " is being made"}
	case "ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName", "ImageInspectError":
		return podState{
			why:    strings.TrimSuffix(fmt.Sprintf("%s has no image %s: %s %s", name, s.Image, w.Reason, w.Message), " "),
			wayOut: "load the image onto the node, or name one that it can pull with --set image.repository, image.tag and image.pullPolicy",
		}
	case "CrashLoopBackOff":
		state := podState{container: s.Name, previous: true, why: name + " ends again and again"}
		if last := s.LastTerminationState.Terminated; last != nil {
			state.why += ": it " + ending(last)
		}
		return state
	}
	return podState{why: strings.TrimSuffix(fmt.Sprintf("%s waits: %s %s", name, w.Reason, w.Message), " ")}
}

func ending(t *corev1.ContainerStateTerminated) string {
	text := fmt.Sprintf("ended with exit code %d", t.ExitCode)
	if t.Reason != "" && t.Reason != "Error" && t.Reason != "Completed" {
		text += " (" + t.Reason + ")"
	}
	if message := strings.TrimSpace(t.Message); message != "" {
		text += ": " + message
	}
	return text
}

func condition(pod *corev1.Pod, kind corev1.PodConditionType) *corev1.PodCondition {
	i := slices.IndexFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool { return c.Type == kind })
	if i < 0 {
		return nil
	}
	return &pod.Status.Conditions[i]
}

func isReady(pod *corev1.Pod) bool {
	c := condition(pod, corev1.PodReady)
	return c != nil && c.Status == corev1.ConditionTrue && pod.DeletionTimestamp == nil
}

// newest is the pod of a list that was made last.
func newest(pods []*corev1.Pod) *corev1.Pod {
	if len(pods) == 0 {
		return nil
	}
	return slices.MaxFunc(pods, func(a, b *corev1.Pod) int {
		if order := a.CreationTimestamp.Compare(b.CreationTimestamp.Time); order != 0 {
			return order
		}
		return strings.Compare(a.Name, b.Name)
	})
}
