// SPDX-License-Identifier: Apache-2.0

package kubeapi

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/ambient22/ambient22/internal/kube"
)

// settle is how long a problem has to last before it is reported. Objects of
// different kinds come in any order, so a pod may be here a moment before its node.
const settle = 2 * time.Second

// reporter says of every problem once that it is there, and again only after it
// had gone.
type reporter struct {
	since    map[kube.Problem]time.Time
	reported map[kube.Problem]bool
	say      func(kube.Problem)
}

func newReporter(say func(kube.Problem)) *reporter {
	return &reporter{since: map[kube.Problem]time.Time{}, reported: map[kube.Problem]bool{}, say: say}
}

// update takes all problems that there are. It returns when to call it again, zero
// where nothing waits.
func (r *reporter) update(now time.Time, problems []kube.Problem) (again time.Time) {
	there := make(map[kube.Problem]bool, len(problems))
	for _, p := range problems {
		if there[p] {
			continue
		}
		there[p] = true
		if r.reported[p] {
			continue
		}
		if _, ok := r.since[p]; !ok {
			r.since[p] = now
		}
		if due := r.since[p].Add(settle); now.Before(due) {
			if again.IsZero() || due.Before(again) {
				again = due
			}
			continue
		}
		r.reported[p] = true
		r.say(p)
	}
	for p := range r.since {
		if !there[p] {
			delete(r.since, p)
			delete(r.reported, p)
		}
	}
	return again
}

// sayProblem logs a problem and reports it as an event on its object. Of what only
// one node needs to speak about, only that node speaks.
func (s *Source) sayProblem(p kube.Problem) {
	s.Log.Warn("can't be used", "object", p.Object.String(), "field", p.Field, "what", p.What, "way_out", p.Fix)
	object, _ := s.find(p.Object).(metav1.Object)
	pod, isPod := object.(*corev1.Pod)
	if object == nil || isPod && pod.Spec.NodeName != s.Node || p.Object.Kind == kube.KindNode && p.Object.Name != s.Node {
		return
	}
	s.recorder.Event(reference(p.Object, object), corev1.EventTypeWarning, ReasonUnusable, p.Detail())
}

// find finds the object that a reference names, nil where it is not known.
func (s *Source) find(ref kube.Ref) any {
	switch ref.Kind {
	case kube.KindNode:
		return find(s.caches.nodes, ref)
	case kube.KindNamespace:
		return find(s.caches.namespaces, ref)
	case kube.KindPod:
		return find(s.caches.pods, ref)
	case kube.KindService:
		return find(s.caches.services, ref)
	case kube.KindEndpointSlice:
		return find(s.caches.slices, ref)
	case KindConfigMap:
		return find(s.caches.configMap, ref)
	}
	return s.policies.object(ref)
}

func find(informer cache.SharedIndexInformer, ref kube.Ref) any {
	key := cache.ObjectName{Namespace: ref.Namespace, Name: ref.Name}.String()
	object, _, err := informer.GetStore().GetByKey(key)
	if err != nil {
		return nil // a store that is a map does not fail
	}
	return object
}

// reference names an object in an event.
func reference(ref kube.Ref, o metav1.Object) *corev1.ObjectReference {
	version := corev1.SchemeGroupVersion
	switch ref.Kind {
	case kube.KindEndpointSlice:
		version = discoveryv1.SchemeGroupVersion
	case kube.KindAuthorizationPolicy, kube.KindPeerAuthentication:
		version = kube.SecurityVersions()[0]
	}
	return &corev1.ObjectReference{
		APIVersion: version.String(), Kind: ref.Kind, Namespace: ref.Namespace, Name: ref.Name,
		UID: o.GetUID(), ResourceVersion: o.GetResourceVersion(),
	}
}
