// SPDX-License-Identifier: Apache-2.0

package kubeapi

import (
	"reflect"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/ambient22/ambient22/internal/kube"
	"github.com/ambient22/ambient22/internal/mesh"
)

// trim makes a transform of a function that copies what is needed of an object.
// What an informer hands over that is none of these objects stays as it is.
func trim[T any](keep func(T) T) cache.TransformFunc {
	return func(o any) (any, error) {
		if typed, ok := o.(T); ok {
			return keep(typed), nil
		}
		return o, nil
	}
}

// identity is what every kept object has: its names, and the version by which an
// informer tells a change from a repetition.
func identity(m *metav1.ObjectMeta) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Namespace: m.Namespace, Name: m.Name, UID: m.UID, ResourceVersion: m.ResourceVersion,
		CreationTimestamp: m.CreationTimestamp, DeletionTimestamp: m.DeletionTimestamp,
	}
}

func trimNode(n *corev1.Node) *corev1.Node {
	kept := &corev1.Node{
		ObjectMeta: identity(&n.ObjectMeta),
		Spec:       corev1.NodeSpec{PodCIDR: n.Spec.PodCIDR, PodCIDRs: n.Spec.PodCIDRs},
	}
	kept.Status.Addresses = n.Status.Addresses
	return kept
}

func trimNamespace(n *corev1.Namespace) *corev1.Namespace {
	kept := &corev1.Namespace{ObjectMeta: identity(&n.ObjectMeta)}
	kept.Labels = n.Labels
	return kept
}

func trimPod(p *corev1.Pod) *corev1.Pod {
	kept := &corev1.Pod{
		ObjectMeta: identity(&p.ObjectMeta),
		Spec: corev1.PodSpec{
			NodeName: p.Spec.NodeName, ServiceAccountName: p.Spec.ServiceAccountName, HostNetwork: p.Spec.HostNetwork,
			Containers: trimContainers(p),
		},
		Status: corev1.PodStatus{Phase: p.Status.Phase, PodIP: p.Status.PodIP, PodIPs: p.Status.PodIPs},
	}
	kept.Labels = p.Labels
	for _, name := range []string{mesh.AnnotationRedirection, corev1.MirrorPodAnnotationKey, annotationStaticPod} {
		if value, ok := p.Annotations[name]; ok {
			metav1.SetMetaDataAnnotation(&kept.ObjectMeta, name, value)
		}
	}
	if c := metav1.GetControllerOfNoCopy(p); c != nil {
		kept.OwnerReferences = []metav1.OwnerReference{{Kind: c.Kind, Name: c.Name, Controller: c.Controller}}
	}
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			kept.Status.Conditions = []corev1.PodCondition{{Type: c.Type, Status: c.Status}}
		}
	}
	return kept
}

// trimContainers keeps names. Only a ztunnel's environment is asked for anything.
func trimContainers(p *corev1.Pod) []corev1.Container {
	kept := make([]corev1.Container, len(p.Spec.Containers))
	for i, c := range p.Spec.Containers {
		kept[i].Name = c.Name
		if p.Labels[mesh.LabelApp] == mesh.AppZtunnel {
			for _, e := range c.Env {
				kept[i].Env = append(kept[i].Env, corev1.EnvVar{Name: e.Name, Value: e.Value})
			}
		}
	}
	return kept
}

func trimService(s *corev1.Service) *corev1.Service {
	kept := &corev1.Service{ObjectMeta: identity(&s.ObjectMeta), Spec: corev1.ServiceSpec{
		Type: s.Spec.Type, ClusterIP: s.Spec.ClusterIP, ClusterIPs: s.Spec.ClusterIPs, Selector: s.Spec.Selector,
	}}
	for _, p := range s.Spec.Ports {
		kept.Spec.Ports = append(kept.Spec.Ports, corev1.ServicePort{Name: p.Name, Protocol: p.Protocol, Port: p.Port})
	}
	return kept
}

func trimEndpointSlice(s *discoveryv1.EndpointSlice) *discoveryv1.EndpointSlice {
	kept := &discoveryv1.EndpointSlice{ObjectMeta: identity(&s.ObjectMeta), AddressType: s.AddressType}
	if service, ok := s.Labels[discoveryv1.LabelServiceName]; ok {
		kept.Labels = map[string]string{discoveryv1.LabelServiceName: service}
	}
	for _, e := range s.Endpoints {
		kept.Endpoints = append(kept.Endpoints, discoveryv1.Endpoint{
			Addresses: e.Addresses, Conditions: discoveryv1.EndpointConditions{Ready: e.Conditions.Ready},
		})
	}
	for _, p := range s.Ports {
		kept.Ports = append(kept.Ports, discoveryv1.EndpointPort{Name: p.Name, Protocol: p.Protocol, Port: p.Port})
	}
	return kept
}

func trimConfigMap(c *corev1.ConfigMap) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: identity(&c.ObjectMeta), Data: c.Data, BinaryData: c.BinaryData}
}

// differ reports whether two kept objects differ in more than their version and
// the annotation that is written here.
func differ(a, b any) bool {
	switch old := a.(type) {
	case *corev1.Pod:
		now := b.(*corev1.Pod)
		c := *old
		c.Annotations = now.Annotations
		return differAs(&c, now)
	case *corev1.Node:
		return differAs(old, b.(*corev1.Node))
	case *corev1.Namespace:
		return differAs(old, b.(*corev1.Namespace))
	case *corev1.Service:
		return differAs(old, b.(*corev1.Service))
	case *discoveryv1.EndpointSlice:
		return differAs(old, b.(*discoveryv1.EndpointSlice))
	}
	return true
}

// differAs compares two objects of one type, but for their versions.
func differAs[T any, O interface {
	*T
	metav1.Object
}](old, now O) bool {
	same := *old
	O(&same).SetResourceVersion(now.GetResourceVersion())
	return !reflect.DeepEqual(&same, (*T)(now))
}

// objectRef names an object as problems name it.
func objectRef(kind string, o metav1.Object) kube.Ref {
	return kube.Ref{Kind: kind, Namespace: o.GetNamespace(), Name: o.GetName()}
}
