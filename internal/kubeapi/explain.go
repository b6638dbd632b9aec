// SPDX-License-Identifier: Apache-2.0

package kubeapi

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/ambient22/ambient22/internal/kube"
	"github.com/ambient22/ambient22/internal/mesh"
)

// standing is whether the kernel captures a pod of this node; why says why not. A
// pod on its way into the kernel has neither.
type standing struct {
	captured bool
	why      string
	runs     bool // it is a pod with an address, and no ztunnel
	inMesh   bool // its namespace takes part
	warn     bool // nobody asked for that
}

// known tells whether there is anything to say of it yet.
func (s standing) known() bool { return s.captured || s.why != "" }

// standings is where every pod of the node stands.
func standings(c *mesh.Capture, node string) map[types.UID]standing {
	active := c.Snapshot.ActiveZtunnel(node) != nil
	all := map[types.UID]standing{}
	for i := range c.Snapshot.Workloads {
		if w := &c.Snapshot.Workloads[i]; w.Node == node {
			one := standing{runs: w.Class != mesh.Ztunnel, inMesh: w.Class != mesh.Outside}
			if _, one.captured = c.Pods[w.UID]; !one.captured {
				one.why, one.warn = whyNot(w, c, active)
			}
			all[types.UID(w.UID)] = one
		}
	}
	for _, p := range c.Snapshot.LeftOut {
		if p.Node != node {
			continue
		}
		one := standing{why: p.Why}
		if _, captured := c.Pods[p.UID]; captured {
			one = standing{captured: true} // it is about to be let go
		}
		all[types.UID(p.UID)] = one
	}
	return all
}

// whyNot is why the kernel does not capture a workload, and whether that is
// something nobody asked for. It is empty while nobody knows.
func whyNot(w *mesh.Workload, c *mesh.Capture, active bool) (why string, warn bool) {
	switch refused := c.Refused[w.UID]; {
	case !w.Enrolled():
		return w.NotEnrolled, false
	case !active:
		return fmt.Sprintf("no ztunnel is ready on node %s", w.Node), true
	case refused != "":
		return refused, true
	case c.Err != "":
		return "its node could not be made ready for it: " + c.Err, true
	}
	return "", false
}

// podExplainer tells people by events why pods are captured or aren't. It speaks
// when something changed; after a restart the annotation tells it what was said
// before.
type podExplainer struct {
	recorder recorder
	pods     map[types.UID]standing
}

// changed speaks of pods whose standing is another than before.
func (e *podExplainer) changed(now map[types.UID]standing, pods []*corev1.Pod, namespaces []*corev1.Namespace) {
	asks := map[string]bool{}
	for _, n := range namespaces {
		asks[n.Name] = asksForAmbient(n)
	}
	for _, pod := range pods {
		is, here := now[pod.UID]
		if !here {
			continue
		}
		was, known := e.pods[pod.UID]
		if !is.known() {
			if known {
				now[pod.UID] = was
			} else {
				delete(now, pod.UID)
			}
			continue
		}
		if !known {
			_, was.captured = pod.Annotations[mesh.AnnotationRedirection]
		}
		at := reference(objectRef(kube.KindPod, pod), pod)
		switch {
		case is.captured && !was.captured:
			e.recorder.Event(at, corev1.EventTypeNormal, ReasonCaptured, "its TCP connections go through the node's ztunnel")
		case is.captured || is.why == was.why:
		case was.captured || is.runs && (is.inMesh || asks[pod.Namespace]):
			kind := corev1.EventTypeNormal
			if is.warn {
				kind = corev1.EventTypeWarning
			}
			e.recorder.Event(at, kind, ReasonNotCaptured, is.why)
		}
	}
	e.pods = now
}

// namespaceExplainer tells people by events why namespaces take part or don't.
type namespaceExplainer struct {
	recorder   recorder
	namespaces map[types.UID]string // why not, "" for active
}

// changed speaks of namespaces that ask to take part and don't, and of those that
// take part since now.
func (e *namespaceExplainer) changed(namespaces []*corev1.Namespace, o kube.Options) {
	now := make(map[types.UID]string, len(namespaces))
	for _, n := range namespaces {
		why := kube.WhyInactive(n, o)
		now[n.UID] = why
		was, known := e.namespaces[n.UID]
		at := reference(objectRef(kube.KindNamespace, n), n)
		switch {
		case known && was == why:
		case why != "" && (asksForAmbient(n) || known && was == ""):
			kind := corev1.EventTypeNormal
			if asksForAmbient(n) {
				kind = corev1.EventTypeWarning
			}
			e.recorder.Event(at, kind, ReasonInactive, "its pods take no part: "+why)
		case why == "" && e.namespaces != nil:
			e.recorder.Event(at, corev1.EventTypeNormal, ReasonActive, "its pods take part")
		}
	}
	e.namespaces = now
}

func asksForAmbient(n *corev1.Namespace) bool {
	return n.Labels[mesh.LabelDataplaneMode] == mesh.DataplaneModeAmbient
}
