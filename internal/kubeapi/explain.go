// SPDX-License-Identifier: Apache-2.0

package kubeapi

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/ambient22/ambient22/internal/kube"
	"github.com/ambient22/ambient22/internal/mesh"
)

// standing is whether a pod of this node is captured; why says why not.
type standing struct {
	captured bool
	why      string
	runs     bool // it is a pod with an address, and no ztunnel
	inMesh   bool // its namespace takes part
	warn     bool // nobody asked for that
}

// explainer tells people by events why pods and namespaces take part or don't. It
// speaks when something changed; after a restart the annotation tells it what was
// said before.
type explainer struct {
	node       string
	recorder   recorder
	pods       map[types.UID]standing
	namespaces map[types.UID]string // why not, "" for active
}

func newExplainer(node string, recorder recorder) *explainer {
	return &explainer{node: node, recorder: recorder}
}

// standings is where every pod of the node stands. Without an active ztunnel none
// is captured.
func standings(s *mesh.Snapshot, node string) map[types.UID]standing {
	active := s.ActiveZtunnel(node) != nil
	all := map[types.UID]standing{}
	for i := range s.Workloads {
		w := &s.Workloads[i]
		if w.Node != node {
			continue
		}
		one := standing{
			captured: w.Enrolled() && active, why: w.NotEnrolled,
			runs: w.Class != mesh.Ztunnel, inMesh: w.Class != mesh.Outside,
		}
		if w.Enrolled() && !active {
			one.why, one.warn = fmt.Sprintf("no ztunnel is ready on node %s", node), true
		}
		all[types.UID(w.UID)] = one
	}
	for _, p := range s.LeftOut {
		if p.Node == node {
			all[types.UID(p.UID)] = standing{why: p.Why}
		}
	}
	return all
}

// podsChanged speaks of pods whose standing is another than before.
func (e *explainer) podsChanged(now map[types.UID]standing, objects kube.Objects) {
	asks := map[string]bool{}
	for _, n := range objects.Namespaces {
		asks[n.Name] = asksForAmbient(n)
	}
	for _, pod := range objects.Pods {
		is, here := now[pod.UID]
		if !here {
			continue
		}
		was, known := e.pods[pod.UID]
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

// namespacesChanged speaks of namespaces that ask to take part and don't, and of
// those that take part since now.
func (e *explainer) namespacesChanged(namespaces []*corev1.Namespace, o kube.Options) {
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
			e.recorder.Event(at, kind, ReasonInactive, "its pods are not captured: "+why)
		case why == "" && e.namespaces != nil:
			e.recorder.Event(at, corev1.EventTypeNormal, ReasonActive, "its pods are captured")
		}
	}
	e.namespaces = now
}

func asksForAmbient(n *corev1.Namespace) bool {
	return n.Labels[mesh.LabelDataplaneMode] == mesh.DataplaneModeAmbient
}
